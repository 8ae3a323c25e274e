"""The Fréchet distance of features: plain, as published, and for infinitely many samples, with its interval."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations
from typing import Any, TypeAlias

import torch
from torch import Tensor

from amgan_fast.errors import counted
from amgan_fast.metrics.arrays import Array
from amgan_fast.metrics.estimate import Estimate, joint_error
from amgan_fast.metrics.feature_moments import FeatureMoments, Moments, accumulate_features
from amgan_fast.metrics.gaussian_moments import GaussianMoments
from amgan_fast.metrics.numbers import Numbers

Features: TypeAlias = "FeatureMoments | GaussianMoments | Array | Iterable[Array]"

_Side: TypeAlias = "FeatureMoments | GaussianMoments"

_FEW = 2  # samples for each feature: what corrections and intervals were measured with (docs/benchmarks.md)
_WELL_CONDITIONED = 1e-9  # of a pivot to the largest variance
_QUARTERS = 4
_PARABOLA = {4: 8.0, 3: -9.0, 2: 2.0}
"""What distances of so many quarters of the samples weigh: those of N, 3N/4 and N/2, at 1, 4/3 and 2 times 1/N, lie on
a parabola in 1/N, and this is where it meets 1/N = 0 (Lagrange)."""
_CUBIC = {4: 32 / 3, 3: -27 / 2, 2: 4.0, 1: -1 / 6}
"""The same of a polynomial of third degree, which those of N/4 are on too."""


@dataclass(frozen=True, kw_only=True, repr=False)
class FrechetDistance(Numbers):
    """What :func:`frechet_distance` finds; lower is better, 0 where both means and both covariances are the same.

    >>> import torch
    >>> from amgan_fast.metrics import frechet_distance
    >>> features = torch.randn(2, 2000, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    >>> print(frechet_distance(features[0], features[1] + 0.5))
    Fréchet distance of 2,000 samples to 2,000 samples, 8 features
      Fréchet distance (lower is better)      2.2334
        corrected for its bias                2.2072
        95% interval of that        2.0374 to 2.3770
    """

    value: float
    """|m_a - m_b|^2 + tr(A + B - 2 (A B)^(1/2)) of the samples there are, as it is published: at least 0. Of few
    samples it is too high on average."""
    corrected: float | None
    """The same for infinitely many samples, at least 0 (:attr:`unlimited`). None with fewer than two samples for each
    block."""
    ci95: tuple[float, float] | None
    """The 95% interval of the corrected distance, not below 0. None as above."""
    unlimited: float | None
    """The corrected distance where chance has taken it below 0; else None."""
    estimate: Estimate | None
    """The corrected distance as it was before it was limited, with its standard error: for :func:`welch`. None as
    above."""
    third_order: float | None
    """What the third term of the extrapolation would take off; it is in the standard error. None as above."""
    n: int | None
    """The number of samples N; None: they are a distribution that is taken as exact."""
    n_reference: int | None
    """Those of the reference; None as above."""
    dim: int
    """The number of features D."""
    blocks: int
    """The number of groups of samples that the error rests on."""

    @property
    def few_samples(self) -> bool:
        """Whether what the corrected distance and its interval say is not to be trusted: fewer than 2 samples, of
        either side, for each of the D features."""
        return self._fewest is not None and self._fewest < _FEW * self.dim

    @property
    def warnings(self) -> tuple[str, ...]:
        """What makes the distance doubtful."""
        if self._fewest is None:
            return ()
        if not self.few_samples:
            if self.corrected is not None:
                return ()
            found = f"{counted(self._fewest, 'sample')} in {self.blocks} blocks"
            return (f"{found}: fewer than two in one of them, and no correction",)
        singular = " and a covariance that has to be singular" if self._fewest <= self.dim else ""
        return (
            f"{counted(self._fewest, 'sample')} of {counted(self.dim, 'feature')}{singular}: below {_FEW} samples a "
            f"feature ({_FEW * self.dim:,}) corrected distance and interval are not to be trusted",
        )

    @property
    def _fewest(self) -> int | None:
        return min((n for n in (self.n, self.n_reference) if n is not None), default=None)

    def to_dict(self) -> dict[str, Any]:
        """Plain values, and the warnings."""
        return super().to_dict() | {"warnings": list(self.warnings)}

    def __str__(self) -> str:
        first, second = (
            "an exact distribution" if n is None else counted(n, "sample") for n in (self.n, self.n_reference)
        )
        lines = [
            f"Fréchet distance of {first} to {second}, {counted(self.dim, 'feature')}",
            f"  {'Fréchet distance (lower is better)':<36}{self.value:>10.4f}",
        ]
        if self.corrected is not None and self.ci95 is not None:
            by_chance = "" if self.unlimited is None else f" ({self.unlimited:.4f} by chance)"
            interval = f"{self.ci95[0]:.4f} to {self.ci95[1]:.4f}"
            lines.append(f"  {'  corrected for its bias':<36}{self.corrected:>10.4f}{by_chance}")
            lines.append(f"  {'  95% interval of that':<30}{interval:>16}")
        return "\n".join(lines + [f"  Warning: {text}" for text in self.warnings])


def frechet_distance(samples: Features, reference: Features) -> FrechetDistance:
    """The Fréchet distance of two sets of features, each taken for a Gaussian of its mean and covariance.

    |m_a - m_b|^2 + tr(A + B - 2 (A B)^(1/2)): Dowson and Landau, The Fréchet distance between multivariate normal
    distributions (1982), equation 4. With the features of Inception it is the FID (Heusel et al., arXiv 1706.08500,
    equation 6). The trace of the root is taken as the sum of the singular values of F_a^T F_b, A = F_a F_a^T and
    B = F_b F_b^T: to rounding, also where a covariance is singular.

    Of finite samples it is too high by c/N + d/N^2 and so on (Chong and Forsyth, arXiv 1911.07023). From all samples,
    three quarters and halves of them, of both sides at once and in every combination of four quarters, the first two
    terms are known, and taken away. Since each sample is in as many of these subsets, what chance does to the distance
    itself stays what it was to first order. The third term, which single quarters tell, counts as error.

    The interval is from how much the influence of a sample on the distance, 2 (m_a - m_b)^T x + x^T (I - T) x with x
    less the mean and T the optimal transport from A to B, differs over blocks of samples: Student's t. Where the
    distance is near 0 it is up to 1.4 times as wide as need be.

    Args:
        samples: a :class:`FeatureMoments`; or features, [N, D] or batches of these, as that takes them; or a
            :class:`GaussianMoments`, which is taken as exact.
        reference: likewise. Of samples its own error and bias count too.

    Raises:
        TypeError, ValueError: as :class:`FeatureMoments` has it, other numbers of features, or fewer than two samples.

    >>> import torch
    >>> from amgan_fast.metrics import GaussianMoments, frechet_distance
    >>> exact = GaussianMoments(torch.zeros(2), torch.diag(torch.tensor([4.0, 1.0])))
    >>> frechet_distance(exact, GaussianMoments(torch.ones(2), torch.eye(2))).value
    3.0
    """
    mine, others = (_as_side(name, x) for name, x in (("samples", samples), ("reference", reference)))
    if mine.dim != others.dim:
        raise ValueError(f"reference has {others.dim} features, wanted {mine.dim} as samples have")
    first, second = (_Gaussian(side.moments()) for side in (mine, others))
    value = _distance(first, second, to_rounding=True)
    of_samples = [side for side in (mine, others) if isinstance(side, FeatureMoments)]
    estimate = third_order = None
    if not of_samples:
        estimate, third_order = Estimate(value, 0.0, math.inf), 0.0
    elif all(min(side.block_samples) >= 2 for side in of_samples):
        corrected, third_order = _extrapolated((mine, others), (first, second), value)
        error, freedom = _error((mine, others), (first, second))
        estimate = Estimate(corrected, math.hypot(error, third_order), freedom)
    limited, interval, unlimited = limit(estimate)
    return FrechetDistance(
        value=value,
        corrected=limited,
        ci95=interval,
        unlimited=unlimited,
        estimate=estimate,
        third_order=third_order,
        n=mine.samples if isinstance(mine, FeatureMoments) else None,
        n_reference=others.samples if isinstance(others, FeatureMoments) else None,
        dim=mine.dim,
        blocks=min((side.blocks for side in of_samples), default=0),
    )


def limit(estimate: Estimate | None) -> tuple[float | None, tuple[float, float] | None, float | None]:
    """A distance and its interval, not below 0, and what was."""
    if estimate is None:
        return None, None, None
    interval = estimate.interval
    at_least_0 = None if interval is None else (max(interval[0], 0.0), max(interval[1], 0.0))
    return max(estimate.value, 0.0), at_least_0, None if estimate.value >= 0 else estimate.value


class _Gaussian:
    """A mean and a covariance A, with F of A = F F^T."""

    def __init__(self, moments: Moments) -> None:
        self.moments = moments

    @cached_property
    def root(self) -> Tensor:
        """F, [D, R] with R the rank: triangular, or where eigenvalues may be nothing but rounding, of the others."""
        return self._cholesky if self._cholesky is not None else self._of_eigenvectors

    @cached_property
    def inverse_root(self) -> Tensor:
        """G, [R, D], with G F = 1."""
        if self._cholesky is None:
            return (self.root / self.root.square().sum(0)).T  # its columns are orthogonal
        ones = torch.eye(len(self.root), dtype=torch.float64, device="cpu")
        return torch.linalg.solve_triangular(self._cholesky, ones, upper=False)

    @cached_property
    def _cholesky(self) -> Tensor | None:
        """None where it is not well conditioned: a root of rounding would be as large as the root of its size."""
        covariance = self.moments.covariance
        factor, failed = torch.linalg.cholesky_ex(covariance)
        least, largest = float(factor.diag().min()) ** 2, float(covariance.diag().max())
        return None if int(failed) or not least > _WELL_CONDITIONED * largest else factor

    @property
    def _of_eigenvectors(self) -> Tensor:
        values, vectors = torch.linalg.eigh(self.moments.covariance)
        kept = values > len(values) * torch.finfo(values.dtype).eps * values[-1]
        return vectors[:, kept] * values[kept].sqrt()


def _as_side(name: str, features: Features) -> _Side:
    if isinstance(features, FeatureMoments | GaussianMoments):
        return features
    return accumulate_features(name, features)


def _distance(first: _Gaussian, second: _Gaussian, *, to_rounding: bool) -> float:
    """
    Args:
        to_rounding: False: singular values are the roots of eigenvalues, which takes a third of the time, and those
            that are 1e-8 of the largest have no digits.
    """
    (_, mean_a, a), (_, mean_b, b) = first.moments, second.moments
    if torch.equal(mean_a, mean_b) and torch.equal(a, b):
        return 0.0
    if to_rounding:
        values = torch.linalg.svdvals(first.root.T @ second.root)
    else:
        values = torch.linalg.eigvalsh(first.root.T @ b @ first.root).clamp_min(0).sqrt()
    distance = (mean_a - mean_b).square().sum() + a.trace() + b.trace() - 2 * values.sum()
    return max(float(distance), 0.0)


def _extrapolated(sides: Sequence[_Side], wholes: Sequence[_Gaussian], value: float) -> tuple[float, float]:
    """The distance of infinitely many samples, from ``value``, that of all there are, and those of their subsets; and
    how much less the third degree says."""
    means = {_QUARTERS: value}
    quarters = [side.in_fewer_blocks(_QUARTERS) if isinstance(side, FeatureMoments) else None for side in sides]
    for size in (3, 2, 1):
        distances = []
        for subset in combinations(range(_QUARTERS), size):
            parts = (
                exact if side is None else _Gaussian(side.moments(subset))
                for side, exact in zip(quarters, wholes, strict=True)
            )
            distances.append(_distance(*parts, to_rounding=False))
        means[size] = math.fsum(distances) / len(distances)
    parabola, cubic = (math.fsum(w * means[size] for size, w in by.items()) for by in (_PARABOLA, _CUBIC))
    return parabola, parabola - cubic


def _error(sides: Sequence[_Side], wholes: Sequence[_Gaussian]) -> tuple[float, float]:
    """Standard error of the distance, and its degrees of freedom, from the influence of blocks of samples."""
    (samples, reference), (first, second) = sides, wholes
    product = first.root.T @ second.root
    squares, vectors = torch.linalg.eigh(product @ product.T)
    roots = squares.clamp_min(0).sqrt()
    ones = torch.eye(samples.dim, dtype=torch.float64, device="cpu")
    off = first.moments.mean - second.moments.mean
    parts = []
    if isinstance(samples, FeatureMoments):
        turned = vectors.T @ first.inverse_root
        parts.append(_error_of(samples, first, off, ones - (turned.T * roots) @ turned))
    if isinstance(reference, FeatureMoments):  # the transport back is the inverse
        kept = roots > len(roots) * torch.finfo(roots.dtype).eps ** 0.5 * max(roots.tolist(), default=0.0)
        turned = first.root @ vectors[:, kept]
        parts.append(_error_of(reference, second, -off, ones - (turned / roots[kept]) @ turned.T))
    return joint_error(parts)


def _error_of(side: FeatureMoments, whole: _Gaussian, off: Tensor, matrix: Tensor) -> tuple[float, float]:
    means, forms = side.block_means(whole.moments.mean, matrix)
    influence = 2 * (means @ off) + forms
    shares = torch.tensor(side.block_samples, dtype=torch.float64, device="cpu") / side.samples
    spread = (shares * (influence - (shares * influence).sum())).square().sum()
    return math.sqrt(float(spread) * side.blocks / (side.blocks - 1)), side.blocks - 1
