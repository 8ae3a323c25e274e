"""Waits for what another thread or process does."""

from __future__ import annotations

import time
from collections.abc import Callable


def waited_for(condition: Callable[[], object], seconds: float = 60) -> bool:
    """Whether it has become true within that time."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if condition():
            return True
        time.sleep(0.01)
    return False
