"""How often each class is the likeliest one."""

from __future__ import annotations

import torch
from torch import Tensor

from amgan_fast.metrics.arrays import Array
from amgan_fast.metrics.row_accumulator import RowAccumulator
from amgan_fast.metrics.row_terms import RowTerms
from amgan_fast.metrics.sampling import Sampling


class ClassCounts(RowAccumulator):
    """Counts likeliest classes batch by batch; the state is K numbers, or S K with strata.

    Args:
        num_classes: the number of classes K, at least 2.
        strata: S, the number of groups of which as many samples were drawn as was fixed beforehand, such as the classes
            asked for; None: samples were drawn at random.
        device: where counts are kept; None: where the first rows are.

    Raises:
        ValueError: an argument out of its range.

    >>> import torch
    >>> from amgan_fast.metrics.class_counts import ClassCounts
    >>> counts = ClassCounts(3, strata=2)
    >>> counts.update(torch.eye(3), strata=torch.tensor([0, 0, 1]))
    >>> counts.table().tolist(), counts.table("random").tolist()
    ([[1, 1, 0], [0, 0, 1]], [1, 1, 1])
    """

    SETTINGS = ("num_classes", "strata")

    def __init__(
        self, num_classes: int, *, strata: int | None = None, device: torch.device | str | None = None
    ) -> None:
        super().__init__(num_classes, device)
        if strata is not None and strata < 1:
            raise ValueError(f"strata is {strata}, wanted at least 1")
        self.strata = strata
        self._begin(device)

    def _begin(self, device: torch.device | str | None) -> None:
        super()._begin(device)
        self._counts = torch.zeros(self.strata or 1, self.num_classes, dtype=torch.float64, device=device)

    def update(self, logits: Array, *, from_logits: bool = True, strata: Array | None = None) -> None:
        """Add a batch.

        Args:
            logits: [N, K], as :meth:`amgan_fast.metrics.ScoreAccumulator.update` takes them.
            from_logits: False: they are probabilities.
            strata: [N], integers 0 to S-1, of each row; wanted where there are strata, and only there.

        Raises:
            TypeError: no tensor or array, or a dtype that is not floating point, or of ``strata`` no integer.
            ValueError: a wrong shape, a stratum out of range, or a row that gives no distribution. Nothing of the batch
                is added then. A stratum on a GPU that is out of range is found by :meth:`table`.
        """
        self.add(RowTerms(logits, self.num_classes, from_logits=from_logits), strata)

    def add(self, rows: RowTerms, strata: Array | None = None) -> None:
        """Add a batch that others may be handed too: as :meth:`update`. Rows on a GPU are not looked at: that none is
        bad is for others to find."""
        self._follow(rows)
        of_row = self._strata_of(strata, rows)
        rows.refuse_bad(self.samples)
        counts = rows.class_counts
        if of_row is not None:
            cell = of_row * self.num_classes + rows.likeliest
            ones = torch.ones(len(rows), dtype=torch.float64, device=cell.device)
            counts = torch.zeros_like(self._counts.view(-1), device=cell.device).index_add_(0, cell, ones)
        self._counts += counts.view_as(self._counts).to(self._counts.device)
        self._count(rows)

    def table(self, sampling: Sampling | None = None) -> Tensor:
        """int64, on the CPU: [S, K], a row for each stratum, or [K] without strata.

        Args:
            sampling: ``random``: as if there were no strata.

        Raises:
            ValueError: a stratum on a GPU was out of range.
        """
        self._refuse_late()
        counts = self._counts.long().cpu()
        return counts.sum(0) if self.strata is None or sampling == "random" else counts

    def _states(self) -> dict[str, Tensor]:
        return {"counts": self._counts}
