"""Ctrl-C and SIGTERM, kept until a step is whole."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from amgan_fast.runs import RunFolder

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


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
    """Let signals set what is yielded instead of ending the process; a second one ends it at once.

    In threads other than the main one, where Python handles no signals, nothing changes.
    """
    stop = Stop()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return
    before = {number: signal.getsignal(number) for number in _SIGNALS}

    def heard(number: int, frame: FrameType | None) -> None:
        stop.signal = signal.Signals(number)
        for other in _SIGNALS:
            signal.signal(other, before[other])

    for number in _SIGNALS:
        signal.signal(number, heard)
    try:
        yield stop
    finally:
        for number in _SIGNALS:
            signal.signal(number, before[number])
