"""The scores as functions of score sums, with what their bias is and how far off they may be.

Every function takes sums of any number of sets at once: ``count`` and ``entropy`` [...], ``prob``, ``prob_sq`` and
``log_prob`` [..., K], float64. With N = count, m = prob / N the mean class distribution, H the entropy in nats.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from scipy.special import stdtrit
from torch import Tensor

from amgan_fast.ops import ScoreSums

Statistic = Callable[[ScoreSums], Tensor]


def log_inception_score(sums: ScoreSums) -> Tensor:
    """[...], H(m) - mean H(p) (Salimans et al., arXiv 1606.03498, section 4)."""
    entropy_of_mean = torch.special.entr(sums.prob / sums.count[..., None]).sum(-1)
    return entropy_of_mean - sums.entropy / sums.count


def corrected_log_inception_score(sums: ScoreSums) -> Tensor:
    """[...], the same less its bias to first order: H(m) is too low by half the variance of m over m."""
    mean, variance = _mean_and_variance(sums)
    return log_inception_score(sums) + _ratio(variance, mean).sum(-1) / 2


def kl_reference(reference: Tensor, sums: ScoreSums) -> Tensor:
    """[...], KL(reference, m); infinite where the reference has a class to which every sample gives exactly 0."""
    hit = reference > 0
    log_mean = _log_mean(sums)
    return (reference[hit] * (reference[hit].log() - log_mean[..., hit])).sum(-1)


def am_score(reference: Tensor, sums: ScoreSums) -> Tensor:
    """[...], KL(reference, m) + mean H(p) (Zhou et al., arXiv 1703.02000, section 6.4)."""
    return kl_reference(reference, sums) + sums.entropy / sums.count


def corrected_am_score(reference: Tensor, sums: ScoreSums) -> Tensor:
    """[...], the same less its bias to first order."""
    mean, variance = _mean_and_variance(sums)
    return am_score(reference, sums) - (reference * _ratio(variance, mean.square())).sum(-1) / 2


def am_score_2017(reference: Tensor, sums: ScoreSums) -> Tensor:
    """[...], mean H(reference, p) - H(reference, m), with H(a, b) the cross-entropy: another score than the AM Score of
    2018, and higher is better (Zhou et al., "Inception Score, Label Smoothing, Gradient Vanishing and -log(D(x))
    Alternative", equation 5). Infinite where a class of the reference has p = 0 exactly."""
    hit = reference > 0
    return (reference[hit] * (_log_mean(sums)[..., hit] - (sums.log_prob / sums.count[..., None])[..., hit])).sum(-1)


def mode_score(reference: Tensor, sums: ScoreSums) -> Tensor:
    """[...], exp(mean KL(p, reference) - KL(m, reference)), from its two terms: the Inception Score, as the identity
    of the same paper has it (Lemma 1). NaN where a class that the reference lacks makes both infinite."""
    mean = sums.prob / sums.count[..., None]
    cross_entropy = -torch.special.xlogy(mean, reference).sum(-1)  # mean H(p, reference) = H(m, reference)
    mean_kl = cross_entropy - sums.entropy / sums.count
    kl_of_mean = cross_entropy - torch.special.entr(mean).sum(-1)
    return (mean_kl - kl_of_mean).exp()


def interval(statistic: Statistic, blocks: ScoreSums) -> tuple[float, float] | None:
    """The 95% interval of statistic(all): Tukey's jackknife, which leaves out each of the blocks [B, ...] in turn, and
    the t distribution of B - 1 degrees of freedom.

    None with fewer than two blocks that hold samples, or where the statistic is not finite.
    """
    used = ScoreSums(*(x[blocks.count > 0] for x in blocks))
    count = len(used.count)
    if count < 2:
        return None
    whole = ScoreSums(*(x.sum(0) for x in used))
    scores = statistic(ScoreSums(*map(_sums_of_others, used)))
    error = float((scores.var(correction=0) * (count - 1)).sqrt())
    middle, reach = float(statistic(whole)), error * float(stdtrit(count - 1, 0.975))
    return (middle - reach, middle + reach) if math.isfinite(middle) and math.isfinite(reach) else None


def _sums_of_others(parts: Tensor) -> Tensor:
    """[B, ...], the sum of all parts but each one. Not the total less that one: where it is the bulk of a class, what
    is left would be rounding."""
    none = torch.zeros_like(parts[:1])
    before = torch.cat([none, parts[:-1].cumsum(0)])
    after = torch.cat([parts[1:].flip(0).cumsum(0).flip(0), none])
    return before + after


def _log_mean(sums: ScoreSums) -> Tensor:
    # Where even the sum of p_k underflows, the mean of log p_k stands for log m_k: finite, and below it (Jensen).
    count = sums.count[..., None]
    return torch.where(sums.prob > 0, sums.prob.log() - count.log(), sums.log_prob / count)


def _mean_and_variance(sums: ScoreSums) -> tuple[Tensor, Tensor]:
    """m, and an estimate of its variance, [..., K]."""
    count = sums.count[..., None]
    mean = sums.prob / count
    return mean, ((sums.prob_sq / count - mean.square()) / count).clamp_min(0)


def _ratio(a: Tensor, b: Tensor) -> Tensor:
    """a / b, 0 where no sample has the class."""
    return torch.where(b > 0, a / b, 0.0)
