"""How samples were drawn, and what follows for the errors of what is computed from them.

Both designs leave out a group of samples at a time (jackknife). Drawn at random, groups are the blocks of samples,
whose number B gives B - 1 degrees of freedom (Tukey). In strata of fixed numbers of samples, groups are within the
strata, so that what strata differ by from one another is in none of them: the delete-a-group jackknife under
stratification (Kott, "The delete-a-group jackknife", Journal of Official Statistics 17, 2001; Wolter, Introduction to
Variance Estimation, chapter 4).

With N_h samples in stratum h, n of them in group g, and theta the statistic, theta_hg that without this group,

    variance = sum_h v_h,    v_h = sum_g (N_h - n)^2 / ((G_h - 1) N_h n) (theta_hg - theta)^2

over the G_h groups that hold samples. For a mean each term has the expected value w_h^2 s2_h / (N_h G_h) whatever n is,
so unequal groups do no harm. v_h is centred on theta, not on the mean of theta_hg, which for two groups of 3 and 2
samples would be off by 40%. Student's t gets Satterthwaite's degrees of freedom from unbiased fourth powers,
variance^2 / sum_h (v_h^2 / (G_h + 1)) - 2.

Two or three samples of a class, and leaving out a group takes all that is known of it: logarithms then blow up. So
the estimate moves only part of the way, theta(x + r (x_hg - x)) with r = 0.3 for x = (m, mean H(p), V), and the
difference is divided by r (Fay's method for balanced replicates; Judkins, Journal of Official Statistics 6, 1990).

A stratum of one sample shows no spread. It is taken to vary as Dirichlet variables do whose mean is its p and whose
concentration is that of the other strata: s2 = rho p (1 - p), rho the sum of their s2 over that of their
m (1 - m); and its v_h to be N_h v_h / w_h^2 of theirs on average, times w^2.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from amgan_fast.metrics.moments import (
    CACHED_VALUES,
    GivenMoments,
    Moments,
    RandomSample,
    beta_third_moment,
    distribution,
    ratio,
    some_at_a_time,
    with_samples,
)
from amgan_fast.ops import ScoreSums

_PART = 0.3  # of the way; with 0.5 the same coverage but for strata of two
_VALUES_AT_ONCE = 2**22  # of replicates [..., K]: some hundred MB with all that is computed from them


Statistics = Callable[[Moments], dict[str, Tensor]]
"""Some at once, by name, [...] each: they share what they are computed from."""


class Error(NamedTuple):
    """Of a statistic as an estimate."""

    variance: float
    degrees_of_freedom: float


class Design(Protocol):
    """Samples and how they were drawn."""

    @property
    def moments(self) -> Moments:
        """Of all samples."""

    def errors(self, statistics: Statistics) -> dict[str, Error] | None:
        """Of each statistic; None where there are no two groups to compare."""


class RandomDesign:
    """Samples drawn independently of each other.

    Args:
        blocks: sums [B, ...] of blocks that are alike: filled in turn, by samples in random order.
    """

    def __init__(self, blocks: ScoreSums) -> None:
        self._blocks = with_samples(blocks)

    @cached_property
    def moments(self) -> Moments:
        return RandomSample(self._blocks.total())

    def errors(self, statistics: Statistics) -> dict[str, Error] | None:
        count = len(self._blocks.count)
        if count < 2:
            return None
        without = [statistics(RandomSample(part)) for part in some_at_a_time(self._blocks.map(_sums_of_others))]
        values = {name: torch.cat([part[name] for part in without]) for name in without[0]}
        return {name: Error(float(x.var(correction=0) * (count - 1)), count - 1) for name, x in values.items()}


class StratumGroups(NamedTuple):
    """Sums of groups of samples within strata, float64 on the CPU."""

    count: Tensor  # type: ignore[assignment]  # hides tuple.count
    """[G, S]"""
    entropy: Tensor
    """[G, S]"""
    prob: Tensor
    """[G, S, K]"""
    prob_sq: Tensor
    """[G, S, K]"""
    log_prob: Tensor
    """[S, K], of all groups."""


class StratifiedDesign:
    """A fixed number of samples from each stratum.

    Args:
        groups: of strata that may be empty.
        shares: [S], the part of the population that each stratum is; None: as there are samples.

    Raises:
        ValueError: a stratum with a share has no sample, or every one that has any has a single one.
    """

    def __init__(self, groups: StratumGroups, shares: Tensor | None = None) -> None:
        counts = groups.count.sum(0)
        if shares is not None and (empty := ((shares > 0) & (counts == 0)).nonzero().flatten()).numel():
            h = int(empty[0])
            raise ValueError(f"strata: {h} has a share of {float(shares[h]):.6g} and no sample, wanted some of it")
        used = (counts > 0) if shares is None else (counts > 0) & (shares > 0)
        if not (counts[used] > 1).any():
            raise ValueError(
                f"strata: {int(used.sum())} hold one sample each, wanted two or more in one of them at least: spread "
                "within strata is not known otherwise"
            )
        self._groups = StratumGroups._make([*(x[:, used] for x in groups[:4]), groups.log_prob[used]])
        self.counts = counts[used]
        """[S'], samples of the strata that have any."""
        shares = self.counts if shares is None else shares[used].double()
        self._shares = shares / shares.sum()

    @cached_property
    def moments(self) -> Moments:
        shares, counts = self._shares[:, None], self.counts[:, None]
        mean, log_prob = (shares * self._means).sum(0), (shares * self._groups.log_prob / counts).sum(0)
        third = beta_third_moment(self._means, self._variances) * shares**3 / counts.square()
        return GivenMoments(
            mean=mean,
            log_mean=_log(mean, log_prob),
            entropy=(self._shares * self._entropies).sum(),
            log_prob=log_prob,
            variance=(shares.square() / counts * self._variances).sum(0),
            third=third.sum(0),
        )

    def errors(self, statistics: Statistics) -> dict[str, Error] | None:
        groups, _, classes = self._groups.prob.shape
        step = max(1, _VALUES_AT_ONCE // (groups * classes))
        parts = [self._squares(statistics, some) for some in torch.arange(len(self.counts)).split(step)]
        if not (self._groups_used > 1).any():
            return None
        return {name: self._error(torch.cat([part[name] for part in parts])) for name in parts[0]}

    @cached_property
    def _means(self) -> Tensor:
        """[S', K]"""
        return distribution(self._groups.prob.sum(0))

    @cached_property
    def _entropies(self) -> Tensor:
        """[S']"""
        return self._groups.entropy.sum(0) / self.counts

    @cached_property
    def _variances(self) -> Tensor:
        """s2 [S', K], of single samples."""
        several = self.counts > 1
        found = _sample_variance(self.counts, self._means, self._groups.prob_sq.sum(0))
        spread = self._means * (1 - self._means)
        rho = ratio(found[several].sum(), spread[several].sum())
        return torch.where(several[:, None], found, rho * spread)

    @cached_property
    def _groups_used(self) -> Tensor:
        """G_h [S'], groups that can be left out."""
        count = self._groups.count
        return ((count > 0) & (count < self.counts)).sum(0)

    def _squares(self, statistics: Statistics, strata: Tensor) -> dict[str, Tensor]:
        """v_h of some strata for each statistic; 0 for those of one group."""
        counts, count = self.counts[strata], self._groups.count[:, strata]
        left = counts - count
        used = (count > 0) & (left > 0)
        weight = left.square() / ((self._groups_used[strata] - 1).clamp_min(1) * counts * count.clamp_min(1)) * used
        whole, without = statistics(self.moments), statistics(self._without_each_group(strata, left))
        return {
            name: (weight * torch.where(used, (x - whole[name]) / _PART, 0.0).square()).sum(0)
            for name, x in without.items()
        }

    def _without_each_group(self, strata: Tensor, left: Tensor) -> Moments:
        """[G, s, ...], part of the way to what moments would be without this group of this stratum."""
        whole, shares, several = self.moments, self._shares[strata], left.clamp_min(1)
        prob, prob_sq, entropy = (
            _sums_of_others(x[:, strata]) for x in (self._groups.prob, self._groups.prob_sq, self._groups.entropy)
        )
        means, variances = distribution(prob).nan_to_num(), self._variances[strata]
        spread = _sample_variance(left, means, prob_sq)
        spread = torch.where((left > 1)[..., None], spread, variances) / several[..., None]
        of_mean = variances / self.counts[strata][:, None]
        mean = (whole.mean + _PART * shares[:, None] * (means - self._means[strata])).clamp_min(0)
        change = shares[:, None].square() * (spread - of_mean)
        return GivenMoments(
            mean=mean,
            log_mean=_log(mean, whole.log_prob),
            entropy=whole.entropy + _PART * shares * (entropy / several - self._entropies[strata]),
            log_prob=whole.log_prob,
            variance=(whole.variance + _PART * change).clamp_min(0),
            third=whole.third,
        )

    def _error(self, squares: Tensor) -> Error:
        """From v_h [S']."""
        groups, scale = self._groups_used, self._shares.square() / self.counts
        known = groups > 1
        squares = torch.where(known, squares, scale * (squares[known] / scale[known]).mean())
        variance = float(squares.sum())
        fourth = float((squares.square() / (groups.clamp_min(2) + 1)).sum())
        most = float((groups[known] - 1).sum())
        return Error(variance, max(1.0, min(most, variance**2 / fourth - 2)) if fourth > 0 else most)


def _sample_variance(counts: Tensor, means: Tensor, prob_sq: Tensor) -> Tensor:
    """Of p, [..., K], with the divisor N - 1."""
    several = counts.clamp_min(2)[..., None]
    return ((prob_sq / several - means.square()) * several / (several - 1)).clamp_min(0)


def _log(mean: Tensor, log_prob: Tensor) -> Tensor:
    return torch.where(mean > 0, mean.log(), log_prob)


def _sums_of_others(parts: Tensor) -> Tensor:
    """[B, ...], the sum of all parts but each one. Not the total less that one: where it is the bulk of a class, what
    is left would be rounding."""
    columns = parts.flatten(1) if parts.ndim > 1 else parts[:, None]
    some = columns.split(max(1, CACHED_VALUES // len(parts)), 1)
    return torch.cat([_before(part) + _before(part.flip(0)).flip(0) for part in some], 1).view(parts.shape)


def _before(parts: Tensor) -> Tensor:
    """[B, n], of each the sum of those before it."""
    return torch.cat([torch.zeros_like(parts[:1]), parts[:-1].cumsum(0)])
