"""The observers of a run, which can neither change it nor break off a step."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from numbers import Real
from pathlib import Path
from traceback import walk_tb
from typing import Any

import torch
from torch import Tensor

from amgan_fast.errors import InputError, found, in_one_line, shown
from amgan_fast.progress import Observer, Observers
from amgan_fast.train.scalars import INTERVAL
from amgan_fast.train.scored_step import ScoredStep


class Listeners(Observers):
    """Tells each observer everything, whatever another one raises.

    Before a run begins an error goes on at once. From there on it waits until the step is whole and can be saved, as
    signals do: :attr:`failure` is asked for then. Random numbers that are drawn meanwhile leave those of the run as
    they were.

    Args:
        observer: one, or an ``Observers``.
        device: the run's.
    """

    failure: InputError | None = None
    """The first error since the run began; names the observer."""

    def __init__(self, observer: Observer, device: torch.device) -> None:
        super().__init__([observer])
        self._devices = [device] if device.type == "cuda" else []
        self._waits = False

    @contextmanager
    def of_run(self, folder: Path, config: dict[str, Any], step: int) -> Iterator[None]:
        """Around the steps of a run and its end.

        Raises:
            InputError: an observer has failed, and all else is done.
        """
        self._waits = True
        try:
            self.began(folder, config, step)
            yield
        except BaseException as error:
            self.stopped(error)
            raise
        if self.failure is not None:
            raise InputError(f"{self.failure}; {folder} is whole") from self.failure.__cause__

    def metrics_beside(self, taken: Collection[str], scored: ScoredStep) -> dict[str, float]:
        """Those of all observers.

        Args:
            taken: names that the row has already.
        """
        numbers: dict[str, float] = {}
        for observer in self.observers:
            numbers |= self._ask("metrics", observer, {}, _numbers, observer, scored, {*taken, *numbers})
        return numbers

    def _tell(self, event: str, *facts: Any) -> None:
        for observer in self.observers:
            self._ask(event, observer, None, getattr(observer, event), *facts)

    def _ask(self, event: str, observer: Observer, otherwise: Any, call: Callable[..., Any], *facts: Any) -> Any:
        try:
            with torch.random.fork_rng(self._devices):
                return call(*facts)
        except (Exception, SystemExit) as error:
            failure = InputError(f"observer {type(observer).__name__}: {event} failed{_why(error)}")
            failure.__cause__ = error
            if not self._waits:
                raise failure from error
            self.failure = self.failure or failure
            return otherwise


def _why(error: BaseException) -> str:
    """Where in the observer, and what was raised there."""
    if isinstance(error, InputError):
        return f": {error}"
    lines = ((frame.f_code.co_filename, line) for frame, line in walk_tb(error.__traceback__))
    where = next((f" at {Path(file).name}, line {line}" for file, line in lines if file != __file__), "")
    return f"{where} ({in_one_line(error)})"


def _numbers(observer: Observer, scored: ScoredStep, taken: Collection[str]) -> dict[str, float]:
    """
    Raises:
        InputError: what it returns is no mapping of free names to real numbers.
    """
    returned = observer.metrics(scored)
    if not isinstance(returned, Mapping):
        raise InputError(f"it returned {found(returned)}, wanted a mapping of names to numbers")
    numbers: dict[str, float] = {}
    for name, value in returned.items():
        if not isinstance(name, str) or not name or name.endswith(INTERVAL):
            raise InputError(f"it returned the name {shown(name)}, wanted a text that does not end in {INTERVAL}")
        if name in taken:
            raise InputError(f"it returned {name}, which the row has already, wanted another name")
        number = value.item() if isinstance(value, Tensor) and value.numel() == 1 else value
        if not isinstance(number, Real) or isinstance(number, bool):
            raise InputError(f"it returned {name} = {found(number)}, wanted one real number")
        numbers[name] = float(number)
    return numbers
