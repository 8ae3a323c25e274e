"""A stand-in for CUDA graphs on the CPU: it records what reaches the backend while it captures, undoes it, since a
capture runs nothing, and replays it on the same memory. What the host does besides is done once, as with a real graph:
a value that was read, a learning rate, a batch that lies elsewhere."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

_WRITES_UNSAID = {"aten::native_batch_norm": ("running_mean", "running_var")}
"""Arguments that an operation writes to, though its schema does not say so."""


class HostGraph:
    """As torch.cuda.CUDAGraph, of what runs on the CPU."""

    def __init__(self) -> None:
        self.generators = [torch.default_generator]
        self.calls: list[tuple[Callable, tuple, dict, Any]] = []
        self.replays = 0

    def register_generator_state(self, generator: torch.Generator) -> None:
        self.generators.append(generator)

    @torch.no_grad()
    def replay(self) -> None:
        self.replays += 1
        with torch._C._AutoDispatchBelowAutograd():
            for function, args, kwargs, result in self.calls:
                again = function(*args, **kwargs)
                returns = function._schema.returns
                if any(one.alias_info is not None for one in returns):
                    continue  # a view, or what it wrote to
                for there, value in zip(tree_leaves(result), tree_leaves(again), strict=True):
                    if isinstance(there, Tensor):
                        there.copy_(value)


class _Recorder(TorchDispatchMode):
    """Records each call, and what it is about to write over."""

    def __init__(self, graph: HostGraph) -> None:
        super().__init__()
        self._calls = graph.calls
        self.before: list[tuple[Tensor, Tensor]] = []

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        assert "_local_scalar_dense" not in function.name(), "a capture that waits for a value fails"
        given = dict(zip((one.name for one in function._schema.arguments), args, strict=False)) | kwargs
        unsaid = _WRITES_UNSAID.get(function.name(), ())
        for one in function._schema.arguments:
            if one.name in unsaid or (one.alias_info is not None and one.alias_info.is_write):
                tensors = [x for x in tree_leaves(given.get(one.name)) if isinstance(x, Tensor)]
                self.before += [(x, x.detach().clone()) for x in tensors]
        result = function(*args, **kwargs)
        self._calls.append((function, args, kwargs, result))
        return result


@contextmanager
def _capture(graph: HostGraph, **options: Any) -> Iterator[None]:
    states = [generator.get_state() for generator in graph.generators]
    with _Recorder(graph) as recorder:
        yield
    with torch.no_grad():
        for tensor, value in reversed(recorder.before):
            tensor.copy_(value)
    for generator, state in zip(graph.generators, states, strict=True):
        generator.set_state(state)


class _Stream:
    def __init__(self, *args: Any) -> None:
        pass

    def wait_stream(self, other: Any) -> None:
        pass


def use_host_graphs(monkeypatch: pytest.MonkeyPatch) -> list[HostGraph]:
    """Let torch.cuda capture what runs on the CPU; returns the graphs, as they come."""
    graphs: list[HostGraph] = []

    def new() -> HostGraph:
        graphs.append(HostGraph())
        return graphs[-1]

    monkeypatch.setattr(torch.cuda, "CUDAGraph", new)
    monkeypatch.setattr(torch.cuda, "graph", _capture)
    monkeypatch.setattr(torch.cuda, "Stream", _Stream)
    monkeypatch.setattr(torch.cuda, "stream", lambda stream: nullcontext())
    monkeypatch.setattr(torch.cuda, "current_stream", lambda device=None: _Stream())
    monkeypatch.setattr(torch.cuda, "synchronize", lambda device=None: None)
    monkeypatch.setattr("amgan_fast.train.capture._hindrance", lambda config, device, processes: None)
    return graphs
