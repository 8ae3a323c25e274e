"""What numbers are computed in, whatever those that are given are."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor


def at_least_float32(x: Tensor) -> Tensor:
    """Half precision in float32; float32 and float64 as they are.

    >>> import torch
    >>> from amgan_fast.precision import at_least_float32
    >>> [at_least_float32(torch.zeros(1, dtype=x)).dtype for x in (torch.bfloat16, torch.float64)]
    [torch.float32, torch.float64]
    """
    return x.to(torch.promote_types(x.dtype, torch.float32))


def without_autocast(device: torch.device) -> AbstractContextManager:
    """Within it operations on ``device`` compute in the dtype of what they are given."""
    known = torch.amp.is_autocast_available(device.type)
    return torch.autocast(device.type, enabled=False) if known else nullcontext()
