"""How long work says how far it is, and to whom."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

Progress = Callable[[str, int, int], None]
"""Told what is gone through, how much of it is done, and how much there is: ``("image files", 256, 2000)``."""


def to_no_one(what: str, done: int, total: int) -> None:
    """The progress that no one is told."""


class Observer:
    """Whom a training run tells what it does; this one does nothing with that, the command line's progress bar does.

    >>> from amgan_fast.train import Observer
    >>> class Printer(Observer):
    ...     def message(self, text: str) -> None:
    ...         print(text)
    ...
    >>> Printer().message("classifier: training on digits")
    classifier: training on digits
    """

    def message(self, text: str) -> None:
        """A line of text for the user."""

    def progress(self, what: str, done: int, total: int) -> None:
        """:data:`Progress`: "step", "classifier", "image files", samples that are scored, "runs" of a comparison."""

    def logged(self, row: dict[str, Any]) -> None:
        """A row of metrics.jsonl was written."""
