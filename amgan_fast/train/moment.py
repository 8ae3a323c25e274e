"""What a device has done by when, and what it has found, told without stopping it."""

from __future__ import annotations

import time

import torch
from torch import Tensor


class Moment:
    """When a device has done what it was given until now. On a CPU that is now."""

    def __init__(self, device: torch.device) -> None:
        self._event = None
        if device.type == "cuda":
            self._event = torch.cuda.Event(enable_timing=True, blocking=True)
            self._event.record(torch.cuda.current_stream(device))
        self._time = time.perf_counter()

    def has_come(self) -> bool:
        return self._event is None or self._event.query()

    def wait(self) -> None:
        if self._event is not None:
            self._event.synchronize()

    def seconds_since(self, earlier: Moment) -> float:
        """Waits for this one."""
        self.wait()
        if self._event is None or earlier._event is None:
            return self._time - earlier._time
        return earlier._event.elapsed_time(self._event) / 1000


class Numbers:
    """A few numbers on their way from the device."""

    def __init__(self, values: Tensor) -> None:
        """Of any shape; they may be overwritten by what the device is given next."""
        self._values = torch.empty(values.shape, dtype=values.dtype, pin_memory=values.is_cuda)
        self._values.copy_(values, non_blocking=True)
        self.moment = Moment(values.device)
        """When they are here."""

    def read(self) -> list[float]:
        """Waits for them."""
        self.moment.wait()
        return self._values.tolist()
