"""Corrected scores, intervals and both 2017 scores against their formulas, written plainly in numpy and SciPy.

Intervals are compared with a loop that leaves out the samples of one block after the other.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
import scipy.special
import scipy.stats
import torch
from scipy.special import entr, rel_entr
from torch import Tensor

from amgan_fast.metrics import ScoreAccumulator, Scores, scores
from amgan_fast.metrics.moments import RandomSample
from amgan_fast.metrics.statistics import corrected_scores
from amgan_fast.ops import ScoreSums

K, N = 10, 503


@pytest.fixture
def logits(generator: torch.Generator) -> Tensor:
    return 2 * torch.randn(N, K, generator=generator, dtype=torch.float64)


@pytest.fixture
def reference(generator: torch.Generator) -> np.ndarray:
    weights = torch.rand(K, generator=generator, dtype=torch.float64).numpy()
    return weights / weights.sum()


def log_p_of(logits: Tensor) -> np.ndarray:
    return scipy.special.log_softmax(logits.double().numpy(), axis=1)


def moments(p: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Of every class: the mean, the second central moment, and the third that a Beta distribution with these has."""
    mean, variance = p.mean(0), p.var(axis=0)
    third = np.zeros_like(mean)
    for k in np.flatnonzero((variance > 0) & (mean < 1)):
        size = mean[k] * (1 - mean[k]) / variance[k] - 1
        if size < 1e-9:  # one-hot: Bernoulli
            third[k] = scipy.stats.bernoulli.stats(mean[k], moments="s") * variance[k] ** 1.5
        else:
            beta = scipy.stats.beta(mean[k] * size, (1 - mean[k]) * size)
            third[k] = beta.stats(moments="s") * variance[k] ** 1.5
    return mean, variance, third


def corrected_log_inception_score(log_p: np.ndarray) -> float:
    p, n = np.exp(log_p), len(log_p)
    mean, variance, third = moments(p)
    plain = entr(mean).sum() - entr(p).sum(1).mean()
    return plain + (variance / (2 * n * mean) + (third / 3 - variance**2 / (4 * mean)) / (n * mean) ** 2).sum()


def am_score(log_p: np.ndarray, reference: np.ndarray) -> float:
    p = np.exp(log_p)
    return rel_entr(reference, p.mean(0)).sum() + entr(p).sum(1).mean()


def corrected_am_score(log_p: np.ndarray, reference: np.ndarray) -> float:
    p, n = np.exp(log_p), len(log_p)
    mean, variance, third = moments(p)
    second_order = (2 * third / 3 - 3 * variance**2 / (4 * mean)) / (n**2 * mean**3)
    return am_score(log_p, reference) - (reference * (variance / (2 * n * mean**2) + second_order)).sum()


def jackknife(statistic: Callable[[np.ndarray], float], log_p: np.ndarray, blocks: int) -> tuple[float, float]:
    """Row i in block i mod blocks; the error of the mean entropy, which is a part of either score, on its own
    logarithmic scale (Zou and Donner 2008). Within what is possible: 1 to K, and above the least mean entropy."""
    of_row = np.arange(len(log_p)) % blocks
    used = sorted(set(of_row))

    def reach_of(statistic: Callable[[np.ndarray], float]) -> float:
        without = np.array([statistic(log_p[of_row != block]) for block in used])
        error = math.sqrt((len(used) - 1) / len(used) * ((without - without.mean()) ** 2).sum())
        return scipy.stats.t.ppf(0.975, len(used) - 1) * error

    middle, reach = statistic(log_p), reach_of(statistic)
    mean_entropy, reach_of_entropy = entropy_of_rows(log_p), reach_of(entropy_of_rows)
    rest, shrunk = max(reach**2 - reach_of_entropy**2, 0), min(1, reach / reach_of_entropy)
    ratio = math.exp(reach_of_entropy / mean_entropy)
    sides = mean_entropy * (1 - 1 / ratio), mean_entropy * (ratio - 1)
    below, above = (math.hypot(shrunk * side, math.sqrt(rest)) for side in sides)
    if statistic is corrected_log_inception_score:
        return max(middle - above, 0), min(middle + below, math.log(log_p.shape[1]))
    return max(middle - below, mean_entropy / ratio), middle + above


def entropy_of_rows(log_p: np.ndarray) -> float:
    return float(entr(np.exp(log_p)).sum(1).mean())


