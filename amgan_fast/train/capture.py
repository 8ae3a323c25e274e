"""What is done again and again, as one CUDA graph."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from amgan_fast.device import current_gpu
from amgan_fast.errors import InputError
from amgan_fast.runs import Config
from amgan_fast.train.step import AdversarialStep

_WARM_UP = 3  # steps run as they are before the capture: optimisers make their state, libraries choose their kernels

Prepare = Callable[..., tuple[Tensor, Tensor, Tensor | None]]
"""Makes a batch, as :class:`AdversarialStep` takes it, of the tensors that are given for it."""


def is_captured(config: Config, device: torch.device, processes: int) -> bool:
    """Whether the steps of a run are replayed from a CUDA graph.

    Raises:
        InputError: they are to be, and cannot be.
    """
    hindrance = _hindrance(config, device, processes)
    if config.cuda_graph == "on" and hindrance is not None:
        raise InputError(f"cuda_graph is on {hindrance}, wanted auto or off")
    # Whether the user's own code waits for the device, no one can see: that must be said.
    wanted = config.cuda_graph == "on" or (config.cuda_graph == "auto" and not config.has_own_step)
    return wanted and hindrance is None


def _hindrance(config: Config, device: torch.device, processes: int) -> str | None:
    if device.type != "cuda":
        return f"and the device {device}"
    if processes > 1:
        return f"and {processes} processes average their gradients"
    return None if config.uncaptured is None else f"with {config.uncaptured}"


@dataclass(frozen=True, eq=False)
class _Capture:
    graph: torch.cuda.CUDAGraph
    inputs: tuple[Tensor, ...]
    """Where the graph reads them."""
    constants: object
    """What the host knew, and is written into the graph."""


class CapturedWork:
    """Runs work's kernels from a graph: launching them one by one takes longer than they do, where layers are small.

    The first calls run as they are, on the stream that is captured then. The graph is captured anew when what the host
    knows has changed.

    Args:
        work: of tensors of a CUDA device, always as many and of the same shapes; it waits for nothing.
        random: the generators that it draws from, beside torch's default one.
        constants: what the host decides of it now, such as learning rates.
    """

    def __init__(
        self,
        work: Callable[..., None],
        device: torch.device,
        *,
        random: Sequence[torch.Generator],
        constants: Callable[[], object],
    ) -> None:
        self._work = work
        self._device = device
        self._random = random
        self._constants = constants
        self._stream = torch.cuda.Stream(device)
        self._captured: _Capture | None = None
        self._eager = 0

    def __call__(self, *given: Tensor) -> None:
        with current_gpu(self._device):
            if self._eager < _WARM_UP:
                self._warm_up(given)
            else:
                self._replay(given)

    def _warm_up(self, given: tuple[Tensor, ...]) -> None:
        self._eager += 1
        current = torch.cuda.current_stream(self._device)
        self._stream.wait_stream(current)
        with torch.cuda.stream(self._stream):
            self._work(*given)
        current.wait_stream(self._stream)

    def _replay(self, given: tuple[Tensor, ...]) -> None:
        if self._captured is None or self._captured.constants != self._constants():
            torch.cuda.synchronize(self._device)  # the old one may still run; its memory goes before there is another
            self._captured = None
            self._captured = self._capture(given)
        for there, value in zip(self._captured.inputs, given, strict=True):
            there.copy_(value)
        self._captured.graph.replay()

    def _capture(self, given: tuple[Tensor, ...]) -> _Capture:
        inputs = tuple(value.clone() for value in given)
        graph = torch.cuda.CUDAGraph()
        for generator in self._random:
            graph.register_generator_state(generator)
        # Errors of this thread's calls alone: others pin images of files, or watch over processes.
        with torch.cuda.graph(graph, stream=self._stream, capture_error_mode="thread_local"):
            self._work(*inputs)
        return _Capture(graph, inputs, self._constants())


class CapturedStep(CapturedWork):
    """A training step.

    Args:
        step: on a CUDA device, without other processes, whose messages no graph holds.
        prepare: part of the graph: operations of the device alone, whose results have always the same shapes.
    """

    def __init__(self, step: AdversarialStep, prepare: Prepare) -> None:
        def work(*given: Tensor) -> None:
            step.compute(*prepare(*given))

        super().__init__(work, step.random.device, random=[*step.generators.values()], constants=step.learning_rates)
        self._step = step

    def __call__(self, *given: Tensor) -> None:
        """A step on the batch that is made of ``given``."""
        super().__call__(*given)
        self._step.count()
