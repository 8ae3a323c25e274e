"""Which samples are this process's, where several evaluate together."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import distributed

from amgan_fast.errors import InputError, shown


@dataclass(frozen=True)
class Share:
    """One of ``ranks`` equal parts of a set of samples, in whole units."""

    rank: int = 0
    ranks: int = 1

    def bounds(self, count: int, unit: int) -> tuple[int, int]:
        """[start, stop) of this process's samples out of ``count``: every sample in one share, every start a multiple
        of ``unit``, and none larger than that of rank 0, which shows how far all have come."""
        units = math.ceil(count / unit)
        start, stop = (min(count, math.ceil(rank * units / self.ranks) * unit) for rank in (self.rank, self.rank + 1))
        return start, stop


@contextmanager
def join_processes(device: torch.device) -> Iterator[Share]:
    """The share of this process among those that torchrun has started, with its default process group; all there is
    where it has not.

    Raises:
        InputError: torchrun's environment is there, and the processes cannot be reached.
    """
    ranks = _of_torchrun("WORLD_SIZE") or 1
    if ranks == 1:
        yield Share()
        return
    try:
        distributed.init_process_group("cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo")
    except (RuntimeError, ValueError) as error:
        raise InputError(f"WORLD_SIZE is {ranks} and the processes cannot be joined ({error})") from error
    try:
        yield Share(distributed.get_rank(), ranks)
    finally:
        distributed.destroy_process_group()


def local_device(device: torch.device) -> torch.device:
    """``device``, or the GPU of this process where torchrun has started several on a machine."""
    local_rank = _of_torchrun("LOCAL_RANK")
    return device if device.type == "cpu" or local_rank is None else torch.device("cuda", local_rank)


def _of_torchrun(name: str) -> int | None:
    """A number that torchrun sets in the environment; None where it has not."""
    if (text := os.environ.get(name)) is None:
        return None
    if not re.fullmatch("[0-9]{1,9}", text):
        raise InputError(f"{name} is {shown(text)} in the environment, wanted a number, as torchrun sets it")
    return int(text)
