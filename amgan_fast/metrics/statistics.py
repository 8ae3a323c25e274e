"""The scores as functions of score sums, with what their bias is and how far off they may be.

Every function takes sums of any number of sets at once: ``count`` and ``entropy`` [...], ``prob``, ``prob_sq`` and
``log_prob`` [..., K], float64. With N = count, m = prob / N the mean class distribution, H the entropy in nats.

Corrected scores are less their bias to second order in 1/N, from Taylor's expansion about the expected m. With mu2 and
mu3 the central moments of p_k over the samples, expected values are (of sums over k)

    H(m) - sum mu2 / (2 N m) + sum (mu3 / 6 - mu2^2 / (4 m)) / (N m)^2

and with the estimate mu2 / (2 N m) added, what is left is - sum (mu3 / 3 - mu2^2 / (4 m)) / (N m)^2; likewise for
KL(reference, m). First order alone is Miller's correction (1955), which is not enough for five samples a class. Sums
hold no mu3: it is taken to be that of a Beta distribution with this m and mu2, which is exact for p that is constant,
one-hot, or Dirichlet.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from amgan_fast.ops import ScoreSums

Statistic = Callable[[ScoreSums], Tensor]

_ALIKE = 1e-6  # about twice log IS; of rounded float32 rows that are equal it is 1e-7
_BY_CHANCE = 1e-9  # the probability that samples in random order are given
_FEW = 5  # where few samples of a class happen to meet in a set, which chi-square takes for less likely than it is


def mean_distribution(sums: ScoreSums) -> Tensor:
    """[..., K], m. Divided by its own sum instead of by N, which is the same but for rounding: what p of float32 rows
    err by has a common part, which this takes out."""
    return sums.prob / sums.prob.sum(-1, keepdim=True)


def log_inception_score(sums: ScoreSums) -> Tensor:
    """[...], H(m) - mean H(p) (Salimans et al., arXiv 1606.03498, section 4)."""
    return torch.special.entr(mean_distribution(sums)).sum(-1) - sums.entropy / sums.count


def corrected_log_inception_score(sums: ScoreSums) -> Tensor:
    """[...], the same less its bias."""
    mean, variance = _mean_and_variance(sums)
    relative, skew = _ratio(variance, mean), _skew(sums, mean, variance)
    second_order = _ratio(relative.square(), mean) * (2 / 3 * skew - 1 / 4)
    return log_inception_score(sums) + (relative / 2 + second_order).sum(-1)


def kl_reference(reference: Tensor, sums: ScoreSums) -> Tensor:
    """[...], KL(reference, m); infinite where the reference has a class to which every sample gives exactly 0.

    Summed from terms that are never negative, reference_k (t - log(1 + t)) with m_k = reference_k (1 + t), and m_k of
    the classes that the reference lacks: where the two distributions are close, the usual terms cancel.
    """
    hit = reference > 0
    mean, log_mean, known = mean_distribution(sums), _log_mean(sums)[..., hit], reference[hit]
    t = (mean[..., hit] - known) / known
    log_ratio = torch.where(t.abs() < 0.5, t.log1p(), log_mean - known.log())
    return (known * (t - log_ratio)).sum(-1) + mean[..., ~hit].sum(-1)


def am_score(reference: Tensor, sums: ScoreSums) -> Tensor:
    """[...], KL(reference, m) + mean H(p) (Zhou et al., arXiv 1703.02000, section 6.4)."""
    return kl_reference(reference, sums) + sums.entropy / sums.count


def corrected_am_score(reference: Tensor, sums: ScoreSums) -> Tensor:
    """[...], the same less its bias."""
    mean, variance = _mean_and_variance(sums)
    relative, skew = _ratio(variance, mean), _skew(sums, mean, variance)
    second_order = _ratio(relative, mean).square() * (4 / 3 * skew - 3 / 4)
    return am_score(reference, sums) - (reference * (_ratio(relative, mean) / 2 + second_order)).sum(-1)


def am_score_2017(reference: Tensor, sums: ScoreSums) -> Tensor:
    """[...], mean H(reference, p) - H(reference, m), with H(a, b) the cross-entropy: another score than the AM Score of
    2018, and higher is better (Zhou et al., "Inception Score, Label Smoothing, Gradient Vanishing and -log(D(x))
    Alternative", equation 5). Infinite where a class of the reference has p = 0 exactly."""
    hit = reference > 0
    return (reference[hit] * (_log_mean(sums)[..., hit] - (sums.log_prob / sums.count[..., None])[..., hit])).sum(-1)


def mode_score(reference: Tensor, sums: ScoreSums) -> Tensor:
    """[...], exp(mean KL(p, reference) - KL(m, reference)), from its two terms: the Inception Score, as the identity
    of the same paper has it (Lemma 1). NaN where a class that the reference lacks makes both infinite."""
    mean = mean_distribution(sums)
    cross_entropy = -torch.special.xlogy(mean, reference).sum(-1)  # mean H(p, reference) = H(m, reference)
    mean_kl = cross_entropy - sums.entropy / sums.count
    kl_of_mean = cross_entropy - torch.special.entr(mean).sum(-1)
    return (mean_kl - kl_of_mean).exp()


def interval(statistic: Statistic, blocks: ScoreSums) -> tuple[float, float] | None:
    """The 95% interval of statistic(all): Tukey's jackknife, which leaves out each of the blocks [B, ...] in turn, and
    the t distribution of B - 1 degrees of freedom.

    None with fewer than two blocks that hold samples, or where the statistic is not finite.
    """
    from scipy.special import stdtrit

    used = blocks.map(lambda x: x[blocks.count > 0])
    count = len(used.count)
    if count < 2:
        return None
    whole = used.total()
    scores = statistic(used.map(_sums_of_others))
    error = float((scores.var(correction=0) * (count - 1)).sqrt())
    middle, reach = float(statistic(whole)), error * float(stdtrit(count - 1, 0.975))
    return (middle - reach, middle + reach) if math.isfinite(middle) and math.isfinite(reach) else None


def dispersion(sets: ScoreSums) -> float | None:
    """How much more the class distributions of sets [S, ...] differ than those of samples dealt out at random would.

    Pearson's dispersion, chi-square over its degrees of freedom: sum_sk N_s (m_sk - m_k)^2 / m_k over what it is
    expected to be, (S - 1) N / (N - 1) sum_k mu2_k / m_k. For certain samples it is the chi-square of the table of sets
    and classes. About 1 in random order, less where every set is given its share of each class; N / (S - 1) where
    each set holds one class.

    None with fewer than two sets that hold samples, or where samples are as good as alike.
    """
    used = sets.map(lambda x: x[sets.count > 0])
    number = len(used.count)
    if number < 2:
        return None
    whole = used.total()
    mean, variance = _mean_and_variance(whole)
    count = float(whole.count)
    by_chance = float(_ratio(variance, mean).sum()) * count
    if by_chance < _ALIKE:
        return None
    off = (mean_distribution(used) - mean).square().mul(used.count[:, None])
    return float(_ratio(off, mean).sum()) * (count - 1) / (count * (number - 1) * by_chance)


def largest_dispersion_by_chance(sets: int) -> float:
    """What :func:`dispersion` of so many sets, at least 2, of samples in random order does not exceed: a quantile of
    chi-square, with the degrees of freedom that are left if all classes go together, and at least 5."""
    from scipy.special import chdtri

    return max(_FEW, float(chdtri(sets - 1, _BY_CHANCE)) / (sets - 1))


def _sums_of_others(parts: Tensor) -> Tensor:
    """[B, ...], the sum of all parts but each one. Not the total less that one: where it is the bulk of a class, what
    is left would be rounding."""
    none = torch.zeros_like(parts[:1])
    before = torch.cat([none, parts[:-1].cumsum(0)])
    after = torch.cat([parts[1:].flip(0).cumsum(0).flip(0), none])
    return before + after


def _log_mean(sums: ScoreSums) -> Tensor:
    # Where even the sum of p_k underflows, the mean of log p_k stands for log m_k: finite, and below it (Jensen).
    log_mean = sums.prob.log() - sums.prob.sum(-1, keepdim=True).log()
    return torch.where(sums.prob > 0, log_mean, sums.log_prob / sums.count[..., None])


def _mean_and_variance(sums: ScoreSums) -> tuple[Tensor, Tensor]:
    """m, and an estimate of its variance, mu2 / N, [..., K]."""
    count, mean = sums.count[..., None], mean_distribution(sums)
    return mean, ((sums.prob_sq / count - mean.square()) / count).clamp_min(0)


def _skew(sums: ScoreSums, mean: Tensor, variance: Tensor) -> Tensor:
    """mu3 m / (2 mu2^2) of Beta distributions, [..., K]."""
    return _ratio(1 - 2 * mean, 1 - mean + _ratio(variance * sums.count[..., None], mean))


def _ratio(a: Tensor, b: Tensor) -> Tensor:
    """a / b, 0 where b is 0: where no sample has the class, or every one has no other."""
    return torch.where(b > 0, a / b, 0.0)
