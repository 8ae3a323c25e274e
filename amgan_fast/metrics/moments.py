"""What scores are computed from: the mean class distribution of samples, and how far off it may be."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import torch
from torch import Tensor

from amgan_fast.ops import ScoreSums

CACHED_VALUES = 16_000  # 128 kB of float64: they stay in the cache, and malloc keeps what is no larger


class Moments(Protocol):
    """Of any number of sets of samples at once, float64."""

    @property
    def mean(self) -> Tensor:
        """[..., K], m, the estimated mean class distribution."""

    @property
    def log_mean(self) -> Tensor:
        """[..., K], log m, finite where m underflows."""

    @property
    def entropy(self) -> Tensor:
        """[...], mean H(p)."""

    @property
    def log_prob(self) -> Tensor:
        """[..., K], mean log p."""

    @property
    def variance(self) -> Tensor:
        """[..., K], of m_k as an estimate."""

    @property
    def third(self) -> Tensor:
        """[..., K], the third central moment of m_k as an estimate."""


class RandomSample:
    """Moments of samples that were drawn independently of each other, from their sums.

    The variance of m_k is mu2_k / N, its third moment mu3_k / N^2. Sums hold no mu3: it is taken to be that of a Beta
    distribution with this m and mu2, which is exact for p that is constant, one-hot, or Dirichlet.

    Args:
        sums: [...] and [..., K].
    """

    def __init__(self, sums: ScoreSums) -> None:
        self._sums = sums

    @cached_property
    def mean(self) -> Tensor:
        return distribution(self._sums.prob)

    @cached_property
    def log_mean(self) -> Tensor:
        # Where even the sum of p_k underflows, the mean of log p_k stands for log m_k: finite, and below it (Jensen).
        prob = self._sums.prob
        return torch.where(prob > 0, prob.log() - prob.sum(-1, keepdim=True).log(), self.log_prob)

    @cached_property
    def entropy(self) -> Tensor:
        return self._sums.entropy / self._sums.count

    @cached_property
    def log_prob(self) -> Tensor:
        return self._sums.log_prob / self._sums.count[..., None]

    @cached_property
    def variance(self) -> Tensor:
        count = self._sums.count[..., None]
        return ((self._sums.prob_sq / count - self.mean.square()) / count).clamp_min(0)

    @cached_property
    def third(self) -> Tensor:
        count = self._sums.count[..., None]
        return beta_third_moment(self.mean, self.variance * count) / count.square()


def some_at_a_time(sets: ScoreSums) -> Iterator[ScoreSums]:
    """Of sums [S, ...] some sets after the others, :data:`CACHED_VALUES`."""
    step = max(1, CACHED_VALUES // sets.prob[0].numel())
    for parts in zip(*(x.split(step) for x in sets), strict=True):
        yield ScoreSums(*parts)


def with_samples(sets: ScoreSums) -> ScoreSums:
    """Of sums [S, ...] those that hold samples."""
    used = sets.count > 0
    return sets if used.all() else sets.map(lambda x: x[used])


@dataclass(frozen=True, eq=False)
class GivenMoments:
    """Moments that were computed otherwise."""

    mean: Tensor
    log_mean: Tensor
    entropy: Tensor
    log_prob: Tensor
    variance: Tensor
    third: Tensor


def distribution(prob: Tensor) -> Tensor:
    """[..., K], from sums of p. Divided by its own sum instead of by N, which is the same but for rounding: what p of
    float32 rows err by has a common part, which this takes out."""
    return prob / prob.sum(-1, keepdim=True)


def beta_third_moment(mean: Tensor, variance: Tensor) -> Tensor:
    """The third central moment of Beta distributions."""
    return ratio(2 * variance.square() * (1 - 2 * mean), mean * (1 - mean) + variance)


def ratio(a: Tensor, b: Tensor) -> Tensor:
    """a / b, 0 where b is 0: where no sample has the class, or every one has no other."""
    return torch.where(b > 0, a / b, 0.0)
