"""How long work says how far it is."""

from __future__ import annotations

from collections.abc import Callable

Progress = Callable[[str, int, int], None]
"""Told what is gone through, how much of it is done, and how much there is: ``("image files", 256, 2000)``."""


def to_no_one(what: str, done: int, total: int) -> None:
    """The progress that no one is told."""
