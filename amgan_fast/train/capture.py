"""A training step as one CUDA graph."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from amgan_fast.train.step import AdversarialStep

_WARM_UP = 3  # steps run as they are before the capture: optimisers make their state, libraries choose their kernels

_Inputs = tuple[Tensor, Tensor, Tensor | None]


@dataclass(frozen=True, eq=False)
class _Capture:
    graph: torch.cuda.CUDAGraph
    inputs: _Inputs
    """Where the graph reads them."""
    rates: list[float]
    """The learning rates that are written into the graph."""


class CapturedStep:
    """Runs a step's kernels from a graph: launching them one by one takes longer than they do, where layers are small.

    The first steps run as they are. The graph is captured anew when a learning rate has changed.

    Args:
        step: on a CUDA device, with batches of one size.
    """

    def __init__(self, step: AdversarialStep) -> None:
        self._step = step
        self._stream = torch.cuda.Stream(step.random.device)
        self._captured: _Capture | None = None
        self._eager = 0

    def __call__(self, images: Tensor, labels: Tensor, unlabelled: Tensor | None = None) -> None:
        given = (images, labels, unlabelled)
        if self._eager < _WARM_UP:
            self._warm_up(given)
        else:
            self._replay(given)
        self._step.count()

    def _warm_up(self, given: _Inputs) -> None:
        self._eager += 1
        self._stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(self._stream):
            self._step.compute(*given)
        torch.cuda.current_stream().wait_stream(self._stream)

    def _replay(self, given: _Inputs) -> None:
        captured = self._captured
        if captured is None or captured.rates != self._step.learning_rates():
            captured = self._captured = self._capture(given)
        for there, value in zip(captured.inputs, given, strict=True):
            if there is not None and value is not None:
                there.copy_(value)
        captured.graph.replay()

    def _capture(self, given: _Inputs) -> _Capture:
        images, labels, unlabelled = given
        inputs = (images.clone(), labels.clone(), None if unlabelled is None else unlabelled.clone())
        graph = torch.cuda.CUDAGraph()
        graph.register_generator_state(self._step.random)
        with torch.cuda.graph(graph, stream=self._stream):
            self._step.compute(*inputs)
        return _Capture(graph, inputs, self._step.learning_rates())
