"""Plain scores: Inception Score as torchmetrics has it, and the AM Score."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from typing import Any, NamedTuple

from torch import Tensor, nn
from torchmetrics import Metric

from amgan_fast.metrics import statistics
from amgan_fast.metrics.arrays import Array
from amgan_fast.metrics.bad_rows import refuse_bad_sums
from amgan_fast.metrics.distribution import DistributionLike, as_distribution
from amgan_fast.metrics.first_rows import FirstRows, ScoreWarning
from amgan_fast.metrics.modules.classifier_metric import PROBABILITIES, ClassifierMetric
from amgan_fast.metrics.moments import RandomSample
from amgan_fast.metrics.row_accumulator import check_num_classes
from amgan_fast.metrics.row_terms import RowTerms
from amgan_fast.ops import ScoreSums


class _Batch(NamedTuple):
    logits: Tensor
    sums: ScoreSums
    turn: int
    """The block of its first row."""


class _ScoreMetric(ClassifierMetric):
    """Keeps :class:`amgan_fast.ops.ScoreSums` of ``blocks`` blocks, float64, filled in turn."""

    count: Tensor
    entropy: Tensor
    prob: Tensor
    prob_sq: Tensor
    log_prob: Tensor

    def __init__(
        self,
        blocks: int,
        num_classes: int | None,
        feature: nn.Module | str | int | None,
        normalize: bool,
        **kwargs: Any,
    ) -> None:
        super().__init__(feature, normalize, **kwargs)
        if num_classes is not None:
            check_num_classes(num_classes)
        # One column of zeros, which broadcasts, until the first batch tells the number of classes.
        for name, zeros in ScoreSums.zeros(blocks, num_classes=num_classes or 1)._asdict().items():
            self.add_state(name, zeros, dist_reduce_fx="sum")
        # Which block is next: what the states count, modulo the blocks. No state itself: on a GPU every update would
        # have to wait for it.
        self._next = 0
        self._batch: _Batch | None = None  # of forward(), while it runs
        self._first_rows: FirstRows | None = None

    def update(self, imgs: Array) -> None:
        """Add a batch.

        Args:
            imgs: what ``feature`` takes; with ``normalize`` floats in [0, 1]; without a feature logits, [N, K],
                float32, float64, bfloat16 or float16.

        Raises:
            TypeError: logits, or with ``normalize`` images, of a dtype that is not floating point.
            ValueError: images outside of [0, 1] with ``normalize``; logits of a wrong shape, or a row that gives no
                distribution (NaN, +inf, or -inf throughout). Nothing of the batch is added then. On a GPU such a row
                is found by :meth:`compute`.
        """
        logits, sums, _ = self._batch or self._summed(imgs)
        for name, part in zip(sums._fields, sums, strict=True):
            total = getattr(self, name)
            setattr(self, name, total + part.to(total.device))
        if self._first_rows is None:
            self._first_rows = FirstRows(logits.device)
        self._first_rows.look(logits)
        self._next = (self._next + len(logits)) % len(self.count)

    def forward(self, imgs: Array) -> Any:
        """Add a batch as :meth:`update` does, and compute its own value.

        Raises:
            TypeError, ValueError: as :meth:`update` and :meth:`compute`; the samples before it are still there then.
        """
        # Looked at first: what fails within torchmetrics' forward() finds the states reset, and leaves them so.
        batch = self._summed(imgs)
        if not len(batch.logits):
            raise ValueError("no samples in the batch, wanted at least one to compute its value")
        refuse_bad_sums(batch.sums.entropy)
        self._batch = batch
        try:
            return super().forward(imgs)
        finally:
            self._batch = None

    def reset(self) -> None:
        """Forget all samples."""
        super().reset()
        if self._batch is not None:  # forward() resets for the batch, which takes its turn all the same
            self._next = self._batch.turn
        else:
            self._next, self._first_rows = 0, None

    def merge_state(self, incoming_state: dict[str, Any] | Metric) -> None:
        """Add the samples of another metric, or of its states."""
        super().merge_state(incoming_state)
        self._follow_states()

    def _load_from_state_dict(self, state_dict: dict, prefix: str, *args: Any) -> None:
        """Refuses, as PyTorch does for parameters, states of other shapes, which torchmetrics takes as they are."""
        *_, errors = args
        for name, default in self._defaults.items():
            found = state_dict.get(prefix + name)
            if isinstance(default, Tensor) and found is not None and not _fits(found, default):
                wanted = list(default.shape)
                errors.append(f"size mismatch for {prefix}{name}: it is {list(found.shape)}, wanted {wanted} as here")
        if not errors:
            super()._load_from_state_dict(state_dict, prefix, *args)
            self._follow_states()

    def _follow_states(self) -> None:
        self._next = int(self.count.sum()) % len(self.count)
        self._computed = None  # what torchmetrics keeps of compute() is of other samples

    def _summed(self, imgs: Array) -> _Batch:
        classes = self.prob.size(1)
        rows = RowTerms(self._logits(imgs), classes if classes > 1 else None)
        sums = rows.block_sums(len(self.count), self._next)
        rows.refuse_bad(self.count.sum(), sums.entropy)
        return _Batch(rows.values, sums, self._next)

    def _sums(self) -> ScoreSums:
        """Of the blocks that hold samples."""
        used = self.count > 0
        sums = ScoreSums(*(getattr(self, name)[used] for name in ScoreSums._fields))
        if not len(sums.count):
            raise ValueError("no samples, wanted at least one update before compute")
        refuse_bad_sums(sums.entropy)
        if self._first_rows is not None:
            self._first_rows.warn(PROBABILITIES, stacklevel=3)
        return sums


class InceptionScore(_ScoreMetric):
    """Inception Score (Salimans et al., arXiv 1606.03498, section 4): in the place of torchmetrics' own.

        from amgan_fast.metrics.modules import InceptionScore  # was: from torchmetrics.image import InceptionScore

    Everything else stays as it is: arguments, errors, ``.inception``, results; but for the warning of the memory that
    torchmetrics' takes. It keeps 3K+2 float64 sums for each split where torchmetrics keeps the logits of all samples,
    and fills the splits in turn (sample i in split i mod splits; in several processes, each its own samples) where
    torchmetrics shuffles. Scores are float64. For torchmetrics' very number see
    :func:`amgan_fast.metrics.inception_score`.

    Args:
        feature: the classifier: a module that takes the images and returns logits, [N, K]; it runs without gradient
            and in evaluation mode. A name: torchmetrics' Inception network, which torch-fidelity fetches from the
            internet once. None: the metric is given logits.
        splits: the number of splits.
        normalize: images are floats in [0, 1], and ``feature`` wants bytes.
        num_classes: K. None: the first batch tells; a process without any cannot take part in a sum over processes.
        kwargs: of torchmetrics.Metric.

    Raises:
        TypeError: ``feature`` is no module or name.
        ValueError: ``splits`` below 1, ``num_classes`` below 2, a ``normalize`` that is no bool, or a name that
            torchmetrics does not know.
        ModuleNotFoundError: a name, without torch-fidelity.
    """

    higher_is_better = True
    plot_lower_bound = 1.0

    def __init__(
        self,
        feature: nn.Module | str | int | None = "logits_unbiased",
        splits: int = 10,
        normalize: bool = False,
        *,
        num_classes: int | None = None,
        **kwargs: Any,
    ) -> None:
        if splits < 1:
            raise ValueError(f"splits is {splits}, wanted at least 1")
        self.splits = splits
        super().__init__(splits, num_classes, feature, normalize, **kwargs)

    def compute(self) -> tuple[Tensor, Tensor]:
        """Mean and standard deviation (ddof 1, as in torchmetrics) over the splits that hold samples.

        Returns:
            [] and [], float64. The deviation of a single split is NaN.

        Raises:
            ValueError: no sample yet, or a row that gives no distribution.

        Warns:
            ScoreWarning: the classes of the splits differ by more than chance explains. Labels that take turns (0, 1,
                ... 9, 0, ...) put one class into each of ten splits, whose scores are then 1.
        """
        sums = self._sums()
        _warn_of_order(sums)
        scores = statistics.log_inception_score(RandomSample(sums)).exp()
        std = scores.std() if len(scores) > 1 else scores.new_tensor(math.nan)
        return scores.mean(), std

    def plot(self, val: Tensor | Sequence[Tensor] | None = None, ax: Any = None) -> Any:
        """As for every metric here; of what :meth:`compute` gives, the mean is drawn."""
        return self._plot(self.compute()[0] if val is None else val, ax)


class AMScore(_ScoreMetric):
    """AM Score, KL(reference, mean p) + mean H(p) (Zhou et al., arXiv 1703.02000, section 6.4), of the whole set.

    Args:
        reference: the mean class distribution of the training set: K probabilities, or the Scores or the accumulator
            of the training set.
        feature: as for :class:`InceptionScore`; by default the metric is given logits.
        normalize: likewise.
        kwargs: of torchmetrics' ``Metric``.

    Raises:
        TypeError: ``feature`` is no module or name.
        ValueError: ``reference`` is no distribution over at least 2 classes.
    """

    higher_is_better = False
    plot_lower_bound = 0.0

    def __init__(
        self,
        reference: DistributionLike,
        feature: nn.Module | str | int | None = None,
        normalize: bool = False,
        **kwargs: Any,
    ) -> None:
        vector = as_distribution(reference)
        super().__init__(1, len(vector), feature, normalize, **kwargs)
        # No buffer: half() of a model that holds the metric would round it.
        self._reference = vector

    def compute(self) -> Tensor:
        """[], float64: the score in nats; lower is better, at least 0.

        Raises:
            ValueError: no sample yet, or a row that gives no distribution.
        """
        sums = self._sums()
        return statistics.am_score(self._reference.to(sums.prob.device), RandomSample(sums)).squeeze(0)


def _warn_of_order(splits: ScoreSums) -> None:
    """Warns the caller of the metric's compute(), which torchmetrics wraps."""
    found = statistics.dispersion(splits.map(Tensor.cpu))
    if found is not None and found > statistics.largest_dispersion_by_chance(len(splits.count)):
        text = (
            f"samples come in an order of classes: splits differ {found:,.0f} times as much as by chance, their scores "
        )
        warnings.warn(text + "are void; shuffle them", ScoreWarning, stacklevel=4)


def _fits(state: Tensor, default: Tensor) -> bool:
    """Whether a saved state is one of as many blocks, and classes where their number is known."""
    return state.shape == default.shape or (
        default.ndim == state.ndim == 2 and default.size(1) == 1 and len(state) == len(default)
    )
