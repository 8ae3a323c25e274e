"""When a run is saved."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from contextlib import contextmanager

import torch

_SHARE = 1 / 20
_FIRST = 60.0  # seconds: a run of long steps has something to go on from soon


class CheckpointPace:
    """On a CPU checkpoints are written at the steps that the settings name, and where these are far apart after so
    many minutes. A GPU would stand still half of the time where its steps are short: there one is left out until those
    before it have taken no more than a twentieth.

    Nothing that is trained, logged or scored depends on where checkpoints are.

    Args:
        minutes: after the last one; 0: never by the time.
    """

    def __init__(self, device: torch.device, minutes: float) -> None:
        self._limited = device.type == "cuda"
        self._seconds = 60 * minutes or math.inf
        self._not_before = time.perf_counter()
        self._not_after = self._not_before + (min(_FIRST, self._seconds) if minutes else math.inf)

    def is_due(self) -> bool:
        """Where the settings name a step."""
        return not self._limited or time.perf_counter() >= self._not_before

    def is_overdue(self) -> bool:
        """At any step."""
        return time.perf_counter() >= self._not_after

    @contextmanager
    def saving(self) -> Iterator[None]:
        """To be entered once the device has done all steps."""
        start = time.perf_counter()
        yield
        end = time.perf_counter()
        self._not_before = end + (end - start) / _SHARE
        self._not_after = end + self._seconds
