"""Ctrl-C and SIGTERM, kept until a step is whole."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


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
