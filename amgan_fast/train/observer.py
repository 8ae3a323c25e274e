"""Whom a training run tells what it does."""

from __future__ import annotations

from typing import Any


class Observer:
    """Does nothing with what it is told; the command line's progress bar is one that does.

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
        """:data:`amgan_fast.progress.Progress`: "step", "classifier", "image files", samples that are scored, "runs" of
        a comparison."""

    def logged(self, row: dict[str, Any]) -> None:
        """A row of metrics.jsonl was written."""