@pytest.mark.parametrize(("rows", "blocks"), [(N, 100), (N, 10), (47, 100), (2, 100), (20, 20)])
def test_corrected_scores_and_intervals(logits, reference, rows, blocks):
    logits = logits[:rows]
    log_p = log_p_of(logits)
    got = scores(logits, reference, blocks=blocks)
    low, high = jackknife(corrected_log_inception_score, log_p, blocks)
    assert got.inception_score_corrected == pytest.approx(math.exp(corrected_log_inception_score(log_p)), rel=1e-12)
    assert got.inception_score_ci95 == pytest.approx((math.exp(low), math.exp(high)), rel=1e-10)
    assert got.am_score_corrected == pytest.approx(corrected_am_score(log_p, reference), rel=1e-12)
    want = jackknife(lambda kept: corrected_am_score(kept, reference), log_p, blocks)
    assert got.am_score_ci95 == pytest.approx(want, rel=1e-10)
    assert got.blocks == min(rows, blocks)


@pytest.mark.parametrize("certain", [40.0, 200.0, 1e4])
def test_a_class_that_one_block_alone_hits(certain, reference, generator):
    """What is left of it in the others must not drown in the rounding of a difference."""
    logits = torch.zeros(200, K, dtype=torch.float64)
    logits[torch.arange(200), torch.arange(200) % (K - 1)] = 5
    logits[:, K - 1] = -35 + 4 * torch.randn(200, generator=generator, dtype=torch.float64)
    logits[7, K - 1] = certain
    got = scores(logits, reference)
    want = jackknife(lambda log_p: corrected_am_score(log_p, reference), log_p_of(logits), 100)
    assert got.am_score_ci95 == pytest.approx(want, rel=1e-10)
    low, high = jackknife(corrected_log_inception_score, log_p_of(logits), 100)
    assert got.inception_score_ci95 == pytest.approx((math.exp(low), math.exp(high)), rel=1e-10)


def test_certain_rows_that_miss_a_class_when_a_block_is_left_out():
    labels = torch.arange(200) % 9
    labels[7] = 9
    p = torch.nn.functional.one_hot(labels, K).double()
    got = scores(p, from_logits=False)
    with np.errstate(divide="ignore", invalid="ignore"):
        counts = np.array([np.bincount(labels[np.arange(200) % 100 != b], minlength=K) for b in range(100)])
    mean = counts / counts.sum(1, keepdims=True)
    n, hit = counts.sum(1, keepdims=True), mean > 0
    first_order = (hit * (1 - mean) / (2 * n)).sum(1)
    third_less_fourth = mean * (1 - mean) * (1 - 2 * mean) / 3 - mean * (1 - mean) ** 2 / 4
    second_order = np.divide(third_less_fourth, (n * mean) ** 2, where=hit, out=np.zeros_like(mean)).sum(1)
    without = entr(mean).sum(1) + first_order + second_order
    reach = scipy.stats.t.ppf(0.975, 99) * math.sqrt(99 * without.var())
    middle = math.log(got.inception_score_corrected)
    wanted = math.exp(middle - reach), min(math.exp(middle + reach), K)
    assert got.inception_score_ci95 == pytest.approx(wanted, rel=1e-10)


def test_intervals_that_do_not_exist(logits, reference):
    got = scores(logits, reference, blocks=1, splits=1)
    assert (got.inception_score_ci95, got.am_score_ci95, got.blocks) == (None, None, 1)
    assert scores(logits[:1], reference).inception_score_ci95 is None
    labels = torch.arange(40) % (K - 1)
    never = scores(torch.nn.functional.one_hot(labels, K).double(), reference, from_logits=False)
    assert (never.am_score, never.am_score_corrected, never.am_score_ci95) == (math.inf, math.inf, None)
    assert never.inception_score_ci95 is not None
    assert "no interval" in str(never)
    labels[3] = K - 1  # without its block the AM Score is infinite
    once = scores(torch.nn.functional.one_hot(labels, K).double(), reference, from_logits=False)
    assert math.isfinite(once.am_score)
    assert once.am_score_ci95 is None


def test_mode_score_from_explicit_divergences(logits, reference):
    p = np.exp(log_p_of(logits))
    want = math.exp(rel_entr(p, reference).sum(1).mean() - rel_entr(p.mean(0), reference).sum())
    got = scores(logits, reference)
    assert got.mode_score == pytest.approx(want, rel=1e-12)
    assert got.mode_score == pytest.approx(got.inception_score, rel=1e-12)


def test_am_score_of_2017_from_log_softmax(logits, reference):
    log_p = log_p_of(logits)
    of_samples = -(reference * log_p).sum(1).mean()
    of_mean = -(reference * np.log(np.exp(log_p).mean(0))).sum()
    assert scores(logits, reference).am_score_2017 == pytest.approx(of_samples - of_mean, rel=1e-12)


def test_a_class_that_the_reference_lacks_makes_the_mode_score_undefined(logits):
    got = scores(logits, [0.0] + [1 / (K - 1)] * (K - 1))
    assert math.isnan(got.mode_score)
    assert math.isfinite(got.am_score)
    assert math.isfinite(got.am_score_2017)


