"""The scores as functions of the moments of samples (:mod:`amgan_fast.metrics.moments`), less their bias too.

Corrected scores are less their bias to second order in 1/N, from Taylor's expansion about the expected m. With V and M
the second and third central moments of the estimate of m_k, expected values are (of sums over k)

    H(m) - sum V / (2 m) + sum (M / 6 - V^2 / (4 m)) / m^2

since the fourth is 3 V^2 but for higher orders. With the estimate V / (2 m) added, which itself is off by
-cov(V, m) / (2 m^2) + V^2 / (2 m^3) and has cov(V, m) = M, what is left is -sum (M / 3 - V^2 / (4 m)) / m^2; likewise
for KL(reference, m). First order alone is Miller's correction (1955), which is not enough for five samples a class.

How samples were drawn is in V and M alone. Drawn at random, V = mu2 / N and M = mu3 / N^2 with the central moments of
p_k over all samples. In strata of fixed numbers of samples N_h that have shares w_h,

    V = sum_h w_h^2 s2_h / N_h,    M = sum_h w_h^3 mu3_h / N_h^2,    cov(V, m) = M again,

with moments from within the strata: what strata differ by from one another adds nothing, since every repetition has as
many samples of each (:mod:`amgan_fast.metrics.designs`).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from amgan_fast.metrics.moments import Moments, RandomSample, ratio, some_at_a_time, with_samples
from amgan_fast.ops import ScoreSums

_ALIKE = 1e-6  # about twice log IS; of rounded float32 rows that are equal it is 1e-7
_ROUNDING = 1e-13  # of log IS, a difference of two entropies of some nats in float64
_MILLIONTH = 1e-6
_BY_CHANCE = 1e-9  # the probability that samples in random order are given
_FEW = 5  # where few samples of a class happen to meet in a set, which chi-square takes for less likely than it is


def log_inception_score(x: Moments) -> Tensor:
    """[...], H(m) - mean H(p) (Salimans et al., arXiv 1606.03498, section 4)."""
    return without_rounding(entropy_of_mean(x) - x.entropy)


def without_rounding(log_score: Tensor) -> Tensor:
    """0 in the place of what rounding leaves: samples that are all alike have an Inception Score of exactly 1."""
    return torch.where(log_score.abs() < _ROUNDING, 0.0, log_score)


def entropy_of_mean(x: Moments) -> Tensor:
    """[...], H(m)."""
    return torch.special.entr(x.mean).sum(-1)


def corrected_entropy_of_mean(x: Moments) -> Tensor:
    """[...], the same less its bias."""
    relative = ratio(x.variance, x.mean)
    second_order = ratio(x.third / 3 - relative * x.variance / 4, x.mean.square())
    return entropy_of_mean(x) + (relative / 2 + second_order).sum(-1)


def kl_reference(reference: Tensor, x: Moments) -> Tensor:
    """[...], KL(reference, m); infinite where the reference has a class to which every sample gives exactly 0.

    Summed from terms that are never negative, reference_k (t - log(1 + t)) with m_k = reference_k (1 + t), and m_k of
    the classes that the reference lacks: where the two distributions are close, the usual terms cancel.
    """
    hit = reference > 0
    known = reference[hit]
    t = (x.mean[..., hit] - known) / known
    log_ratio = torch.where(t.abs() < 0.5, t.log1p(), x.log_mean[..., hit] - known.log())
    return (known * (t - log_ratio)).sum(-1) + x.mean[..., ~hit].sum(-1)


def corrected_kl_reference(reference: Tensor, x: Moments) -> Tensor:
    """[...], the same less its bias."""
    relative = ratio(x.variance, x.mean.square())
    second_order = ratio(2 / 3 * x.third, x.mean**3) - 3 / 4 * relative.square()
    return kl_reference(reference, x) - (reference * (relative / 2 + second_order)).sum(-1)


def corrected_scores(reference: Tensor | None, bias_of_reference: float, x: Moments) -> dict[str, Tensor]:
    """Scores and their terms less their bias, [...] each; those that compare only with a reference, whose own sampling
    makes KL larger by as much on average."""
    found = {"entropy_of_mean": corrected_entropy_of_mean(x), "mean_entropy": x.entropy}
    found["log_inception_score"] = without_rounding(found["entropy_of_mean"] - x.entropy)
    if reference is not None:
        found["kl_reference"] = corrected_kl_reference(reference, x) - bias_of_reference
        found["am_score"] = found["kl_reference"] + x.entropy
    return found


def is_balanced_by_design(reference: Tensor, x: Moments) -> bool:
    """Whether m is closer to the reference than it is by chance one time in a million, if V is right: then it is not.

    KL(reference, m) is half a sum of squares, sum_k reference_k (dm_k / m_k)^2, with the expected value of
    sum_k reference_k V_k / m_k^2; its distribution is taken for that of chi-square with as many degrees of freedom as
    its terms make up by their shares, less one. Not of five classes or fewer, that may well come out equal.
    """
    from scipy.special import chdtr

    terms = reference * ratio(x.variance, x.mean.square())
    expected = float(terms.sum())
    freedom = expected**2 / float(terms.square().sum()) - 1 if expected > 0 else 0.0
    if not _FEW <= freedom < math.inf:
        return False
    return float(chdtr(freedom, freedom * 2 * float(kl_reference(reference, x)) / expected)) < _MILLIONTH


def am_score(reference: Tensor, x: Moments) -> Tensor:
    """[...], KL(reference, m) + mean H(p) (Zhou et al., arXiv 1703.02000, section 6.4)."""
    return kl_reference(reference, x) + x.entropy


def am_score_2017(reference: Tensor, x: Moments) -> Tensor:
    """[...], mean H(reference, p) - H(reference, m), with H(a, b) the cross-entropy: another score than the AM Score of
    2018, and higher is better (Zhou et al., "Inception Score, Label Smoothing, Gradient Vanishing and -log(D(x))
    Alternative", equation 5). Infinite where a class of the reference has p = 0 exactly."""
    hit = reference > 0
    return (reference[hit] * (x.log_mean[..., hit] - x.log_prob[..., hit])).sum(-1)


def mode_score(reference: Tensor, x: Moments) -> Tensor:
    """[...], exp(mean KL(p, reference) - KL(m, reference)), from its two terms: the Inception Score, as the identity
    of the same paper has it (Lemma 1). NaN where a class that the reference lacks makes both infinite."""
    cross_entropy = -torch.special.xlogy(x.mean, reference).sum(-1)  # mean H(p, reference) = H(m, reference)
    mean_kl = cross_entropy - x.entropy
    kl_of_mean = cross_entropy - entropy_of_mean(x)
    return (mean_kl - kl_of_mean).exp()


def dispersion(sets: ScoreSums) -> float | None:
    """How much more the class distributions of sets [S, ...] differ than those of samples dealt out at random would.

    Pearson's dispersion, chi-square over its degrees of freedom: sum_sk N_s (m_sk - m_k)^2 / m_k over what it is
    expected to be, (S - 1) N / (N - 1) sum_k mu2_k / m_k. For certain samples it is the chi-square of the table of sets
    and classes. About 1 in random order, less where every set is given its share of each class; N / (S - 1) where
    each set holds one class.

    None with fewer than two sets that hold samples, or where samples are as good as alike.
    """
    used = with_samples(sets)
    number = len(used.count)
    if number < 2:
        return None
    whole = used.total()
    x = RandomSample(whole)
    count = float(whole.count)
    by_chance = float(ratio(x.variance, x.mean).sum()) * count
    if by_chance < _ALIKE:
        return None
    off = sum(_square_distances(part, x.mean) for part in some_at_a_time(used))
    return off * (count - 1) / (count * (number - 1) * by_chance)


def _square_distances(sets: ScoreSums, mean: Tensor) -> float:
    """sum_sk N_s (m_sk - m_k)^2 / m_k"""
    off = (RandomSample(sets).mean - mean).square().mul(sets.count[:, None])
    return float(ratio(off, mean).sum())


def largest_dispersion_by_chance(sets: int) -> float:
    """What :func:`dispersion` of so many sets, at least 2, of samples in random order does not exceed: a quantile of
    chi-square, with the degrees of freedom that are left if all classes go together, and at least 5."""
    from scipy.special import chdtri

    return max(_FEW, float(chdtri(sets - 1, _BY_CHANCE)) / (sets - 1))
