"""What :class:`amgan_fast.metrics.ScoreAccumulator` computes."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any, Literal

from amgan_fast.errors import counted
from amgan_fast.metrics.distribution import distribution_sha256
from amgan_fast.metrics.estimate import Estimate
from amgan_fast.metrics.first_rows import PROBABILITIES_FOR_LOGITS
from amgan_fast.metrics.numbers import Numbers
from amgan_fast.metrics.score_names import score_lines
from amgan_fast.metrics.statistics import largest_dispersion_by_chance

_PER_CLASS = 5  # samples: what the corrections were measured with (docs/metrics.md)
_PER_STRATUM = 3


@dataclass(frozen=True, kw_only=True, repr=False)
class Scores(Numbers):
    """Scores of N samples under a classifier: p(x) its class distribution on sample x, m = mean_x p(x). Nats.

    H(p) = -sum_k p_k log p_k, H(p, q) = -sum_k p_k log q_k, KL(p, q) = H(p, q) - H(p).

    Sources: Salimans et al., arXiv 1606.03498 [IG]; Zhou et al., arXiv 1703.02000 [AM] and arXiv 1708.01729 [LS].

    Plain scores are of the samples there are. Corrected ones are less what a finite N adds to them to second order
    (:mod:`amgan_fast.metrics.statistics`), and the intervals are of those: with 95% probability they cover the score
    of infinitely many samples. Fields that need a reference are None without one.

    >>> import torch
    >>> from amgan_fast.metrics import scores
    >>> logits = 4 * torch.randn(2000, 10, generator=torch.Generator().manual_seed(0))
    >>> print(scores(logits, reference=[0.1] * 10))
    Scores of 2000 samples, 10 classes, 10 splits (round robin)
      AM Score (lower is better)              0.6909
        KL(reference, mean)                   0.0020
        mean entropy                          0.6889
        corrected for its bias                0.6895
        95% interval of that              0.6691 to 0.7106
      Inception Score (higher is better)      5.0115
        entropy of the mean                   2.3006
        corrected for its bias                5.0184
        95% interval of that              4.9139 to 5.1220
        over splits, mean ± their spread  4.9503 ± 0.1987
      Mode Score                              5.0115
      AM Score of 2017 (higher is better)     4.2788
    """

    n: int
    """The number of samples N, without those left out."""
    num_classes: int
    """The number of classes K."""
    inception_score: float
    """exp(H(m) - mean_x H(p(x))) over the whole set ([IG] section 4); 1 to K, higher is better. Of few
    samples it is too low on average."""
    inception_score_corrected: float
    """The same less its bias, in the exponent + sum_k V_k / (2 m_k) + (M_k / 3 - V_k^2 / (4 m_k)) / m_k^2 with V and M
    the second and third central moments of m as an estimate; at most K (:attr:`unlimited`)."""
    inception_score_ci95: tuple[float, float] | None
    """The 95% interval of the corrected score, within 1 to K: from groups of samples that are left out in turn
    (:mod:`amgan_fast.metrics.designs`). None with fewer than two groups."""
    entropy_of_mean: float
    """H(m): log K when the classes are balanced."""
    mean_entropy: float
    """mean_x H(p(x)): 0 when the classifier is certain of every sample."""
    mean_entropy_ci95: tuple[float, float] | None
    """Its 95% interval. None as above."""
    estimates: dict[str, Estimate] = field(repr=False)
    """With standard errors, for differences of models: ``log_inception_score``, ``entropy_of_mean``, ``mean_entropy``,
    and with a reference ``kl_reference`` and ``am_score``, all less their bias, and neither limited to what is possible
    nor on the scale that the intervals are taken on."""
    unlimited: dict[str, float]
    """Corrected scores that chance has taken beyond what is possible, as they were before they were set to the limit:
    an Inception Score above K, an AM Score below the mean entropy."""
    mode_score: float | None = None
    """exp(mean_x KL(p(x), reference) - KL(m, reference)) ([LS] equation 2), the Inception Score by [LS] Lemma 1.
    NaN where the reference lacks a class that samples have."""
    kl_reference: float | None = None
    """KL(reference, m): 0 when the classes are as frequent as in the reference. Infinite where the reference has a
    class that every sample gives probability exactly 0."""
    am_score: float | None = None
    """kl_reference + mean_entropy ([AM] section 6.4); lower is better, at least 0. Of few samples it is too high
    on average."""
    am_score_corrected: float | None = None
    """The same less its bias: - sum_k reference_k (V_k / (2 m_k^2) + (2 M_k / 3 - 3 V_k^2 / (4 m_k)) / m_k^3); of a
    reference that is a sample itself also - sum_k (variance of reference_k) / (2 reference_k). At least the mean
    entropy (:attr:`unlimited`)."""
    am_score_ci95: tuple[float, float] | None = None
    """The 95% interval of the corrected score, not below that of the mean entropy; with the error of the reference
    where that is known. None as above, and where leaving out a block makes the score infinite."""
    balanced_by_design: bool = False
    """The mean distribution is closer to the reference than chance allows for samples drawn like these."""
    reference_error: float | None = None
    """Standard error of the AM Score by the reference's own sampling; None: the reference is taken as exact."""
    reference_bias: float = 0.0
    """What the reference's own sampling adds to KL on average, which is taken off the corrected AM Score."""
    am_score_2017: float | None = None
    """mean_x H(reference, p(x)) - H(reference, m) ([LS] equation 5): another score, and higher is better. Infinite
    where a sample gives a class of the reference probability exactly 0, NaN where every one does."""
    split_mean: float | None
    """Mean of the Inception Scores of the splits; None while a split is incomplete."""
    split_std: float | None
    """Their standard deviation (ddof 0): the spread over splits, not the error of their mean. None as above."""
    splits: int
    """The number of splits."""
    split_dispersion: float | None
    """How many times as much as in random order the class distributions of the splits differ: Pearson's chi-square of
    splits and classes over its degrees of freedom, sum_sk N_s (m_sk - m_k)^2 / m_k over (S - 1) N / (N - 1) sum_k
    Var(p_k) / m_k. About 1 in random order, N / (S - 1) where each split holds one class. None for a single split,
    while one is incomplete, or where all samples are alike."""
    splits_rule: str
    """``"round robin"`` (sample i in split i mod splits), ``"round robin in strata"`` (sample j of stratum h in split
    (h + j) mod splits) or ``"contiguous"`` (split s starts at floor(s*N/splits))."""
    sampling: Literal["random", "per-class"] = "random"
    """How samples were drawn: independently of each other, or a fixed number from each stratum (class, mostly)."""
    strata: int | None = None
    """Strata that hold samples; None: samples were drawn at random."""
    smallest_stratum: int | None = None
    """Samples of the smallest."""
    blocks: int
    """The number of groups of samples that errors rest on: blocks of all of them, or groups within the strata."""
    block_dispersion: float | None
    """The same of the blocks; None for strata, where the order does not matter. Where it is large, the intervals are
    too wide. Where it is well below 1, as for samples sorted by class, they are those of samples with just these
    labels, not with labels drawn at random."""
    non_finite_rows: int
    """Rows that give no distribution and were left out."""
    class_distribution: tuple[float, ...]
    """m itself, K numbers: what another set's AM Score takes as reference."""
    reference: tuple[float, ...] | None = None
    """What was compared with, K probabilities."""

    probability_like: bool = False
    """What was given for logits is within [0, 1] and sums to 1, as probabilities do, in every one of the first rows (up
    to 64)."""

    @property
    def reference_sha256(self) -> str | None:
        """The name of :attr:`reference`: SHA-256 of its K numbers as float32, little-endian."""
        return None if self.reference is None else distribution_sha256(self.reference)

    @property
    def few_samples(self) -> bool:
        """Whether what the corrected scores and the intervals say is not to be trusted: fewer than 5 samples for each
        of the K classes, or fewer than 3 of a stratum where strata are as many as the classes."""
        if self.strata is not None and self.strata >= self.num_classes:
            return self.smallest_stratum is not None and self.smallest_stratum < _PER_STRATUM
        return self.n < _PER_CLASS * self.num_classes

    @property
    def warnings(self) -> tuple[str, ...]:
        """What makes the scores doubtful: an order of the samples that chance does not explain, too few of them, or
        probabilities in the place of logits."""
        inputs = PROBABILITIES_FOR_LOGITS if self.probability_like else None
        found = (inputs, self.order_warning, self._few_samples_warning, self._design_warning)
        return tuple(text for text in found if text is not None)

    @property
    def order_warning(self) -> str | None:
        """What the dispersions tell of the order of the samples, where chance does not explain it; else None."""
        found = [
            f"{sets} differ {dispersion:,.0f} times as much as by chance, {harm}"
            for sets, count, dispersion, harm in (
                ("splits", self.splits, self.split_dispersion, "their scores are void"),
                ("blocks", self.blocks, self.block_dispersion, "intervals are too wide"),
            )
            if dispersion is not None and dispersion > largest_dispersion_by_chance(count)
        ]
        return f"samples come in an order of classes: {'; '.join(found)}; shuffle them" if found else None

    def to_dict(self) -> dict[str, Any]:
        """Plain values, and the warnings; None is also what is infinite or undefined, for which JSON has no number."""
        return super().to_dict() | {"warnings": list(self.warnings)}

    def to_json(self) -> str:
        """:meth:`to_dict` as one JSON object."""
        return json.dumps(self.to_dict(), allow_nan=False)

    @property
    def _design_warning(self) -> str | None:
        if not self.balanced_by_design or self.sampling != "random" or self.few_samples:
            return None
        return (
            "classes are closer to the reference than those of samples drawn at random: the reference is of these very "
            "samples, or numbers of samples per class were fixed, and without strata (labels, --sampling per-class) "
            "corrected scores and intervals are wrong"
        )

    @property
    def _few_samples_warning(self) -> str | None:
        if not self.few_samples:
            return None
        if self.strata is not None and self.strata >= self.num_classes:
            return (
                f"the smallest of {self.strata:,} strata has {counted(self.smallest_stratum or 0, 'sample')}: below "
                f"{_PER_STRATUM} corrected scores and intervals are not to be trusted"
            )
        return (
            f"{self.n:,} samples of {self.num_classes:,} classes: below {_PER_CLASS} samples a class "
            f"({_PER_CLASS * self.num_classes:,}) corrected scores and intervals are not to be trusted"
        )

    def __str__(self) -> str:
        left_out = f", {self.non_finite_rows} rows left out" if self.non_finite_rows else ""
        splits = f"{counted(self.splits, 'split')} ({self.splits_rule})"
        strata = "" if self.strata is None else f", {self.strata:,} strata"
        lines = [f"Scores of {self.n} samples, {self.num_classes} classes{strata}, {splits}{left_out}"]
        lines += [f"  {name:<36}{text:>10}" for name, (text,) in score_lines([self])]
        lines += [f"  Warning: {text}" for text in self.warnings]
        return "\n".join(lines)
