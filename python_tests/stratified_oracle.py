"""The scores of samples from strata and their errors, formula by formula, in numpy, a sample at a time.

Sources: Wolter, Introduction to Variance Estimation, chapter 4; Satterthwaite (1946); the second-order bias is derived
in amgan_fast/metrics/statistics.py and checked by simulation.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import scipy.stats
from scipy.special import entr, log_softmax, rel_entr

PART = 0.3  # of the way to where the estimate is without a group


@dataclass(frozen=True)
class Stratum:
    p: np.ndarray
    """[N_h, K], in the order in which they came."""
    share: float

    @property
    def n(self) -> int:
        return len(self.p)

    @property
    def mean(self) -> np.ndarray:
        return self.p.mean(0)

    @property
    def entropy(self) -> float:
        return float(entr(self.p).sum(1).mean())


@dataclass(frozen=True)
class Point:
    """What the statistics are functions of."""

    mean: np.ndarray
    entropy: float
    variance: np.ndarray
    third: np.ndarray


@dataclass(frozen=True)
class Error:
    variance: float
    degrees_of_freedom: float


def strata_of(logits: np.ndarray, labels: np.ndarray, shares: np.ndarray | None = None) -> list[Stratum]:
    p = np.exp(log_softmax(logits.astype(np.float64), axis=1))
    found = [h for h in range(labels.max() + 1) if (labels == h).any() and (shares is None or shares[h] > 0)]
    of_all = {h: float((labels == h).mean()) if shares is None else float(shares[h]) for h in found}
    return [Stratum(p[labels == h], of_all[h] / sum(of_all.values())) for h in found]


def beta_third(mean: float, variance: float) -> float:
    """The third central moment of a Beta distribution, from SciPy's parameters."""
    if variance <= 0 or not 0 < mean < 1:
        return 0.0
    size = mean * (1 - mean) / variance - 1
    if size < 1e-9:
        # One-hot, or beyond: a sample's variance may exceed m (1 - m). The formula goes on, scipy.stats does not.
        return 2 * variance**2 * (1 - 2 * mean) / (mean * (1 - mean) + variance)
    skewness = float(scipy.stats.beta.stats(mean * size, (1 - mean) * size, moments="s"))
    return skewness * variance**1.5


def sample_variances(strata: list[Stratum]) -> list[np.ndarray]:
    """s2 of every stratum; one sample varies like the others do."""
    several = [one for one in strata if one.n > 1]
    found = sum(one.p.var(axis=0, ddof=1).sum() for one in several)
    rho = found / sum((one.mean * (1 - one.mean)).sum() for one in several)
    return [one.p.var(axis=0, ddof=1) if one.n > 1 else rho * one.mean * (1 - one.mean) for one in strata]


def point_of(strata: list[Stratum]) -> Point:
    spread = sample_variances(strata)
    third = [
        one.share**3 / one.n**2 * np.array([beta_third(m, v) for m, v in zip(one.mean, s2, strict=True)])
        for one, s2 in zip(strata, spread, strict=True)
    ]
    return Point(
        mean=sum((one.share * one.mean for one in strata), np.zeros(())),
        entropy=sum(one.share * one.entropy for one in strata),
        variance=sum((one.share**2 * s2 / one.n for one, s2 in zip(strata, spread, strict=True)), np.zeros(())),
        third=sum(third, np.zeros(())),
    )


def log_inception_score(x: Point) -> float:
    """Less its bias."""
    m, v = x.mean, x.variance
    return float((entr(m) + v / (2 * m) + (x.third / 3 - v**2 / (4 * m)) / m**2).sum() - x.entropy)


def am_score(reference: np.ndarray, x: Point) -> float:
    """Less its bias."""
    m, v = x.mean, x.variance
    bias = reference * (v / (2 * m**2) + 2 * x.third / (3 * m**3) - 3 * v**2 / (4 * m**4))
    return float((rel_entr(reference, m) - bias).sum() + x.entropy)


def error(statistic, strata: list[Stratum], groups: int) -> Error:
    """The delete-a-group jackknife, part of the way, with Satterthwaite's degrees of freedom."""
    whole, spread = point_of(strata), sample_variances(strata)
    squares, used = [], []
    for one, s2 in zip(strata, spread, strict=True):
        of_group = np.arange(one.n) % groups
        number = len(set(of_group))
        total = 0.0
        for group in sorted(set(of_group)) if number > 1 else []:
            left = Stratum(one.p[of_group != group], one.share)
            of_left = (left.p.var(axis=0, ddof=1) if left.n > 1 else s2) / left.n
            moved = Point(
                mean=whole.mean + PART * one.share * (left.mean - one.mean),
                entropy=whole.entropy + PART * one.share * (left.entropy - one.entropy),
                variance=whole.variance + PART * one.share**2 * (of_left - s2 / one.n),
                third=whole.third,
            )
            n = one.n - left.n
            weight = left.n**2 / ((number - 1) * one.n * n)
            total += weight * ((statistic(moved) - statistic(whole)) / PART) ** 2
        squares.append(total)
        used.append(number)
    scale = np.array([one.share**2 / one.n for one in strata])
    v, g = np.array(squares), np.array(used)
    v = np.where(g > 1, v, scale * (v[g > 1] / scale[g > 1]).mean())
    most = float((g[g > 1] - 1).sum())
    degrees = v.sum() ** 2 / (v**2 / (np.maximum(g, 2) + 1)).sum() - 2
    return Error(float(v.sum()), max(1.0, min(most, float(degrees))))


def groups_of(strata: int) -> int:
    return max(2, math.ceil(100 / strata) + 1)
