"""Sums over the processes of torch.distributed."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, distributed


def sum_over_processes(sums: Sequence[Tensor], group: distributed.ProcessGroup | None) -> None:
    """Replace each tensor by its sum over the processes of ``group`` (None: all), in one message of float64.

    Whole numbers are exact up to 2**53.
    """
    message = torch.cat([x.double().flatten() for x in sums])
    distributed.all_reduce(message, group=group)
    for x, part in zip(sums, message.split([x.numel() for x in sums]), strict=True):
        x.copy_(part.view_as(x))
