"""Whether a generator remembers: how near its samples are to training features, beside held-out ones."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

from amgan_fast.metrics.arrays import Array, batches_of
from amgan_fast.metrics.feature_sample import FeatureSample, kept_pair
from amgan_fast.metrics.nearest_distances import NearestDistances
from amgan_fast.metrics.numbers import Numbers
from amgan_fast.metrics.share_interval import share_interval

_NEAREST = 0.01


@dataclass(frozen=True, kw_only=True, repr=False)
class Memorisation(Numbers):
    """What :func:`memorisation` finds."""

    nearer: float
    """How probable it is that a sample is nearer to the training set than a held-out feature, ties as half: about 0.5
    of a generator that has learnt the distribution, 1 of one that copies. Below 0.5 samples are farther away than real
    ones are."""
    nearer_ci95: tuple[float, float]
    p_value: float
    """Two-sided, of the Mann-Whitney test: where samples and held-out features are equally far from the training set,
    the probability of as much of a difference."""
    z: float
    """Of the same test, the C_T of Meehan et al. in a single cell: below 0 samples are nearer (data-copying), above 0
    farther (underfitting)."""
    among_nearest: float
    """The share of samples that are nearer to the training set than 99% of the held-out features are. It tells of
    copies that are few."""
    among_nearest_expected: float
    """What it is on average where samples and held-out features are equally far: j / (M + 1), where j of the M held-out
    features are as near, 0.01 but for rounding (at least one is taken)."""
    among_nearest_p: float
    """One-sided and exact: the probability of a share at least as large by chance alone."""
    copies: int
    """Samples that are 0 away from a training feature."""
    n: int
    """Samples."""
    n_held_out: int
    """Held-out features."""
    n_training: int
    """Training features."""

    def __str__(self) -> str:
        low, high = self.nearer_ci95
        return (
            f"Of {self.n:,} samples, beside {self.n_held_out:,} held-out ones, to {self.n_training:,} of training\n"
            f"  nearer than held-out ones (0.5: as near): {self.nearer:.4f}, 95% interval {low:.4f} to {high:.4f}, "
            f"p = {self.p_value:.2g}\n"
            f"  among the nearest {self.among_nearest_expected:.1%} of these: {self.among_nearest:.1%}, "
            f"p = {self.among_nearest_p:.2g}; copies: {self.copies:,}"
        )


@torch.no_grad()
def memorisation(
    samples: Array | FeatureSample,
    held_out: Array | FeatureSample,
    training: Array | FeatureSample | Iterable[Array],
) -> Memorisation:
    """Whether samples are nearer to the training set than real ones that the generator has not seen: the test of
    Meehan, Chaudhuri and Dasgupta, arXiv 2004.05675, in a single cell, with an interval.

    Of each sample and each held-out feature it takes the Euclidean distance to the nearest training feature. Held-out
    features have to be of the distribution of the training set, and of other images: then both distances are alike
    unless the generator remembers (or its samples are far from real ones, which shows in the other direction and can
    hide copies; ``among_nearest`` sees these still). The training set is what it is: intervals and p are for other
    samples and held-out features beside it. The interval has the variance of DeLong et al., "Comparing the areas under
    two or more correlated receiver operating characteristic curves" (1988).

    Args:
        samples: [N, D] floating point, or a :class:`FeatureSample`; N at least 2.
        held_out: [M, D], at least 2.
        training: [T, D], or batches of it, which are read once, in constant memory.

    Raises:
        TypeError: no tensors or arrays, or of another dtype.
        ValueError: other shapes, too few, or values that are not finite.

    >>> import torch
    >>> from amgan_fast.metrics import memorisation
    >>> random = torch.Generator().manual_seed(0)
    >>> training, held_out, new = (torch.randn(2000, 16, generator=random) for _ in range(3))
    >>> print(memorisation(new, held_out, training))
    Of 2,000 samples, beside 2,000 held-out ones, to 2,000 of training
      nearer than held-out ones (0.5: as near): 0.4938, 95% interval 0.4759 to 0.5117, p = 0.5
      among the nearest 1.0% of these: 1.0%, p = 0.5; copies: 0
    >>> a_tenth_copied = torch.cat([training[:200], new[200:]])
    >>> print(memorisation(a_tenth_copied, held_out, training.split(500)))
    Of 2,000 samples, beside 2,000 held-out ones, to 2,000 of training
      nearer than held-out ones (0.5: as near): 0.5417, 95% interval 0.5238 to 0.5595, p = 4.8e-06
      among the nearest 1.0% of these: 10.9%, p = 1.4e-46; copies: 200
    """
    x, y = kept_pair(samples, held_out, least=2, name="held_out")
    nearest = NearestDistances(torch.cat([x, y]))
    if isinstance(training, FeatureSample):
        training = training.features
    for batch in batches_of("training", training):
        nearest.update(batch)
    own, real = nearest.compute().split([len(x), len(y)])
    share, error = _share_nearer(own, real)
    effective = share * (1 - share) / error**2 if error else min(len(x), len(y))
    z = _z_of_mann_whitney(share, own, real)
    expected, found, p = _among_nearest(own, real)
    return Memorisation(
        nearer=share,
        nearer_ci95=share_interval(share, effective),
        z=z,
        p_value=_two_sided(z),
        among_nearest=found,
        among_nearest_expected=expected,
        among_nearest_p=p,
        copies=int((own == 0).sum()),
        n=len(x),
        n_held_out=len(y),
        n_training=nearest.training,
    )


def _share_nearer(own: Tensor, real: Tensor) -> tuple[float, float]:
    """P(own < real) + P(own = real) / 2 of distances [N] and [M], and its standard error."""
    of_own, of_real = 1 - _placements(own, real), _placements(real, own)
    variance = of_own.var() / len(own) + of_real.var() / len(real)
    return float(of_own.mean()), math.sqrt(float(variance))


def _placements(values: Tensor, others: Tensor) -> Tensor:
    """float64 [N]: of each value the share of ``others`` that are less, those that are equal as half."""
    others = others.sort().values
    below, not_above = (torch.searchsorted(others, values, right=right) for right in (False, True))
    return (below + not_above).double() / (2 * len(others))


def _z_of_mann_whitney(share: float, own: Tensor, real: Tensor) -> float:
    """With its correction for ties; 0 where all are tied."""
    n, m = len(own), len(real)
    ties = torch.cat([own, real]).unique(return_counts=True)[1].double()
    spread = n + m + 1 - float((ties**3 - ties).sum()) / ((n + m) * (n + m - 1))
    return (0.5 - share) * math.sqrt(12 * n * m / spread) if spread > 0 else 0.0


def _two_sided(z: float) -> float:
    from scipy.special import ndtr

    return 2 * float(ndtr(-abs(z)))


def _among_nearest(own: Tensor, real: Tensor) -> tuple[float, float, float]:
    """The share of samples nearer than the j-th nearest held-out feature: expected, found, and the exact one-sided p.

    Of samples that are as far as held-out ones so many are nearer as a beta-binomial has it: it is the rank of one
    set's order statistic among the other set.
    """
    from scipy.stats import betabinom

    n, m = len(own), len(real)
    j = max(1, round(_NEAREST * (m + 1)))
    nearer = int((own < real.kthvalue(j).values).sum())
    p = float(betabinom.pmf(range(nearer, n + 1), n, j, m + 1 - j).sum())  # which its sf has to 1e-12 alone
    return j / (m + 1), nearer / n, min(1.0, p)
