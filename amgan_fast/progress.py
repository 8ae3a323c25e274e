"""How long work says how far it is, and to whom."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

Progress = Callable[[str, int, int], None]
"""Told what is gone through, how much of it is done, and how much there is: ``("image files", 256, 2000)``."""


def to_no_one(what: str, done: int, total: int) -> None:
    """The progress that no one is told."""


class Observer:
    """Whom a training run tells what it does; this one does nothing with that, the command line's progress bar does.

    :meth:`began` comes once a run has everything that it needs, and after it either :meth:`finished` or
    :meth:`stopped`. Of several processes the first one tells. Random numbers that an observer draws change nothing of
    the run. Where one raises, the run is saved once its step is whole and ends with an error that names the observer.

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

    def began(self, folder: Path, config: dict[str, Any], step: int) -> None:
        """Steps are about to be taken.

        Args:
            folder: of the run.
            config: every setting, as in its config.toml.
            step: how many were taken before: 0 for a new run. What was logged after that is forgotten, and comes again.
        """

    def metrics(self, scored: Any) -> Mapping[str, float]:
        """Numbers of one's own that go into the row of losses and scores, asked for whenever samples are scored.

        Args:
            scored: :class:`amgan_fast.train.ScoredStep`, with the networks of this step.

        Returns:
            by their names, which the row must not have yet; anything that is one real number.
        """
        return {}

    def logged(self, row: dict[str, Any]) -> None:
        """A row of metrics.jsonl was written; here with its infinite and undefined numbers, which are null there."""

    def drawn(self, step: int, path: Path) -> None:
        """A grid of samples was written, before the row of the same step."""

    def saved(self, step: int, path: Path) -> None:
        """A checkpoint was written that the run would go on from."""

    def finished(self, summary: dict[str, Any]) -> None:
        """The run has come to its end, and all its files are there; ``summary`` is what summary.json has."""

    def stopped(self, error: BaseException) -> None:
        """The run has ended before its end: by a signal (:class:`amgan_fast.train.TrainingStopped`), by numbers that
        are not finite (``FloatingPointError``), or by any other error. It comes also where :meth:`began` has raised."""


class Observers(Observer):
    """Several observers as one: each is told everything, in their order.

    >>> from amgan_fast.train import Observer, Observers
    >>> class Printer(Observer):
    ...     def message(self, text: str) -> None:
    ...         print(text)
    ...
    >>> Observers([Printer(), Observer(), Printer()]).message("run: runs/digits on cpu")
    run: runs/digits on cpu
    run: runs/digits on cpu

    Attributes:
        observers: the single ones; of an ``Observers`` among those given, its own.
    """

    def __init__(self, observers: Iterable[Observer]) -> None:
        self.observers: tuple[Observer, ...] = tuple(
            single for one in observers for single in (one.observers if isinstance(one, Observers) else (one,))
        )

    def message(self, text: str) -> None:
        self._tell("message", text)

    def progress(self, what: str, done: int, total: int) -> None:
        self._tell("progress", what, done, total)

    def began(self, folder: Path, config: dict[str, Any], step: int) -> None:
        self._tell("began", folder, config, step)

    def metrics(self, scored: Any) -> Mapping[str, float]:
        return {name: number for one in self.observers for name, number in one.metrics(scored).items()}

    def logged(self, row: dict[str, Any]) -> None:
        self._tell("logged", row)

    def drawn(self, step: int, path: Path) -> None:
        self._tell("drawn", step, path)

    def saved(self, step: int, path: Path) -> None:
        self._tell("saved", step, path)

    def finished(self, summary: dict[str, Any]) -> None:
        self._tell("finished", summary)

    def stopped(self, error: BaseException) -> None:
        self._tell("stopped", error)

    def _tell(self, event: str, *facts: Any) -> None:
        for observer in self.observers:
            getattr(observer, event)(*facts)
