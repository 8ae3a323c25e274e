"""Whom a training run tells what it does."""

from __future__ import annotations

from typing import Any


class Observer:
    """Does nothing with what it is told; the command line's progress bar is one that does."""

    def message(self, text: str) -> None:
        """A line of text for the user."""

    def loaded(self, done: int, total: int) -> None:
        """So many of the dataset's image files are looked at or read."""

    def classifier_progress(self, step: int, steps: int) -> None:
        """The classifier is being trained and has come this far."""

    def started(self, steps: int, done: int = 0) -> None:
        """Training begins, or goes on after ``done`` steps."""

    def logged(self, row: dict[str, Any]) -> None:
        """A row of metrics.jsonl was written."""

    def evaluated(self, what: str, done: int, total: int) -> None:
        """Samples are being scored and so many are done."""
