"""A training step as one CUDA graph."""

from __future__ import annotations

import torch
from torch import Tensor

from amgan_fast.train.step import AdversarialStep

_WARM_UP = 3  # steps run as they are before the capture: optimisers make their state, libraries choose their kernels


class CapturedStep:
    """Runs a step's kernels from a graph: launching them one by one takes longer than they do, where layers are small.

    The first steps run as they are. The graph is captured anew when a learning rate has changed.

    Args:
        step: on a CUDA device, with batches of one size.
        random: what it draws latents from.
    """

    def __init__(self, step: AdversarialStep, random: torch.Generator) -> None:
        self._step = step
        self._random = random
        self._stream = torch.cuda.Stream(random.device)
        self._inputs: list[Tensor | None] = []
        self._graph: torch.cuda.CUDAGraph | None = None
        self._rates: list[float] = []
        self._eager = 0

    def __call__(self, images: Tensor, labels: Tensor, unlabelled: Tensor | None = None) -> None:
        given = [images, labels, unlabelled]
        if self._eager < _WARM_UP:
            self._warm_up(given)
        else:
            self._replay(given)
        self._step.count()

    def _warm_up(self, given: list[Tensor | None]) -> None:
        self._eager += 1
        self._stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(self._stream):
            self._step.compute(*given)  # type: ignore[arg-type]
        torch.cuda.current_stream().wait_stream(self._stream)

    def _replay(self, given: list[Tensor | None]) -> None:
        rates = self._step.learning_rates()
        if self._graph is None or rates != self._rates:
            self._capture(given, rates)
        assert self._graph is not None
        for place, value in zip(self._inputs, given, strict=True):
            if place is not None and value is not None:
                place.copy_(value)
        self._graph.replay()

    def _capture(self, given: list[Tensor | None], rates: list[float]) -> None:
        self._inputs = [None if value is None else value.clone() for value in given]
        self._rates = rates
        self._graph = torch.cuda.CUDAGraph()
        self._graph.register_generator_state(self._random)
        with torch.cuda.graph(self._graph, stream=self._stream):
            self._step.compute(*self._inputs)  # type: ignore[arg-type]
