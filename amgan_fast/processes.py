"""Several processes that do one piece of work together, as torchrun starts them: who does which part, what they add up,
and what one tells the others."""

from __future__ import annotations

import inspect
import math
import os
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, distributed, nn
from torch.nn.parallel import DistributedDataParallel

from amgan_fast.errors import InputError, shown


@dataclass(frozen=True)
class Share:
    """One of ``ranks`` equal parts of a set of samples, in whole units, which the processes of a job add up. Of several
    jobs that know nothing of each other each has one of ``shards`` equal parts of the set, and shares that.

    Raises:
        ValueError: ``rank`` is not in [0, ``ranks``), or ``shard`` not in [0, ``shards``).

    >>> from amgan_fast.processes import Share
    >>> Share(rank=1, ranks=2).bounds(count=10, unit=3)
    (6, 10)
    >>> Share(shard=2, shards=4).bounds(count=100, unit=1)
    (50, 75)
    """

    rank: int = 0
    ranks: int = 1
    shard: int = 0
    shards: int = 1

    def __post_init__(self) -> None:
        for one, all_of in (("rank", "ranks"), ("shard", "shards")):
            place, number = getattr(self, one), getattr(self, all_of)
            if not 0 <= place < number:
                raise ValueError(f"{one} is {place} of {number} {all_of}, wanted 0 to {all_of} - 1")

    @property
    def is_whole(self) -> bool:
        """Whether the set is no other process's, and no other job's."""
        return self.ranks == self.shards == 1

    def rows(self, count: int) -> slice:
        """Where this process's ``count`` rows are among those that one process would draw for all ranks."""
        return slice(count * self.rank, count * (self.rank + 1))

    def bounds(self, count: int, unit: int) -> tuple[int, int]:
        """[start, stop) of this process's samples out of ``count``: every sample in one share, every start a multiple
        of ``unit``, and none of a job larger than that of its rank 0, which shows how far all have come."""
        first, end = _part(self.shard, self.shards, count, unit)
        start, stop = _part(self.rank, self.ranks, end - first, unit)
        return first + start, first + stop


def _part(place: int, parts: int, count: int, unit: int) -> tuple[int, int]:
    """[start, stop) of one of so many parts of ``count`` samples, each start a multiple of ``unit``."""
    units = math.ceil(count / unit)
    start, stop = (min(count, math.ceil(part * units / parts) * unit) for part in (place, place + 1))
    return start, stop


@contextmanager
def join_processes(device: torch.device) -> Iterator[Share]:
    """The share of this process among those that torchrun has started, with its default process group; all there is
    where it has not. From here on the process's GPU is the one that CUDA uses where none is named.

    Raises:
        InputError: torchrun's environment is there, and the processes cannot be reached, or are more than GPUs.

    >>> import torch
    >>> from amgan_fast.processes import join_processes
    >>> with join_processes(torch.device("cpu")) as share:
    ...     print(share)
    Share(rank=0, ranks=1, shard=0, shards=1)
    """
    ranks, mine = _of_torchrun("WORLD_SIZE") or 1, local_device(device)
    gpu = mine if mine.index is not None else None
    if gpu is not None:  # before anything opens a context on GPU 0
        torch.cuda.set_device(gpu)
    if ranks == 1:
        yield Share()
        return
    try:
        backend = "cpu:gloo,cuda:nccl" if mine.type == "cuda" else "gloo"
        distributed.init_process_group(backend, device_id=gpu)
    except (RuntimeError, ValueError) as error:
        raise InputError(f"WORLD_SIZE is {ranks} and the processes cannot be joined ({error})") from error
    try:
        yield Share(distributed.get_rank(), ranks)
    finally:
        distributed.destroy_process_group()


def local_device(device: torch.device) -> torch.device:
    """``device``, or the GPU of this process where torchrun has started several on a machine.

    Raises:
        InputError: it has started more than there are GPUs.
    """
    local_rank = _of_torchrun("LOCAL_RANK")
    if device.type == "cpu" or local_rank is None:
        return device
    if local_rank >= (gpus := torch.cuda.device_count()):
        raise InputError(
            f"LOCAL_RANK is {local_rank} and this process sees {gpus} GPUs, wanted one for each process of a machine "
            f"(torchrun --nproc-per-node {gpus}) or --device cpu"
        )
    return torch.device("cuda", local_rank)


def data_parallel(network: nn.Module, share: Share) -> Callable[..., list[Any]]:
    """``network`` as a function of any number of batches, each passed through by itself, whose gradients are averaged
    over the processes. Statistics of batch normalisation stay each process's own."""
    one_call = _OneCall(network)
    if share.ranks == 1:
        return one_call
    known = inspect.signature(DistributedDataParallel).parameters
    # Releases of torch that have the first name warn of the second.
    name = "forward_sync_buffers" if "forward_sync_buffers" in known else "broadcast_buffers"
    options: dict[str, Any] = {name: False}
    return DistributedDataParallel(one_call, **options)


def copy_from_first(network: nn.Module, share: Share) -> None:
    """Give every process the weights and statistics of process 0."""
    if share.ranks > 1:
        for tensor in (*network.parameters(), *network.buffers()):
            distributed.broadcast(tensor.detach(), 0)


def mean_over_processes(values: Tensor, share: Share) -> Tensor:
    """Of each number over the processes, on every one's device; nothing waits for it where there is one."""
    if share.ranks == 1:
        return values
    values = values.clone()
    distributed.all_reduce(values)
    return values / share.ranks


def gather(value: Any, share: Share) -> list[Any]:
    """The value of every process, in their order, on each."""
    if share.ranks == 1:
        return [value]
    values: list[Any] = [None] * share.ranks
    distributed.all_gather_object(values, value)
    return values


def gather_tensors(mine: Tensor, group: distributed.ProcessGroup | None) -> list[Tensor]:
    """The tensor of every process of ``group`` (None: all), in their order, on each; all are of one shape."""
    all_of_them = [torch.empty_like(mine) for _ in range(distributed.get_world_size(group))]
    distributed.all_gather(all_of_them, mine, group=group)
    return all_of_them


def sum_over_processes(sums: Sequence[Tensor], group: distributed.ProcessGroup | None) -> None:
    """Replace each tensor by its sum over the processes of ``group`` (None: all), in one message of float64.

    Whole numbers are exact up to 2**53.
    """
    message = torch.cat([x.double().flatten() for x in sums])
    distributed.all_reduce(message, group=group)
    for x, part in zip(sums, message.split([x.numel() for x in sums]), strict=True):
        x.copy_(part.view_as(x))


class _OneCall(nn.Module):
    """All batches of a step in one call of forward, which DistributedDataParallel wants before each backward."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, *batches: Tensor) -> list[Tensor]:
        return [self.network(batch) for batch in batches]


def _of_torchrun(name: str) -> int | None:
    """A number that torchrun sets in the environment; None where it has not."""
    if (text := os.environ.get(name)) is None:
        return None
    if not re.fullmatch("[0-9]{1,9}", text):
        raise InputError(f"{name} is {shown(text)} in the environment, wanted a number, as torchrun sets it")
    return int(text)
