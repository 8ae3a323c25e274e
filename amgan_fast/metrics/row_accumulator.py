"""What accumulators over the rows of a classifier's output have in common."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping
from typing import Any, ClassVar, TypeVar

import torch
from torch import Tensor, distributed

from amgan_fast.metrics.arrays import Array, batches_of
from amgan_fast.metrics.bad_rows import kind_of
from amgan_fast.metrics.first_rows import FirstRows
from amgan_fast.metrics.late_checks import LateBadRows, LateLabels
from amgan_fast.metrics.row_terms import RowTerms
from amgan_fast.processes import sum_over_processes


def check_num_classes(num_classes: int) -> None:
    """
    Raises:
        ValueError: below 2. Of a single class every distribution is the same.
    """
    if num_classes < 2:
        raise ValueError(f"num_classes is {num_classes}, wanted at least 2")


_Same = TypeVar("_Same", bound="Accumulator")


class Accumulator(ABC):
    """Sums over samples that come batch by batch, to which those of other processes can be added, from files too.

    On a GPU nothing waits for a batch: what is wrong with one is written down beside the sums, and raised by whatever
    reads these.
    """

    SETTINGS: ClassVar[tuple[str, ...]] = ("num_classes",)
    """Attributes in which two agree whose sums can be added."""
    COUNTED: ClassVar[tuple[str, ...]] = ("samples",)
    """Attributes that are whole numbers and add up too."""

    def __init__(self, num_classes: int, device: torch.device | str | None) -> None:
        check_num_classes(num_classes)
        self.num_classes = num_classes
        self.samples = 0
        """Rows seen."""
        self._follows = device is None
        """Whether sums are yet to go where the first rows are."""

    @abstractmethod
    def _begin(self, device: torch.device | str | None) -> None:
        """Sums of no samples, on a device; to be called when the settings are there."""
        self.first_rows = FirstRows(device)
        """What tells whether logits are probabilities."""
        self._late: list[LateBadRows | LateLabels] = []
        """What may be found when the sums are read."""

    @abstractmethod
    def _states(self) -> dict[str, Tensor]:
        """The sums by name, which add up."""

    def merge(self: _Same, other: _Same) -> None:
        """Add the samples of another accumulator with the same settings (of another process, say).

        Raises:
            ValueError: settings differ, samples have an order that merging loses, or a row gave no distribution.
        """
        for name in self.SETTINGS:
            mine, others = getattr(self, name), getattr(other, name)
            if mine != others:
                raise ValueError(f"other has {name} = {others}, wanted {mine} as here")
        for one in (self, other):
            one._require_mergeable()
        theirs = other._states()
        for name, total in self._states().items():
            total += theirs[name].to(total.device)
        for name in self.COUNTED:
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.first_rows.add(other.first_rows)

    def all_reduce(self, group: distributed.ProcessGroup | None = None) -> None:
        """Make the samples of all processes of the group those of each: every process must call, once, in the end. One
        that has seen no rows does not know where those of the others are, unless it was given a ``device``.

        Raises:
            ValueError: as for :meth:`merge`, on the process where it happens.
        """
        self._require_mergeable()
        states = list(self._states().values())
        numbers = [*(getattr(self, name) for name in self.COUNTED), *self.first_rows.counts]
        counts = torch.tensor(numbers, dtype=torch.float64, device=states[0].device)
        sum_over_processes([*states, counts], group)
        *numbers, seen, alike = map(int, counts.tolist())
        for name, number in zip(self.COUNTED, numbers, strict=True):
            setattr(self, name, number)
        self.first_rows.counts = [seen, alike]

    def state_dict(self) -> dict[str, Any]:
        """Everything, as numbers and tensors: torch.load(weights_only=True) takes it."""
        self._refuse_late()
        numbers = {name: getattr(self, name) for name in (*self.SETTINGS, *self.COUNTED)}
        sums = {name: total.clone() for name, total in self._states().items()}
        return numbers | {"first_rows": self.first_rows.counts} | sums

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from a :meth:`state_dict`.

        Raises:
            ValueError: a key is missing, or settings differ from those here. Nothing is changed then.
        """
        self._check_state(state)
        for name, total in self._states().items():
            total.copy_(state[name])
        for name in self.COUNTED:
            setattr(self, name, int(state[name]))
        self.first_rows.counts = state["first_rows"]
        for check in self._late:
            check.forget()

    def _follow(self, rows: RowTerms) -> None:
        """Where no device was asked for, the sums go where the first rows are: before they are added to."""
        if not self._follows:
            return
        self._follows = False
        device = rows.values.device
        if next(iter(self._states().values())).device == device:
            return
        state = self.state_dict() if self.samples else None
        self._begin(device)
        if state is not None:
            self.load_state_dict(state)

    def _refuse_late(self) -> None:
        """Raise ValueError for what was found of a batch after it had been added."""
        for check in self._late:
            check.refuse()

    def _require_mergeable(self) -> None:
        """Raise ValueError where the sums are not to be added to others."""
        self._refuse_late()

    def _check_state(self, state: Mapping[str, Any]) -> None:
        sums = self._states()
        for name in self.SETTINGS:
            if _there(state, name) != getattr(self, name):
                raise ValueError(f"state has {name} = {state[name]}, wanted {getattr(self, name)} as here")
        for name in (*self.COUNTED, "first_rows"):
            _there(state, name)
        for name, total in sums.items():
            if _there(state, name).shape != total.shape:
                raise ValueError(f"state has {name} of shape {list(state[name].shape)}, wanted {list(total.shape)}")
        if len(state["first_rows"]) != 2:
            raise ValueError(f"state has first_rows = {state['first_rows']}, wanted two numbers")

    def _count(self, rows: RowTerms) -> None:
        """Rows that were added."""
        self.samples += len(rows)
        if rows.from_logits:
            self.first_rows.look(rows.values)


def _there(state: Mapping[str, Any], name: str) -> Any:
    if name not in state:
        raise ValueError(f"state has no {name}, wanted what state_dict() returned")
    return state[name]


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
