"""Precision and recall, density and coverage: scores of two sets of features by their nearest neighbours."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from amgan_fast.metrics.arrays import Array
from amgan_fast.metrics.estimate import Estimate
from amgan_fast.metrics.feature_sample import FeatureSample, kept_pair
from amgan_fast.metrics.neighbourhoods import GROUPS, HALVES, FeatureGroups, Hits, Nearest, WithHalves
from amgan_fast.metrics.numbers import Numbers
from amgan_fast.metrics.share_interval import share_interval
from amgan_fast.metrics.split_mix import split_mix
from amgan_fast.metrics.squared_distances import centred, mean_of, squared_distances


@dataclass(frozen=True, kw_only=True, repr=False)
class PrecisionRecall(Numbers):
    """What :func:`precision_recall` finds; higher is better. All depend on N and M, which are to be given with them."""

    precision: float
    """The share of samples within the neighbourhood of a reference sample."""
    precision_ci95: tuple[float, float]
    recall: float
    """The share of reference samples within the neighbourhood of a sample."""
    recall_ci95: tuple[float, float]
    density: float
    """Neighbourhoods of reference samples that a sample is in, over ``density_k``: about 1 where both sets have one
    distribution, and more where samples keep to where the reference is dense."""
    density_ci95: tuple[float, float]
    coverage: float
    """The share of reference samples whose neighbourhood has a sample in it."""
    coverage_ci95: tuple[float, float]
    estimates: dict[str, Estimate]
    """Of each of the four by its name, with its standard error."""
    n: int
    """N, samples."""
    n_reference: int
    """M, reference samples."""
    dim: int
    """D, values of a feature."""
    k: int
    """Of precision and recall."""
    density_k: int
    """Of density and coverage."""

    def __str__(self) -> str:
        lines = [
            f"Of {self.n:,} samples and {self.n_reference:,} reference samples, {self.dim:,} values each "
            "(higher is better)"
        ]
        for name, k in zip(_NAMES, (self.k, self.k, self.density_k, self.density_k), strict=True):
            low, high = getattr(self, f"{name}_ci95")
            lines.append(f"  {name:<10}{getattr(self, name):.4f}, 95% interval {low:.4f} to {high:.4f} (k = {k})")
        return "\n".join(lines)


_NAMES = ("precision", "recall", "density", "coverage")


@torch.no_grad()
def precision_recall(
    *, samples: Array | FeatureSample, reference: Array | FeatureSample, k: int = 3, density_k: int = 5
) -> PrecisionRecall:
    """Improved precision and recall (Kynkäänniemi et al., arXiv 1904.06991, equations 1 and 2) and density and coverage
    (Naeem et al., arXiv 2002.09797, equations 4 and 6) of samples, with 95% intervals.

    The neighbourhood of a sample is the ball up to its k-th nearest other one of its own set, its surface included.
    Which set is which matters: with both exchanged precision is recall, so both are to be given by name.

    The values depend on how many there are: with more samples neighbourhoods are smaller. Compare scores of equal N and
    M; the papers have 50,000 (precision and recall) and 10,000 (density and coverage). What an interval is for is the
    expectation at this N and M, not the limit of many.

    Standard errors are from 31 pairs of balanced halves of both sets (:mod:`amgan_fast.metrics.neighbourhoods`): those
    of the jackknife are up to twice what such numbers err by. Intervals are Student's t with 31 degrees of
    freedom, for shares Wilson's with as many samples as give that error, so that they stay between 0 and 1 and have a
    width at either end. They held the expectation in 92% to 98% of simulated pairs of sets (docs/benchmarks.md). Both
    sets are taken for random samples.

    All pairs are computed, 1,024 of each set at a time, in float32
    (:func:`amgan_fast.metrics.squared_distances.squared_distances`). Memory beside the features: 32 (density_k + k + 6)
    numbers for each sample at most.

    Args:
        samples: [N, D] floating point, or a :class:`FeatureSample`.
        reference: [M, D] of the reference, such as real samples.
        k: which neighbour is on the surface, for precision and recall, at least 1.
        density_k: the same for density and coverage.

    Raises:
        TypeError: no tensors or arrays, or of another dtype.
        ValueError: other shapes, values that are not finite, ``k`` or ``density_k`` out of range, or fewer than 64
            samples in a set, or than 4 (k + 1).

    >>> import torch
    >>> from amgan_fast.metrics import precision_recall
    >>> random = torch.Generator().manual_seed(0)
    >>> reference = torch.randn(2000, 8, generator=random)
    >>> narrow = 0.5 * torch.randn(2000, 8, generator=random)
    >>> print(precision_recall(samples=narrow, reference=reference))
    Of 2,000 samples and 2,000 reference samples, 8 values each (higher is better)
      precision 0.9960, 95% interval 0.9892 to 0.9985 (k = 3)
      recall    0.1860, 95% interval 0.1674 to 0.2062 (k = 3)
      density   1.7159, 95% interval 1.6294 to 1.8024 (k = 5)
      coverage  0.6925, 95% interval 0.6708 to 0.7134 (k = 5)
    """
    for name, value in (("k", k), ("density_k", density_k)):
        if value < 1:
            raise ValueError(f"{name} is {value}, wanted at least 1")
    x, y = kept_pair(samples, reference, least=max(2 * GROUPS, 4 * (max(k, density_k) + 1)))
    own, real = FeatureGroups(_shuffled(x)), FeatureGroups(_shuffled(y))
    own_balls, real_nearest = own.balls(own.nearest(k), k), real.nearest(max(k, density_k))
    real_balls, dense_balls = (real.balls(real_nearest, neighbour) for neighbour in (k, density_k))
    in_real, in_dense, in_own = Hits(own, real, real_balls), Hits(own, real, dense_balls), Hits(real, own, own_balls)
    nearest = Nearest(real, dense_balls)
    centre = mean_of(y)
    own_rows, real_rows = centred(own.features, centre), centred(real.features, centre)
    for piece in own.pieces:
        for other in real.pieces:
            distances = squared_distances(own_rows[piece], real_rows[other])
            in_real.add(distances, piece, other)
            in_dense.add(distances, piece, other)
            in_own.add(distances.T, other, piece)
            nearest.add(distances.T, other, piece)
    precision, recall, coverage = in_real.mean(_is_in_any), in_own.mean(_is_in_any), nearest.share()
    density = in_dense.mean(lambda hits: hits.double() / density_k)
    found = zip(_NAMES, (precision, recall, density, coverage), strict=True)
    estimates = {name: Estimate(one.value, one.standard_error, HALVES) for name, one in found}
    interval = estimates["density"].interval
    assert interval is not None
    return PrecisionRecall(
        precision=precision.value,
        precision_ci95=_of_share(precision, len(x)),
        recall=recall.value,
        recall_ci95=_of_share(recall, len(y)),
        density=density.value,
        density_ci95=(max(0.0, interval[0]), interval[1]),
        coverage=coverage.value,
        coverage_ci95=_of_share(coverage, len(y)),
        estimates=estimates,
        n=len(x),
        n_reference=len(y),
        dim=x.size(1),
        k=k,
        density_k=density_k,
    )


def _shuffled(features: Tensor) -> Tensor:
    """In an order that no order of classes goes along with, nor classes in turn: groups are of each 32nd feature."""
    return features[split_mix(torch.arange(len(features))).argsort().to(features.device)]


def _is_in_any(hits: Tensor) -> Tensor:
    return (hits > 0).double()


def _of_share(found: WithHalves, count: int) -> tuple[float, float]:
    """Of ``count`` samples where there is no error to tell it from."""
    half, error = found.in_halves, found.standard_error
    return share_interval(found.value, half * (1 - half) / error**2 if error else count, HALVES)
