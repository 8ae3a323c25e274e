"""Sums of samples by the stratum that each was drawn from."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor

from amgan_fast.metrics.add_rows import add_rows
from amgan_fast.metrics.arrays import Array
from amgan_fast.metrics.bad_rows import refuse_bad_sums
from amgan_fast.metrics.designs import StratifiedDesign, StratumGroups
from amgan_fast.metrics.late_checks import LateLabels
from amgan_fast.metrics.row_accumulator import Accumulator
from amgan_fast.metrics.row_terms import RowTerms
from amgan_fast.ops import ScoreSums

_DEGREES_OF_FREEDOM = 100  # that errors rest on at the least, all strata together


class StratumSums(Accumulator):
    """Collects a classifier's outputs batch by batch, those of each stratum apart.

    A stratum is a group, mostly the class that was asked for, of which a number of samples was fixed beforehand: 50
    images a class, say. Scores then vary less from set to set than those of samples whose class was drawn at random,
    and their bias is another: :class:`amgan_fast.metrics.designs.StratifiedDesign`.

    Sample j of stratum h is in group j mod G, G = max(2, ceil(100 / S) + 1). The state is 2 S G K + S K and 3 K
    ``splits`` numbers: 20 kB for 10 classes, 40 MB for 1,000. Splits are filled in turn by each stratum, whatever the
    order.

    Args:
        num_classes: K, the number of the classifier's classes, at least 2.
        strata: S, at least 1.
        splits: of the Inception Score in the form in which it is published.
        turns: [S], samples of each stratum that others take before the first one here; None: none.
        device: where the sums are kept; None: where the first rows are.

    Raises:
        ValueError: an argument out of its range.

    >>> import torch
    >>> from amgan_fast.metrics import StratumSums
    >>> labels = torch.arange(60) % 3
    >>> sums = StratumSums(3, strata=3)
    >>> sums.update(20.0 * torch.eye(3)[labels], labels)
    >>> sums.counts.tolist()
    [20, 20, 20]
    """

    SETTINGS: ClassVar[tuple[str, ...]] = ("num_classes", "strata", "groups", "splits")

    sums: StratumGroups

    def __init__(
        self,
        num_classes: int,
        strata: int,
        *,
        splits: int = 10,
        turns: Tensor | None = None,
        device: torch.device | str | None = None,
    ) -> None:
        super().__init__(num_classes, device)
        if strata < 1:
            raise ValueError(f"strata is {strata}, wanted at least 1")
        self.strata = strata
        self.groups = groups_of(strata)
        self.splits = splits
        if turns is not None and turns.shape != (strata,):
            raise ValueError(f"turns are {list(turns.shape)}, wanted [{strata}], one for each stratum")
        self._turns = torch.zeros(strata, dtype=torch.int64) if turns is None else turns.long()
        self._begin(device)

    def _begin(self, device: torch.device | str | None) -> None:
        super()._begin(device)
        sets, num_classes = (self.groups, self.strata), self.num_classes
        shapes = (sets, sets, (*sets, num_classes), (*sets, num_classes), (self.strata, num_classes))
        self.sums = StratumGroups(*(torch.zeros(shape, dtype=torch.float64, device=device) for shape in shapes))
        self._in_splits = ScoreSums.zeros(self.splits, num_classes=num_classes, device=device)
        self._turns = self._turns.to(self.sums.count.device)
        self._late_strata = LateLabels(self.strata, "strata", device)
        self._late.append(self._late_strata)

    def update(self, values: Array, strata: Array, *, from_logits: bool = True) -> None:
        """Add a batch.

        Args:
            values: [N, K], as :meth:`ScoreAccumulator.update` takes them.
            strata: [N], integers 0 to S-1.
            from_logits: as of :meth:`ScoreAccumulator.update`.

        Raises:
            TypeError: no tensors or arrays, or a dtype that does not do.
            ValueError: a wrong shape, a stratum out of range, or a row that gives no distribution. Nothing of the batch
                is added then. On a GPU such a stratum or row is found when the sums are read.
        """
        self.add(RowTerms(values, self.num_classes, from_logits=from_logits), strata)

    def add(self, rows: RowTerms, strata: Array) -> None:
        """Add a batch that others may be handed too: as :meth:`update`."""
        self._follow(rows)
        of_row = self._late_strata.take(strata, len(rows), self.samples, rows.values.device)
        rows.refuse_bad(self.samples)
        if not len(rows):
            return
        of_row = of_row.to(self.sums.count.device)
        turn = self._take_turns(of_row)
        sets = turn % self.groups * self.strata + of_row
        splits = (turn + of_row) % self.splits
        for place, row in rows.each_row():
            for name in ("count", "entropy", "prob", "prob_sq"):
                add_rows(getattr(self.sums, name).flatten(0, 1), sets[place], getattr(row, name))
            add_rows(self.sums.log_prob, of_row[place], row.log_prob)
            for total, part in zip(self._in_splits, row, strict=True):
                add_rows(total, splits[place], part)
        self._count(rows)

    @property
    def counts(self) -> Tensor:
        """[S], int64, on the CPU: samples of each stratum."""
        return self.sums.count.sum(0).long().cpu()

    def design(self, shares: Tensor | None = None) -> StratifiedDesign:
        """What scores are computed from.

        Args:
            shares: as of :class:`StratifiedDesign`.

        Raises:
            ValueError: as of that, a row that gave no distribution, or a stratum on a GPU that was out of range.
        """
        self._refuse_late()
        refuse_bad_sums(self.sums.entropy)
        return StratifiedDesign(StratumGroups(*(x.cpu() for x in self.sums)), shares)

    def in_splits(self) -> ScoreSums | None:
        """[splits, ...], on the CPU; None while one has no sample."""
        splits = self._in_splits.map(Tensor.cpu)
        return splits if splits.count.all() else None

    def _states(self) -> dict[str, Tensor]:
        splits = {f"splits_{name}": total for name, total in self._in_splits._asdict().items()}
        return self.sums._asdict() | splits

    def _take_turns(self, of_row: Tensor) -> Tensor:
        """[N]: how many samples of its stratum came before each."""
        order = of_row.argsort(stable=True)
        counts = torch.zeros_like(self._turns).index_add_(0, of_row, torch.ones_like(of_row))  # a GPU's bincount waits
        first = counts.cumsum(0) - counts
        turn = torch.empty_like(of_row)
        turn[order] = torch.arange(len(of_row), device=of_row.device) - first[of_row[order]]
        return turn + (self._turns + self.sums.count.sum(0).long())[of_row]


def groups_of(strata: int) -> int:
    """G, so many groups a stratum that errors have about a hundred degrees of freedom."""
    return max(2, math.ceil(_DEGREES_OF_FREEDOM / strata) + 1)


def as_shares(shares: Sequence[float] | Tensor, strata: int) -> Tensor:
    """[S], float64: the part of the population that each stratum is.

    Raises:
        TypeError: they are no numbers.
        ValueError: they are no distribution over so many strata.
    """
    try:
        vector = torch.as_tensor(shares, dtype=torch.float64, device="cpu")
    except (TypeError, ValueError, RuntimeError):  # PyTorch names the type of an element that is no number
        raise TypeError(f"shares are a {type(shares).__name__}, wanted {strata} numbers") from None
    if vector.shape != (strata,):
        raise ValueError(f"shares are {list(vector.shape)}, wanted [{strata}], one for each stratum")
    if not (vector >= 0).all() or abs(float(vector.sum()) - 1) > 1e-5:
        found = f"shares sum to {float(vector.sum()):.6g}, their least is {float(vector.min()):.6g}"
        raise ValueError(f"{found}; wanted numbers that are not negative and sum to 1")
    return vector / vector.sum()
