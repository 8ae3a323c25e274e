"""The largest of several means, without what picking the largest adds to it."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from amgan_fast.metrics.estimate import Estimate

_LEAST_NOISE = 1 / 20  # of the largest: what the grid can resolve
_REACH = 6  # standard deviations
_STEPS = 8  # of the grid, in the least standard deviation


def largest_mean(means: Sequence[Estimate]) -> Estimate:
    """An estimate of the mean of the group that half of the observations would choose for its having the largest one.

    The largest of several estimates is too large on average: being picked, its error is more likely above 0 than
    below. What does not have that bias is the mean of the group in one half of the observations, chosen on the other
    half. The expected value is then an average of the true means, and so at most the largest of them; how far below it
    is depends on how well half of the observations tell the groups apart. It is the double estimator of van Hasselt,
    arXiv 1302.7175 (and "Double Q-learning", NIPS 2010), here averaged over all ways to halve, so that nothing depends
    on a draw.

    That average needs no halves. Of an estimate x_c with standard error s_c, taken for normal, x_c + e_c and x_c - e_c
    with e_c drawn from N(0, s_c^2) are independent and each as good as half of the observations (data fission: Leiner
    et al., arXiv 2112.11079). With p_c the probability that x_c + e_c is the largest, it is by Stein's lemma

        T = sum_c p_c x_c - sum_c s_c^2 dp_c/dx_c,

    and the expected square of T less sum_c p_c theta_c, with theta_c the true means, is that of

        sum_c s_c^2 p_c^2 + sum_cd s_c^2 s_d^2 (dp_c/dx_d)^2

    (Stein, "Estimation of the mean of a multivariate normal distribution", 1981; Bellec and Zhang, "Second-order
    Stein", arXiv 1811.04121, theorem 2.1). Degrees of freedom are Satterthwaite's, each term those of its s_c. Where
    one group stands out, this is its mean with its error; T is never above the largest x_c.

    e_c is taken to have a twentieth of the largest standard error at least. The identities hold for any.

    Args:
        means: of the groups, independent of each other; those without a standard error are left out.

    Returns:
        NaN without a standard error where no mean has one.

    >>> from amgan_fast.metrics import Estimate
    >>> from amgan_fast.metrics.largest_mean import largest_mean
    >>> alike = [Estimate(value, 0.01, 99.0) for value in (0.80, 0.81, 0.82)]
    >>> round(largest_mean(alike).value, 3)
    0.811
    >>> round(largest_mean([*alike, Estimate(0.95, 0.01, 99.0)]).value, 3)
    0.95
    """
    known = [mean for mean in means if mean.standard_error is not None]
    if not known:
        return Estimate(math.nan, None, None)
    rows = [(mean.value, mean.standard_error, mean.degrees_of_freedom) for mean in known]
    value, error, freedom = torch.tensor(rows, dtype=torch.float64).T
    if not error.any():
        return max(known, key=lambda mean: mean.value)
    chosen, slope = _probabilities(value, error.clamp_min(error.max() * _LEAST_NOISE))
    variance = error.square()
    parts = variance * (chosen.square() + slope.square() @ variance)
    total = parts.sum()
    shares = parts / total if total > 0 else chosen
    return Estimate(
        value=float(chosen @ value - variance @ slope.diagonal()),
        standard_error=float(total.sqrt()),
        degrees_of_freedom=float(1 / (shares.square() / freedom).sum()),
    )


def _probabilities(value: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
    """p [C], that value + noise * N(0, 1) is the largest, and dp_c/dvalue_d [C, C].

    With F_c the distribution function of the c-th and f_c its density, p_c is the integral of f_c prod_{d != c} F_d,
    and dp_c/dvalue_d that of -f_c f_d prod_{e != c, d} F_e. Both are summed over one grid, outside of which either the
    product or every density is below 1e-8: sums of such smooth functions are as good as exact.
    """
    low, high = (float((value + side * _REACH * noise).max()) for side in (-1, 1))
    count = math.ceil((high - low) / float(noise.min()) * _STEPS) + 1
    grid = torch.linspace(low, high, count, dtype=torch.float64)
    z = (grid[:, None] - value) / noise
    log_below = torch.special.log_ndtr(z)
    density = (-z.square() / 2 - log_below).exp() / (math.sqrt(2 * math.pi) * noise)  # f / F
    weight = log_below.sum(1).exp() * (grid[1] - grid[0])
    chosen = weight @ density
    slope = -(density * weight[:, None]).mT @ density
    slope.fill_diagonal_(0)
    slope -= slope.sum(1).diag()
    return chosen / chosen.sum(), slope
