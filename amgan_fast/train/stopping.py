"""Ctrl-C and SIGTERM, kept until a step is whole."""

from __future__ import annotations

import math
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from amgan_fast.runs import RunFolder

_SIGNALS = (signal.SIGINT, signal.SIGTERM)
_ONE_REQUEST = 2.0  # seconds. A terminal, or a batch system, tells every process; what has started it tells it again.


class TrainingStopped(Exception):
    """Ctrl-C or SIGTERM came; :func:`amgan_fast.train.resume` goes on.

    >>> from pathlib import Path
    >>> from signal import SIGTERM
    >>> from amgan_fast.runs import RunFolder
    >>> from amgan_fast.train import TrainingStopped
    >>> print(TrainingStopped(RunFolder(Path("runs/digits")), 400, SIGTERM))
    stopped by SIGTERM and saved at step 400
    """

    def __init__(self, folder: RunFolder, step: int, number: signal.Signals) -> None:
        super().__init__(folder, step, number)  # what it is made of again in another process
        self.folder = folder
        self.step = step
        """Of the last checkpoint; 0 where there is none."""
        self.signal = number

    def __str__(self) -> str:
        saved = f"and saved at step {self.step}" if self.step else "before the first checkpoint"
        return f"stopped by {self.signal.name} {saved}"


class Stop:
    """Whether the user, or the system, has asked for an end."""

    signal: signal.Signals | None = None


@contextmanager
def stop_on_signal() -> Iterator[Stop]:
    """Let signals set what is yielded instead of ending the process. Another one, more than two seconds later, ends it
    at once: until then it may be the same request by another way.

    In threads other than the main one, where Python handles no signals, nothing changes.
    """
    stop = Stop()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return
    before = {number: signal.getsignal(number) for number in _SIGNALS}
    asked = math.inf

    def heard(number: int, frame: FrameType | None) -> None:
        nonlocal asked
        if stop.signal is None:
            stop.signal, asked = signal.Signals(number), time.monotonic()
        elif time.monotonic() - asked > _ONE_REQUEST:
            restore()
            signal.raise_signal(number)

    def restore() -> None:
        for number in _SIGNALS:
            signal.signal(number, before[number])

    for number in _SIGNALS:
        signal.signal(number, heard)
    try:
        yield stop
    finally:
        restore()
