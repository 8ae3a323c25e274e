"""Copies of a network that threads can use at the same time."""

from __future__ import annotations

import copy
import io
import pickle
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TypeAlias, TypeVar

import torch
from torch import Tensor, nn

from amgan_fast.evaluate.classifiers.image_network import ImageNetwork

N = TypeVar("N", bound=ImageNetwork)
_Values: TypeAlias = Sequence[Tensor | None]


@torch.no_grad()
def network_copies(one: N, try_out: Callable[[N], _Values], count: int) -> list[N]:
    """So many that can be used at the same time, weights shared; none where that could change what is computed.

    What a module keeps of a call is kept by its copy. What is beyond a module cannot be seen: functions, and modules
    with hooks or functions made by others in them, are left to one thread, as are networks that are compiled, draw
    random numbers or change their tensors. So is what autocast or a mode of the caller's thread is to change.

    Args:
        one: on a CPU.
        try_out: calls the network on a sample, and gives all that is made of it: copies make the same, to the bit.
    """
    network = one.network
    if not isinstance(network, nn.Module) or any(map(_is_more, network.modules())) or _thread_has_modes():
        return []
    values = _without_a_trace(network, lambda: try_out(one))
    if values is None:
        return []
    try:
        _Parts(io.BytesIO()).dump(network)
        copies = [replace(one, network=_copy(network)) for _ in range(count)]
        if all(_are_equal(try_out(each), values) for each in copies):
            return copies
    except Exception:  # a module that cannot be copied, or does not work then
        pass
    return []


def _are_equal(values: _Values, others: _Values) -> bool:
    return all(a is b if a is None or b is None else torch.equal(a, b) for a, b in zip(values, others, strict=True))


def _without_a_trace(network: nn.Module, run: Callable[[], _Values]) -> _Values | None:
    """What ``run`` gives, which calls the network; None where that drew random numbers or changed the network's
    tensors: that is undone, as if it had not been tried, so that scores do not depend on how many threads there are."""
    random, buffers = torch.get_rng_state(), [buffer.clone() for buffer in network.buffers()]
    tensors = _tensors(network)
    versions = [tensor._version for tensor in tensors]
    values = run()
    after = _tensors(network)
    unchanged = list(map(id, after)) == list(map(id, tensors)) and [one._version for one in after] == versions
    if unchanged and torch.equal(torch.get_rng_state(), random):
        return values
    torch.set_rng_state(random)
    for buffer, before in zip(network.buffers(), buffers, strict=False):
        buffer.copy_(before)
    return None


class _Parts(pickle.Pickler):
    """Fails for functions that have no name in a module, wherever in a network: a copy would have the same ones, and
    with them what they hold. Nothing is unpickled."""

    def persistent_id(self, part: object) -> str | None:
        return "shared" if isinstance(part, Tensor) or _is_scripted(part) else None


def _copy(network: nn.Module) -> nn.Module:
    """The module and those within, with the same tensors. A scripted one has no state of its own between calls."""
    shared = [*_tensors(network), *filter(_is_scripted, network.modules())]
    return copy.deepcopy(network, {id(one): one for one in shared})


def _is_scripted(part: object) -> bool:
    return isinstance(part, torch.jit.ScriptModule)


def _is_more(module: nn.Module) -> bool:
    """Whether there is more to a call of it than its forward."""
    names = ("_forward_hooks", "_forward_pre_hooks")
    hooks = any(getattr(module, name, None) or getattr(nn.modules.module, f"_global{name}") for name in names)
    return hooks or type(module).__module__.startswith("torch._dynamo")


def _thread_has_modes() -> bool:
    """Which other threads would not have."""
    modes = torch._C._len_torch_function_stack() + torch._C._len_torch_dispatch_stack()
    return modes > 0 or torch.is_autocast_enabled("cpu")


def _tensors(network: nn.Module) -> list[Tensor]:
    return [*network.parameters(), *network.buffers()]
