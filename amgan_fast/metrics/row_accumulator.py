"""What accumulators over the rows of a classifier's output have in common."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, ClassVar, TypeVar

import torch
from torch import Tensor

from amgan_fast.metrics.arrays import Array, batches_of
from amgan_fast.metrics.bad_rows import kind_of
from amgan_fast.metrics.first_rows import FirstRows
from amgan_fast.metrics.late_checks import LateLabels
from amgan_fast.metrics.row_terms import RowTerms
from amgan_fast.metrics.sample_sums import SampleSums


def check_num_classes(num_classes: int) -> None:
    """
    Raises:
        ValueError: below 2. Of a single class every distribution is the same.
    """
    if num_classes < 2:
        raise ValueError(f"num_classes is {num_classes}, wanted at least 2")


class Accumulator(SampleSums):
    """Sums over rows of a classifier's output, and what tells whether logits are probabilities."""

    SETTINGS: ClassVar[tuple[str, ...]] = ("num_classes",)

    def __init__(self, num_classes: int, device: torch.device | str | None) -> None:
        check_num_classes(num_classes)
        super().__init__(device)
        self.num_classes = num_classes

    @abstractmethod
    def _begin(self, device: torch.device | str | None) -> None:
        super()._begin(device)
        self.first_rows = FirstRows(device)
        """What tells whether logits are probabilities."""

    def state_dict(self) -> dict[str, Any]:
        """Everything, as numbers and tensors: torch.load(weights_only=True) takes it."""
        return super().state_dict() | {"first_rows": self.first_rows.counts}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from a :meth:`state_dict`.

        Raises:
            ValueError: a key is missing, or settings differ from those here. Nothing is changed then.
        """
        super().load_state_dict(state)
        self.first_rows.counts = state["first_rows"]

    def _numbers(self) -> list[int]:
        return [*super()._numbers(), *self.first_rows.counts]

    def _set_numbers(self, numbers: Sequence[int]) -> None:
        super()._set_numbers(numbers[:-2])
        self.first_rows.counts = numbers[-2:]

    def _check_state(self, state: Mapping[str, Any]) -> None:
        super()._check_state(state)
        if len(self._there(state, "first_rows")) != 2:
            raise ValueError(f"state has first_rows = {state['first_rows']}, wanted two numbers")

    def _follow(self, rows: RowTerms) -> None:
        self._follow_to(rows.values.device)

    def _count(self, rows: RowTerms) -> None:
        """Rows that were added."""
        self.samples += len(rows)
        if rows.from_logits:
            self.first_rows.look(rows.values)


class RowAccumulator(Accumulator):
    """Takes the rows, and where it has strata that of each."""

    strata: int | None = None
    """S, the number of strata; None: there are none."""
    start: int = 0
    """Samples that others take before the first one here."""

    def _begin(self, device: torch.device | str | None) -> None:
        super()._begin(device)
        self._late_strata = None if self.strata is None else LateLabels(self.strata, "strata", device)
        if self._late_strata is not None:
            self._late.append(self._late_strata)

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

    def _strata_of(self, strata: Array | None, rows: RowTerms) -> Tensor | None:
        """[N], int64, where the rows are: what was given for their strata; None where there are no strata.

        Raises:
            TypeError: no integers.
            ValueError: given where there are none, not given where there are, other than one a row, or out of range.
        """
        if self.strata is None and strata is not None:
            raise ValueError(f"strata are given, and there are none; wanted {type(self).__name__}(..., strata=S)")
        if self.strata is not None and strata is None:
            raise ValueError(f"strata are not given, wanted that of each sample, 0 to {self.strata - 1}")
        if self._late_strata is None or strata is None:
            return None
        return self._late_strata.take(strata, len(rows), self.start + self.samples, rows.values.device)


_A = TypeVar("_A", bound=RowAccumulator)


def accumulate(
    make: Callable[..., _A],
    values: Array | Iterable[Array],
    from_logits: bool,
    name: str | None = None,
    strata: Tensor | None = None,
) -> _A:
    """All of ``values``, [N, K] or batches of these, in ``make(K, device=...)``, for as many classes as the first has.

    ``strata``, [N], is for one that takes them.

    Raises:
        TypeError, ValueError: as :class:`RowTerms` and ``make`` have it, no batch, or other than one stratum a row.
    """
    accumulator: _A | None = None
    seen = 0
    for batch in batches_of(name or kind_of(from_logits), values):
        num_classes = None if accumulator is None else accumulator.num_classes
        rows = RowTerms(batch, num_classes, from_logits=from_logits, name=name)
        if accumulator is None:
            accumulator = make(rows.num_classes, device=rows.values.device)
        if strata is None:
            accumulator.add(rows)
        else:
            accumulator.add(rows, strata[seen : seen + len(rows)])  # type: ignore[call-arg]
        seen += len(rows)
    if strata is not None and len(strata) != seen:
        raise ValueError(f"strata are {list(strata.shape)}, wanted [{seen}], one for each sample")
    if accumulator is None:
        raise ValueError("batches hold no samples, wanted at least one")
    return accumulator
