"""What accumulators over the rows of a classifier's output have in common."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from typing import ClassVar, TypeVar

import torch
from torch import Tensor, distributed

from amgan_fast.metrics.arrays import Array, batches_of
from amgan_fast.metrics.bad_rows import kind_of
from amgan_fast.metrics.first_rows import FirstRows
from amgan_fast.metrics.row_terms import RowTerms
from amgan_fast.processes import sum_over_processes


def check_num_classes(num_classes: int) -> None:
    """
    Raises:
        ValueError: below 2. Of a single class every distribution is the same.
    """
    if num_classes < 2:
        raise ValueError(f"num_classes is {num_classes}, wanted at least 2")


class Accumulator(ABC):
    """Sums over samples that come batch by batch, to which those of other processes can be added."""

    COUNTED: ClassVar[tuple[str, ...]] = ("samples",)
    """Attributes that are whole numbers and add up too."""

    def __init__(self, num_classes: int, device: torch.device | str | None) -> None:
        check_num_classes(num_classes)
        self.num_classes = num_classes
        self.samples = 0
        """Rows seen."""
        self.first_rows = FirstRows(device)
        """What tells whether logits are probabilities."""

    @abstractmethod
    def _states(self) -> list[Tensor]:
        """The sums."""

    def all_reduce(self, group: distributed.ProcessGroup | None = None) -> None:
        """Make the samples of all processes of the group those of each: every process must call, once, in the end."""
        states = self._states()
        numbers = [*(getattr(self, name) for name in self.COUNTED), *self.first_rows.counts]
        counts = torch.tensor(numbers, dtype=torch.float64, device=states[0].device)
        sum_over_processes([*states, counts], group)
        *numbers, seen, alike = map(int, counts.tolist())
        for name, number in zip(self.COUNTED, numbers, strict=True):
            setattr(self, name, number)
        self.first_rows.counts = [seen, alike]

    def _count(self, rows: RowTerms) -> None:
        """Rows that were added."""
        self.samples += len(rows)
        if rows.from_logits:
            self.first_rows.look(rows.values)


class RowAccumulator(Accumulator):
    """Takes nothing but the rows."""

    def update(self, logits: Array, *, from_logits: bool = True) -> None:
        """Add a batch [N, K], as :meth:`amgan_fast.metrics.ScoreAccumulator.update` takes them.

        Raises:
            TypeError: no tensor or array, or a dtype that is not floating point.
            ValueError: a wrong shape, or a row that gives no distribution. Nothing of the batch is added then. On a
                GPU such a row is found by ``compute``.
        """
        self.add(RowTerms(logits, self.num_classes, from_logits=from_logits))

    @abstractmethod
    def add(self, rows: RowTerms) -> None:
        """Add a batch that others may be handed too.

        Raises:
            ValueError: as :meth:`update`.
        """


_A = TypeVar("_A", bound=RowAccumulator)


def accumulate(
    make: Callable[..., _A], values: Array | Iterable[Array], from_logits: bool, name: str | None = None
) -> _A:
    """All of ``values``, [N, K] or batches of these, in ``make(K, device=...)``, for as many classes as the first has.

    Raises:
        TypeError, ValueError: as :class:`RowTerms` and ``make`` have it, or no batch.
    """
    batches = batches_of(name or kind_of(from_logits), values)
    rows = RowTerms(next(batches), from_logits=from_logits, name=name)
    accumulator = make(rows.num_classes, device=rows.values.device)
    accumulator.add(rows)
    for batch in batches:
        accumulator.add(RowTerms(batch, accumulator.num_classes, from_logits=from_logits, name=name))
    return accumulator
