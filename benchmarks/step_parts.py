"""The parts of a training step, and how long each takes on its device."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

from amgan_fast.train import AdversarialStep
from amgan_fast.train.moment import Moment

PARTS = (
    "data",
    "latents",
    "generator forward",
    "discriminator forward",
    "losses",
    "discriminator's step backward",
    "generator's step backward",
    "optimisers",
    "averaged generator",
)
REST = "everything else"


class StepParts:
    """Watches a step from outside: wraps what it calls, and marks the stream before and after.

    On a GPU times are those between events, so a part has the gaps in it in which the GPU waits for the host.
    """

    def __init__(self, step: AdversarialStep) -> None:
        watched: Any = step
        self._device = step.random.device
        self._marks: list[tuple[str, Moment, Moment]] = []
        self._player = "discriminator"
        for name, part in (("_draw", "latents"), ("_update", "optimisers"), ("_average", "averaged generator")):
            setattr(step, name, self.timed(part, getattr(step, name)))
        for name, player in (("_step_discriminator", "discriminator"), ("_step_generator", "generator")):
            setattr(step, name, self._playing(player, getattr(step, name)))
        watched.objective = _Timed(step.objective, self)
        self._watch(step.generator, "generator forward")
        self._watch(step.discriminator, "discriminator forward")

    def measure(self, advance: Callable[[], object], rounds: int) -> dict[str, float]:
        """Median milliseconds of each part of what ``advance`` does, once a round."""
        times: dict[str, list[float]] = {name: [] for name in (*PARTS, REST)}
        for _ in range(rounds):
            self._marks.clear()
            start = Moment(self._device)
            with self._timed_backward():
                advance()
            whole = Moment(self._device).seconds_since(start)
            one = dict.fromkeys(PARTS, 0.0)
            for name, before, after in self._marks:
                one[name] += after.seconds_since(before)
            one[REST] = whole - sum(one.values())
            for name, seconds in one.items():
                times[name].append(1000 * seconds)
        return {name: statistics.median(values) for name, values in times.items()}

    def timed(self, part: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """``function``, as a part of the step."""

        def run(*args: Any, **options: Any) -> Any:
            before = Moment(self._device)
            result = function(*args, **options)
            self._marks.append((part, before, Moment(self._device)))
            return result

        return run

    def _playing(self, player: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def run(*args: Any) -> Any:
            self._player = player
            return function(*args)

        return run

    def _watch(self, network: nn.Module, part: str) -> None:
        begun: list[Moment] = []
        network.register_forward_pre_hook(lambda *_: begun.append(Moment(self._device)))
        network.register_forward_hook(lambda *_: self._marks.append((part, begun.pop(), Moment(self._device))))

    @contextmanager
    def _timed_backward(self) -> Iterator[None]:
        autograd: Any = torch.autograd
        backward = autograd.backward

        def run(*args: Any) -> None:
            self.timed(f"{self._player}'s step backward", backward)(*args)

        autograd.backward = run
        try:
            yield
        finally:
            autograd.backward = backward


class _Timed:
    """An objective whose methods are parts of the step."""

    def __init__(self, objective: Any, parts: StepParts) -> None:
        self._objective = objective
        self._parts = parts

    def __getattr__(self, name: str) -> Any:
        value = getattr(self._objective, name)
        return self._parts.timed("losses", value) if callable(value) else value
