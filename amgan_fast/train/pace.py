"""When a run is saved."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

import torch

_SHARE = 1 / 20


class CheckpointPace:
    """On a CPU checkpoints are written at the steps that the settings name. A GPU would stand still half of the time
    where its steps are short: there one is left out until those before it have taken no more than a twentieth.

    Nothing that is trained, logged or scored depends on where checkpoints are.
    """

    def __init__(self, device: torch.device) -> None:
        self._limited = device.type == "cuda"
        self._not_before = time.perf_counter()

    def is_due(self) -> bool:
        """Where the settings name a step."""
        return not self._limited or time.perf_counter() >= self._not_before

    @contextmanager
    def saving(self) -> Iterator[None]:
        """To be entered once the device has done all steps."""
        start = time.perf_counter()
        yield
        end = time.perf_counter()
        self._not_before = end + (end - start) / _SHARE