def test_a_class_whose_mean_underflows():
    logits = torch.zeros(1000, 2, dtype=torch.float64)
    logits[:, 1] = -1e4
    logits[0, 1] = -744  # p = 4.9e-324, the least there is
    got = scores(logits, [0.5, 0.5])
    assert got.kl_reference == pytest.approx(math.log(0.5) + 0.5 * (744 + math.log(1000)), rel=1e-3)


def test_corrections_remove_the_bias_of_certain_rows(generator):
    """The expectation over many draws, beside the plain one: class frequencies of 200 labels, K = 10."""

    def mean_over_draws(field: Callable[[Scores], float]) -> float:
        return float(np.mean([field(one) for one in draws]))

    draws = []
    for _ in range(400):
        labels = torch.randint(K, (200,), generator=generator)
        rows = torch.nn.functional.one_hot(labels, K).double()
        accumulator = ScoreAccumulator(K, blocks=2, splits=1)
        accumulator.update(rows, from_logits=False)
        draws.append(accumulator.compute([1 / K] * K))
    plain = mean_over_draws(lambda one: math.log(one.inception_score))
    corrected = mean_over_draws(lambda one: one.estimates["log_inception_score"].value)  # not limited to K
    assert plain - math.log(K) == pytest.approx(-(K - 1) / 400, rel=0.15)
    assert abs(corrected - math.log(K)) < 0.1 * (K - 1) / 400
    plain = mean_over_draws(lambda one: one.am_score)
    corrected = mean_over_draws(lambda one: one.estimates["am_score"].value)
    assert plain == pytest.approx((K - 1) / 400, rel=0.15)
    assert abs(corrected) < 0.15 * (K - 1) / 400


def test_of_five_samples_a_class_the_second_order_counts(generator):
    """Means over draws of what is known without error beside the entropy of samples: H(m) = log K, and KL = 0."""
    classes, rows = 50, 250
    uniform = torch.full((classes,), 1 / classes, dtype=torch.float64)
    hits = torch.multinomial(uniform, 4000 * rows, replacement=True, generator=generator).view(4000, rows)
    certain = torch.stack([(hits == k).sum(1) for k in range(classes)], 1).double()
    none, count = torch.zeros(4000, dtype=torch.float64), torch.full((4000,), rows, dtype=torch.float64)
    one_hot = ScoreSums(count, none, certain, certain, certain)
    concentration = torch.full((1500 * rows, classes), 0.02, dtype=torch.float64)
    p = torch._sample_dirichlet(concentration, generator).clamp_min(1e-300).view(1500, rows, classes)
    dirichlet = ScoreSums(count[:1500], none[:1500], p.sum(1), p.square().sum(1), p.log().sum(1))
    errors = {
        "one-hot": (corrected_scores(None, 0, RandomSample(one_hot))["log_inception_score"] - math.log(classes)).mean(),
        "dirichlet": (
            corrected_scores(None, 0, RandomSample(dirichlet))["log_inception_score"] - math.log(classes)
        ).mean(),
        "dirichlet, KL": corrected_scores(uniform, 0, RandomSample(dirichlet))["am_score"].mean(),
    }
    # Of the first order alone they are -0.0057, -0.0028 and 0.0028, with standard errors of 0.0003 at most.
    limits = {"one-hot": 0.003, "dirichlet": 0.002, "dirichlet, KL": 0.002}
    assert all(abs(float(errors[name])) < limit for name, limit in limits.items()), errors


def certain_logits(labels: Tensor, generator: torch.Generator) -> Tensor:
    logits = torch.randn(len(labels), K, generator=generator, dtype=torch.float64)
    return logits + 9 * torch.nn.functional.one_hot(labels, K)


def test_numbers_per_class_that_were_fixed_show_without_labels(generator):
    fixed = scores(certain_logits(torch.arange(360).sort().values % K, generator), [1 / K] * K)
    assert fixed.balanced_by_design
    assert any("numbers of samples per class were fixed" in text for text in fixed.warnings)
    labels = torch.arange(360) % K
    known = scores(certain_logits(labels, generator), [1 / K] * K, strata=labels)
    assert not any("were fixed" in text for text in known.warnings)


def test_samples_drawn_at_random_are_not_taken_for_a_fixed_number_per_class(generator):
    for _ in range(200):
        drawn = scores(certain_logits(torch.randint(K, (360,), generator=generator), generator), [1 / K] * K)
        assert not drawn.balanced_by_design


def test_samples_that_are_all_alike_have_an_inception_score_of_exactly_1(generator):
    row = torch.randn(K, generator=generator)
    for logits in (row.repeat(503, 1), row.repeat(503, 1).double()):
        got = scores(logits.split(37))
        assert (got.inception_score, got.inception_score_corrected, got.inception_score_ci95) == (1, 1, (1, 1))
