"""What :class:`amgan_fast.metrics.ScoreAccumulator` computes."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from amgan_fast.errors import counted
from amgan_fast.metrics.first_rows import PROBABILITIES_FOR_LOGITS
from amgan_fast.metrics.numbers import Numbers
from amgan_fast.metrics.score_names import score_lines
from amgan_fast.metrics.statistics import largest_dispersion_by_chance

_PER_CLASS = 5  # samples: what the corrections were measured with (docs/metrics.md)


@dataclass(frozen=True, kw_only=True, repr=False)
class Scores(Numbers):
    """Scores of N samples under a classifier: p(x) its class distribution on sample x, m = mean_x p(x). Nats.

    H(p) = -sum_k p_k log p_k, H(p, q) = -sum_k p_k log q_k, KL(p, q) = H(p, q) - H(p). mu2_k and mu3_k are the central
    moments of p_k over the samples, the third that of a Beta distribution with the first two.

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
        corrected for its bias                0.6895
        95% interval                      0.6688 to 0.7103
        KL(reference, mean)                   0.0020
        mean entropy                          0.6889
      Inception Score (higher is better)      5.0115
        corrected for its bias                5.0184
        95% interval                      4.9154 to 5.1236
        entropy of the mean                   2.3006
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
    """The same less its bias: in the exponent + sum_k mu2_k / (2 N m_k) + (mu3_k / 3 - mu2_k^2 / (4 m_k)) / (N m_k)^2.
    """
    inception_score_ci95: tuple[float, float] | None
    """Its 95% interval: exp(log corrected score +- t error), error^2 = (B - 1) / B sum_b (log score without block b -
    their mean)^2 over the B :attr:`blocks`, t the 97.5% quantile of B - 1 degrees of freedom. None with fewer than two
    blocks."""
    entropy_of_mean: float
    """H(m): log K when the classes are balanced."""
    mean_entropy: float
    """mean_x H(p(x)): 0 when the classifier is certain of every sample."""
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
    """The same less its bias: - sum_k reference_k (mu2_k / (2 N m_k^2) + (2 mu3_k / 3 - 3 mu2_k^2 / (4 m_k)) / (N^2
    m_k^3))."""
    am_score_ci95: tuple[float, float] | None = None
    """Its 95% interval, corrected score +- t error as above; None also where leaving out a block makes it infinite."""
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
    """``"round robin"`` (sample i in split i mod splits) or ``"contiguous"`` (split s starts at floor(s*N/splits))."""
    blocks: int
    """The number of blocks that hold samples."""
    block_dispersion: float | None
    """The same of the blocks. Where it is large, the intervals are too wide. Where it is well below 1, as for samples
    sorted by class, they are those of samples with just these labels, not with labels drawn at random."""
    non_finite_rows: int
    """Rows that give no distribution and were left out."""
    class_distribution: tuple[float, ...]
    """m itself, K numbers: what another set's AM Score takes as reference."""

    probability_like: bool = False
    """What was given for logits is within [0, 1] and sums to 1, as probabilities do, in every one of the first rows (up
    to 64)."""

    @property
    def few_samples(self) -> bool:
        """Whether there are fewer than 5 samples for each of the K classes: what the corrected scores and the intervals
        say is then not to be trusted."""
        return self.n < _PER_CLASS * self.num_classes

    @property
    def warnings(self) -> tuple[str, ...]:
        """What makes the scores doubtful: an order of the samples that chance does not explain, too few of them, or
        probabilities in the place of logits."""
        inputs = PROBABILITIES_FOR_LOGITS if self.probability_like else None
        return tuple(text for text in (inputs, self.order_warning, self._few_samples_warning) if text is not None)

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
    def _few_samples_warning(self) -> str | None:
        if not self.few_samples:
            return None
        return (
            f"{self.n:,} samples of {self.num_classes:,} classes: below {_PER_CLASS} samples a class "
            f"({_PER_CLASS * self.num_classes:,}) corrected scores and intervals are not to be trusted"
        )

    def __str__(self) -> str:
        left_out = f", {self.non_finite_rows} rows left out" if self.non_finite_rows else ""
        splits = f"{counted(self.splits, 'split')} ({self.splits_rule})"
        lines = [f"Scores of {self.n} samples, {self.num_classes} classes, {splits}{left_out}"]
        lines += [f"  {name:<36}{text:>10}" for name, (text,) in score_lines([self])]
        lines += [f"  Warning: {text}" for text in self.warnings]
        return "\n".join(lines)
