"""Scores less their bias, with their intervals."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from amgan_fast.metrics.accumulator import ScoreAccumulator
from amgan_fast.metrics.arrays import Array
from amgan_fast.metrics.bad_rows import refuse_bad_sums
from amgan_fast.metrics.distribution import DistributionLike, as_distribution
from amgan_fast.metrics.first_rows import without_score_warnings
from amgan_fast.metrics.modules.classifier_metric import PROBABILITIES, ClassifierMetric


class CorrectedScores(ClassifierMetric):
    """Inception Score and AM Score less their bias, with their 95% intervals, as :class:`ScoreAccumulator` has them.

    The state is that accumulator's: float64 sums of blocks of samples and, with ``strata``, of groups within strata,
    which add up over processes.

    Args:
        num_classes: K, the number of the classifier's classes.
        reference: of the AM Score, as for :class:`AMScore`; of an accumulator, also its own error is in the interval.
            None: there is no AM Score.
        feature: as for :class:`InceptionScore`; by default the metric is given logits.
        normalize: likewise.
        strata: as of :class:`ScoreAccumulator`: for a number of samples of each class, say, that was fixed
            beforehand, such as 50 images a class.
        shares: as of that.
        kwargs: of torchmetrics' ``Metric``.

    Raises:
        TypeError: ``feature`` is no module or name.
        ValueError: an argument out of its range, or ``dist_sync_on_step``.

    >>> import torch
    >>> from amgan_fast.metrics.modules import CorrectedScores
    >>> metric = CorrectedScores(num_classes=4, reference=[0.25] * 4, strata=4)
    >>> labels = torch.arange(200) % 4
    >>> logits = 3 * torch.eye(4)[labels] + torch.randn(200, 4, generator=torch.Generator().manual_seed(0))
    >>> metric.update(logits, strata=labels)
    >>> score = metric.compute()
    >>> [round(float(score[name]), 2) for name in ("inception_score", "inception_score_low", "inception_score_high")]
    [2.08, 1.98, 2.17]
    """

    higher_is_better = None
    count: Tensor
    first_rows: Tensor

    def __init__(
        self,
        num_classes: int,
        reference: DistributionLike | None = None,
        feature: nn.Module | str | int | None = None,
        normalize: bool = False,
        *,
        strata: int | None = None,
        shares: Sequence[float] | Tensor | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(feature, normalize, **kwargs)
        if self.dist_sync_on_step:
            raise ValueError("dist_sync_on_step is True, wanted False: a batch's own value is that of one process")
        if reference is not None:
            as_distribution(reference, num_classes)
        self.num_classes = num_classes
        self._reference = reference
        self._options: dict[str, Any] = {"strata": strata, "shares": shares}
        self._batch: Any = None  # logits of forward(), while it runs
        self._kept: ScoreAccumulator | None = None  # of the last update, whose sums the states are unless set otherwise
        for name, total in self._new_accumulator("cpu").state_dict().items():
            if isinstance(total, Tensor):
                self.add_state(name, total, dist_reduce_fx="sum")
        self.add_state("first_rows", torch.zeros(2, dtype=torch.float64), dist_reduce_fx="sum")

    def update(self, imgs: Array, strata: Array | None = None) -> None:
        """Add a batch.

        Args:
            imgs: as of :meth:`InceptionScore.update`.
            strata: [N], integers 0 to S-1, of each sample; wanted where the metric has strata, and only there.

        Raises:
            TypeError, ValueError: as of :meth:`InceptionScore.update` and :meth:`ScoreAccumulator.update`. Nothing of
                the batch is added then. On a GPU a bad row, or stratum, is found by :meth:`compute`.
        """
        accumulator = self._accumulator()
        accumulator.update(self._logits(imgs) if self._batch is None else self._batch, strata=strata)
        for name, total in accumulator._states().items():
            setattr(self, name, total)
        self.first_rows = accumulator.first_rows.counts_there()
        self._kept = accumulator

    def reset(self) -> None:
        """Forget all samples."""
        super().reset()
        self._kept = None

    def forward(self, imgs: Array, strata: Array | None = None) -> dict[str, Tensor]:
        """Add a batch as :meth:`update` does, and compute its own value.

        Raises:
            TypeError, ValueError: as :meth:`update` and :meth:`compute`. Nothing of the batch is added then.
        """
        logits = self._logits(imgs)
        batch = self._new_accumulator(self.count.device)
        batch.update(logits, strata=strata)
        values = self._values(batch)
        self._batch = logits
        try:
            self.update(imgs, strata)
        finally:
            self._batch = None
        self._forward_cache: Any = values
        return values

    def compute(self) -> dict[str, Tensor]:
        """[] each, float64: ``inception_score`` and, with a reference, ``am_score``, less their bias; and the limits of
        their 95% intervals, ``inception_score_low``, ``inception_score_high`` and so on, NaN where there is none.

        Warns:
            ScoreWarning: logits that seem to be probabilities.

        Raises:
            ValueError: as of :meth:`ScoreAccumulator.compute`.
        """
        accumulator = self._accumulator()
        values = self._values(accumulator)
        accumulator.first_rows.warn(PROBABILITIES)
        return values

    def _values(self, accumulator: ScoreAccumulator) -> dict[str, Tensor]:
        with without_score_warnings():
            scores = accumulator.compute(self._reference)
        values: dict[str, float] = {}
        for name in ("inception_score", "am_score"):
            if (corrected := getattr(scores, f"{name}_corrected")) is not None:
                low, high = getattr(scores, f"{name}_ci95") or (math.nan, math.nan)
                values |= {name: corrected, f"{name}_low": low, f"{name}_high": high}
        device = self.count.device
        return {name: torch.tensor(value, dtype=torch.float64, device=device) for name, value in values.items()}

    def _new_accumulator(self, device: torch.device | str) -> ScoreAccumulator:
        return ScoreAccumulator(self.num_classes, device=device, **self._options)

    def _accumulator(self) -> ScoreAccumulator:
        """Of the samples so far: that of the last update, or where the states are others by now (of all processes, or
        of a file) one that is made of them, which waits for a GPU."""
        if self._kept is not None:
            if all(getattr(self, name) is total for name, total in self._kept._states().items()):
                return self._kept
            self._kept._refuse_late()
        accumulator = self._new_accumulator(self.count.device)
        sums = {name: getattr(self, name) for name in self._defaults}
        refuse_bad_sums(sums["entropy"])
        numbers = {"samples": int(self.count.sum()), "first_rows": self.first_rows.long().tolist()}
        accumulator.load_state_dict(accumulator.state_dict() | sums | numbers)
        return accumulator
