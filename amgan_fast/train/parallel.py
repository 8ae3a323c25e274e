"""Several processes that train one model, each on its part of every batch."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

from torch import Tensor, distributed, nn
from torch.nn.parallel import DistributedDataParallel

from amgan_fast.evaluate import Share


def several(network: nn.Module, share: Share) -> Callable[..., list[Any]]:
    """``network`` as a function of any number of batches, each passed through by itself, whose gradients are averaged
    over the processes. Statistics of batch normalisation stay each process's own."""
    together = _Several(network)
    if share.ranks == 1:
        return together
    known = inspect.signature(DistributedDataParallel).parameters
    # Releases of torch that have the first name warn of the second.
    name = "forward_sync_buffers" if "forward_sync_buffers" in known else "broadcast_buffers"
    options: dict[str, Any] = {name: False}
    return DistributedDataParallel(together, **options)


def copy_from_first(network: nn.Module, share: Share) -> None:
    """Give every process the weights and statistics of process 0."""
    if share.ranks > 1:
        for tensor in (*network.parameters(), *network.buffers()):
            distributed.broadcast(tensor.detach(), 0)


def gather(value: Any, share: Share) -> list[Any]:
    """The value of every process, in their order, on each."""
    if share.ranks == 1:
        return [value]
    values: list[Any] = [None] * share.ranks
    distributed.all_gather_object(values, value)
    return values


class _Several(nn.Module):
    """DistributedDataParallel wants one call of forward for each backward."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, *batches: Tensor) -> list[Tensor]:
        return [self.network(batch) for batch in batches]
