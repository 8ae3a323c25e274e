"""The difference of two models: against SciPy, by simulation, and where chance has no part in it."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
import scipy.stats
import torch
from torch import Tensor

from amgan_fast.metrics import Difference, Estimate, Scores, difference, scores, welch, without_score_warnings

K = 6
SCORES = ("am_score", "kl_reference", "mean_entropy", "inception_score", "entropy_of_mean")
UNIFORM = [1 / K] * K


def logits(count: int, certainty: float, generator: torch.Generator) -> Tensor:
    return certainty * torch.randn(count, K, generator=generator, dtype=torch.float64)


def unequal(count: int, certainty: float, generator: torch.Generator) -> Tensor:
    """Of classes of unequal frequency."""
    return logits(count, certainty, generator) + torch.linspace(0, 1.5, K)


def one_hot(labels: Tensor) -> Scores:
    with without_score_warnings():
        return scores(torch.nn.functional.one_hot(labels, K).double(), UNIFORM, from_logits=False)


@pytest.fixture
def pair(generator) -> tuple[Scores, Scores]:
    return scores(unequal(900, 3.0, generator), UNIFORM), scores(unequal(400, 2.5, generator), UNIFORM)


@pytest.mark.parametrize(("sizes", "spreads"), [((12, 12), (1.0, 1.0)), ((5, 40), (3.0, 1.0)), ((40, 5), (0.1, 7.0))])
def test_of_means_it_is_welchs_test(sizes, spreads):
    random = np.random.default_rng(sum(sizes))
    first, second = (random.normal(0.5, spread, size) for size, spread in zip(sizes, spreads, strict=True))
    want = scipy.stats.ttest_ind(first, second, equal_var=False)
    got = welch(*(Estimate(x.mean(), scipy.stats.sem(x), len(x) - 1) for x in (first, second)))
    assert got.p_value == pytest.approx(want.pvalue, rel=1e-10)
    assert got.degrees_of_freedom == pytest.approx(want.df, rel=1e-10)
    assert got.interval == pytest.approx(tuple(want.confidence_interval()), rel=1e-10)


def test_every_value_is_the_first_less_the_second(pair):
    found, (first, second) = difference(*pair), pair
    assert (found.n, found.num_classes) == ((900, 400), K)
    assert found.inception_score.value == pytest.approx(
        first.inception_score_corrected - second.inception_score_corrected
    )
    assert found.am_score.value == pytest.approx(first.am_score_corrected - second.am_score_corrected)
    assert found.mean_entropy.value == pytest.approx(first.mean_entropy - second.mean_entropy)
    assert found.kl_reference.value + found.mean_entropy.value == pytest.approx(found.am_score.value)
    reversed_ = difference(second, first)
    for name in SCORES:
        one, other = getattr(found, name), getattr(reversed_, name)
        assert (one.value, one.p_value) == (-other.value, other.p_value)


def test_the_error_of_mean_entropy_is_that_of_a_mean(generator):
    """Of independent rows: the standard errors of two means."""
    rows = [logits(2000, 3.0, generator), logits(1000, 2.5, generator)]
    found = difference(*(scores(x) for x in rows)).mean_entropy
    entropies = [torch.special.entr(x.softmax(1)).sum(1).numpy() for x in rows]
    want = math.hypot(*(scipy.stats.sem(x) for x in entropies))
    assert found.value == pytest.approx(entropies[0].mean() - entropies[1].mean())
    assert found.standard_error == pytest.approx(want, rel=0.2)  # from 100 blocks each


def test_the_error_of_the_inception_score_is_that_of_its_logarithm_times_it(pair):
    found = difference(*pair).inception_score
    parts = [one.inception_score_corrected * one.estimates["log_inception_score"].standard_error for one in pair]
    assert found.standard_error == pytest.approx(math.hypot(*parts))


@pytest.mark.parametrize(
    ("sizes", "repetitions"), [((150, 450), 150), pytest.param((300, 300), 2000, marks=pytest.mark.slow)]
)
def test_of_one_model_p_is_uniform_and_of_two_the_interval_holds_their_difference(sizes, repetitions, generator):
    """Counts are binomial. Classes are not as frequent as in the reference: where they are, p of KL is too large."""
    truth = difference(*(scores(unequal(100_000, certainty, generator), UNIFORM) for certainty in (3.0, 2.0)))
    below, missed = np.zeros(len(SCORES)), np.zeros(len(SCORES))
    for _ in range(repetitions):
        first, again, less_certain = (
            scores(unequal(size, certainty, generator), UNIFORM, blocks=20)
            for size, certainty in ((sizes[0], 3.0), (sizes[1], 3.0), (sizes[1], 2.0))
        )
        null, found = difference(first, again), difference(first, less_certain)
        below += [getattr(null, name).p_value < 0.05 for name in SCORES]
        intervals = [getattr(found, name).interval for name in SCORES]
        missed += [
            not low <= getattr(truth, name).value <= high for name, (low, high) in zip(SCORES, intervals, strict=True)
        ]
    least, most = scipy.stats.binom(repetitions, 0.05).ppf([1e-5, 1 - 1e-5])
    assert all((least <= below) & (below <= most)), below / repetitions
    assert all((least <= missed) & (missed <= most)), missed / repetitions


def test_of_the_same_samples_the_difference_is_nothing_and_there_is_a_warning(pair, generator):
    found = difference(pair[0], pair[0])
    assert all((getattr(found, name).value, getattr(found, name).p_value) == (0, 1) for name in SCORES)
    assert found.same_samples
    (text,) = found.warnings
    assert "the same samples" in text
    assert text in str(found)
    again = scores(logits(900, 3.0, generator), UNIFORM)
    assert difference(pair[0], again).warnings == ()
    shuffled = logits(900, 3.0, generator)
    order = torch.randperm(900, generator=generator)
    assert difference(scores(shuffled), scores(shuffled[order])).same_samples


def test_of_certain_samples_nothing_tells_whether_they_are_the_same():
    assert difference(one_hot(torch.arange(120) % K), one_hot(torch.arange(120) % K)).warnings == ()


def test_where_there_is_no_error_rounding_is_all_there_is():
    """One-hot rows have no entropy, and those in turn no variance from block to block."""
    first, second = one_hot(torch.arange(100 * K) % K), one_hot(torch.arange(300 * K) % K)
    found = difference(first, second)
    assert (found.mean_entropy.value, found.mean_entropy.p_value) == (0, 1)
    assert found.mean_entropy.texts() == ["+0.0000", "+0.0000 to +0.0000", "1"]
    exact, same, off = Estimate(math.log(10), 0.0, 99), Estimate(math.log(10) + 4e-16, 1e-17, 99), Estimate(2.3, 0.0, 9)
    assert welch(exact, same).p_value == 1
    settled = welch(exact, off)
    assert settled.p_value < 1e-12
    assert settled.interval == pytest.approx((math.log(10) - 2.3,) * 2)
    one_sided = welch(Estimate(1.0, 0.0, 99), Estimate(1.1, 0.1, 7))
    assert one_sided.degrees_of_freedom == pytest.approx(7)


def test_what_has_no_error_or_is_infinite_has_no_difference(pair, generator):
    lonely = scores(logits(60, 3.0, generator), UNIFORM, blocks=1, splits=1)
    found = difference(pair[0], lonely)
    assert all(getattr(found, name) is None for name in SCORES)
    assert found.rows() == []
    assert json.loads(json.dumps(found.to_dict()))["am_score"] is None
    never = one_hot(torch.arange(120) % (K - 1))
    found = difference(one_hot(torch.arange(120) % K), never)
    assert (found.am_score, found.kl_reference) == (None, None)
    assert found.inception_score.value > 0
    assert [name for name, _ in found.rows()] == [
        "mean entropy",
        "Inception Score (higher is better)",
        "  entropy of the mean",
    ]
    assert welch(Estimate(math.inf, 0.1, 9), Estimate(1.0, 0.1, 9)) is None
    assert welch(Estimate(math.inf, None, None), Estimate(math.inf, None, None)) is None


def test_without_a_reference_there_are_terms_that_need_none(generator):
    found = difference(*(scores(logits(200, 3.0, generator)) for _ in range(2)))
    assert (found.am_score, found.kl_reference) == (None, None)
    assert found.inception_score is not None


def test_another_reference_or_number_of_classes_is_refused_and_both_are_named(pair, generator):
    values, other = logits(200, 3.0, generator), [0.25] + [0.75 / (K - 1)] * (K - 1)
    off = scores(values, other)
    assert off.reference_sha256 != pair[0].reference_sha256
    said = f"second has a reference of SHA-256 {off.reference_sha256}, wanted a reference of SHA-256"
    with pytest.raises(ValueError, match=f"{said} {pair[0].reference_sha256} as the first .0.083 off"):
        difference(pair[0], off)
    with pytest.raises(ValueError, match=f"second has no reference, wanted .* {pair[0].reference_sha256} as the first"):
        difference(pair[0], scores(values))
    with pytest.raises(ValueError, match=f"second has 5 classes, wanted {K} as the first"):
        difference(pair[0], scores(values[:, :5], [0.2] * 5))


@pytest.mark.parametrize(("off", "same_name"), [(1e-13, True), (1e-7, False)])
def test_a_reference_that_differs_by_rounding_is_the_same(pair, generator, off, same_name):
    """Of float64 it has the same name, too: that of sums in another order. Of float32, as on a GPU, another."""
    change = off * torch.randn(K, generator=generator, dtype=torch.float64)
    again = scores(logits(200, 3.0, generator), torch.tensor(UNIFORM, dtype=torch.float64) * (1 + change))
    assert again.reference != pair[0].reference
    assert (again.reference_sha256 == pair[0].reference_sha256) == same_name
    assert difference(pair[0], again).am_score is not None


def test_it_goes_through_json_and_back(pair):
    through = [Scores.from_dict(json.loads(one.to_json())) for one in pair]
    found = difference(*pair)
    assert difference(*through) == found
    assert Difference.from_dict(json.loads(json.dumps(found.to_dict()))) == found
    kept = found.to_dict()["am_score"]
    assert kept["interval"] == list(found.am_score.interval)
    assert kept["p_value"] == found.am_score.p_value
    for name, texts in found.rows():
        assert name in str(found)
        assert all(text in str(found) for text in texts)
