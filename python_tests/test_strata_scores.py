"""Scores of samples from strata: formulas in numpy, closed forms, symmetries."""

from __future__ import annotations

import math
from functools import partial

import numpy as np
import pytest
import scipy.stats
import stratified_oracle as oracle
import torch
from scipy.special import entr
from torch import Tensor

from amgan_fast.metrics import ScoreAccumulator, Scores, scores

few_samples = pytest.mark.filterwarnings("ignore::amgan_fast.metrics.ScoreWarning")

K = 6
CLOSE = 1e-10

DESIGNS = {
    "equal": [9] * K,
    "unequal": [4, 5, 9, 12, 7, 30],
    "two or three of some": [2, 3, 40, 2, 8, 20],
    "one of some": [1, 12, 1, 9, 30, 7],
    "fewer strata than classes": [40, 25],
    "one stratum": [230],
    "more strata than classes": [3, 2, 4] * 40,
    "empty strata": [0, 9, 0, 8, 11, 0],
}


@pytest.fixture
def reference(generator: torch.Generator) -> np.ndarray:
    weights = 0.2 + torch.rand(K, generator=generator, dtype=torch.float64).numpy()
    return weights / weights.sum()


def labels_of(counts: list[int], generator: torch.Generator) -> Tensor:
    labels = torch.arange(len(counts)).repeat_interleave(torch.tensor(counts))
    return labels[torch.randperm(len(labels), generator=generator)]


def logits_of(labels: Tensor, generator: torch.Generator) -> Tensor:
    """Strata differ in their class and in how certain that is."""
    noise = torch.randn(len(labels), K, generator=generator, dtype=torch.float64)
    return noise * (1 + labels % 3)[:, None] + 2.5 * torch.eye(K, dtype=torch.float64)[labels % K]


def assert_as_oracle(got: Scores, strata: list[oracle.Stratum], groups: int, reference: np.ndarray) -> None:
    x = oracle.point_of(strata)
    statistics = {
        "log_inception_score": oracle.log_inception_score,
        "entropy_of_mean": lambda x: oracle.log_inception_score(x) + x.entropy,
        "mean_entropy": lambda x: x.entropy,
        "kl_reference": lambda x: oracle.am_score(reference, x) - x.entropy,
        "am_score": partial(oracle.am_score, reference),
    }
    assert set(got.estimates) == set(statistics)
    for name, statistic in statistics.items():
        error, found = oracle.error(statistic, strata, groups), got.estimates[name]
        assert found.value == pytest.approx(statistic(x), rel=CLOSE, abs=1e-12), name
        assert found.standard_error == pytest.approx(math.sqrt(error.variance), rel=1e-8), name
        assert found.degrees_of_freedom == pytest.approx(error.degrees_of_freedom, rel=1e-8), name
    assert got.class_distribution == pytest.approx(x.mean, rel=CLOSE)
    assert got.mean_entropy == pytest.approx(x.entropy, rel=CLOSE)
    assert got.inception_score == pytest.approx(math.exp(entr(x.mean).sum() - x.entropy), rel=CLOSE)


@few_samples
@pytest.mark.parametrize("counts", DESIGNS.values(), ids=DESIGNS)
def test_scores_are_those_of_the_formulas(counts, reference, generator):
    labels = labels_of(counts, generator)
    logits = logits_of(labels, generator)
    got = scores(logits, reference, strata=labels)
    assert_as_oracle(got, oracle.strata_of(logits.numpy(), labels.numpy()), oracle.groups_of(len(counts)), reference)
    assert (got.sampling, got.strata) == ("per-class", sum(count > 0 for count in counts))


@pytest.mark.parametrize("shares", [[0.5, 0.1, 0.1, 0.1, 0.1, 0.1], [0.0, 0.3, 0.3, 0.2, 0.2, 0.0]])
def test_shares_of_the_population_take_the_place_of_those_of_the_samples(shares, reference, generator):
    labels = labels_of(DESIGNS["unequal"], generator)
    logits = logits_of(labels, generator)
    got = scores(logits, reference, strata=labels, shares=shares)
    strata = oracle.strata_of(logits.numpy(), labels.numpy(), np.array(shares))
    assert_as_oracle(got, strata, oracle.groups_of(K), reference)


@pytest.mark.parametrize("scale", [0.5, 1.0, 4.0])
def test_intervals_have_the_part_of_the_mean_entropy_on_a_logarithmic_scale(scale, reference, generator):
    labels = labels_of(DESIGNS["unequal"], generator)
    got = scores(scale * logits_of(labels, generator), reference, strata=labels)
    part = got.estimates["mean_entropy"]

    def limits(name: str) -> tuple[float, float]:
        """(how far the interval goes towards less entropy, towards more)."""
        whole = got.estimates[name]
        t = scipy.stats.t.ppf(0.975, whole.degrees_of_freedom)
        factor = math.exp(t * part.standard_error / part.value)
        less, more = part.value * (1 - 1 / factor), part.value * (factor - 1)
        if whole.standard_error < part.standard_error:  # parts that cancel
            share = whole.standard_error / part.standard_error
            return less * share, more * share
        rest = t**2 * (whole.standard_error**2 - part.standard_error**2)
        return math.sqrt(less**2 + rest), math.sqrt(more**2 + rest)

    least, most = part.value - limits("mean_entropy")[0], part.value + limits("mean_entropy")[1]
    assert got.mean_entropy_ci95 == pytest.approx((least, most), rel=CLOSE)
    less, more = limits("am_score")  # which is not below the mean entropy's
    am_score = got.estimates["am_score"].value
    assert got.am_score_ci95 == pytest.approx((max(am_score - less, least), am_score + more), rel=CLOSE)
    less, more = limits("log_inception_score")
    factors = got.inception_score_corrected * math.exp(-more), got.inception_score_corrected * math.exp(less)
    assert got.inception_score_ci95 == pytest.approx(factors, rel=CLOSE)


@pytest.mark.parametrize("sizes", [[1] * 67, [67], [3, 0, 50, 14], [30, 37]])
def test_batches_of_any_sizes_give_the_same(sizes, reference, generator):
    labels = labels_of(DESIGNS["unequal"], generator)
    logits = logits_of(labels, generator)
    accumulator = ScoreAccumulator(K, strata=K)
    for rows, of_rows in zip(logits.split(sizes), labels.split(sizes), strict=True):
        accumulator.update(rows, strata=of_rows)
    assert_same(accumulator.compute(reference), scores(logits, reference, strata=labels))


def assert_same(got: Scores, want: Scores, rel: float = 1e-11) -> None:
    """All that does not depend on the order of the classes or the strata."""
    for name, estimate in want.estimates.items():
        found = got.estimates[name]
        assert found.value == pytest.approx(estimate.value, rel=rel, abs=1e-13), name
        assert found.standard_error == pytest.approx(estimate.standard_error, rel=rel), name
        assert found.degrees_of_freedom == pytest.approx(estimate.degrees_of_freedom, rel=rel), name
    for field in ("inception_score_ci95", "am_score_ci95", "mean_entropy_ci95"):
        assert getattr(got, field) == pytest.approx(getattr(want, field), rel=rel), field


def test_names_of_classes_and_of_strata_mean_nothing(reference, generator):
    labels = labels_of(DESIGNS["unequal"], generator)
    logits = logits_of(labels, generator)
    want = scores(logits, reference, strata=labels)
    columns, names = torch.randperm(K, generator=generator), torch.randperm(K, generator=generator)
    got = scores(logits[:, columns], reference[columns], strata=names[labels])
    assert_same(got, want)
    assert got.class_distribution == pytest.approx([want.class_distribution[k] for k in columns.tolist()], rel=1e-12)


@pytest.mark.parametrize("dtype", [torch.int64, torch.int32, torch.uint8])
def test_strata_are_integers_of_any_kind(dtype, reference, generator):
    labels = labels_of(DESIGNS["equal"], generator)
    logits = logits_of(labels, generator)
    want = scores(logits, reference, strata=labels)
    assert_same(scores(logits, reference, strata=labels.to(dtype)), want)
    assert_same(scores(logits, reference, strata=labels.to(dtype).numpy()), want)


def test_merged_accumulators_have_the_scores_of_all_samples(reference, generator):
    """Of which group a sample is depends on who took it; the scores and the order of their errors do not."""
    labels = labels_of([60, 50, 70, 40, 45, 55], generator)
    logits = logits_of(labels, generator)
    parts = [ScoreAccumulator(K, strata=K) for _ in range(3)]
    for part, rows, of_rows in zip(parts, logits.tensor_split(3), labels.tensor_split(3), strict=True):
        part.update(rows, strata=of_rows)
    whole, want = parts[0], scores(logits, reference, strata=labels)
    for other in parts[1:]:
        whole.merge(other)
    got = whole.compute(reference)
    for name, estimate in want.estimates.items():
        assert got.estimates[name].value == pytest.approx(estimate.value, rel=1e-11), name
        assert got.estimates[name].standard_error == pytest.approx(estimate.standard_error, rel=0.35), name


def test_a_state_that_was_saved_goes_on(reference, generator):
    labels = labels_of(DESIGNS["unequal"], generator)
    logits = logits_of(labels, generator)
    first, second = ScoreAccumulator(K, strata=K), ScoreAccumulator(K, strata=K)
    first.update(logits[:40], strata=labels[:40])
    second.load_state_dict(first.state_dict())
    second.update(logits[40:], strata=labels[40:])
    assert_same(second.compute(reference), scores(logits, reference, strata=labels))


@few_samples
@pytest.mark.parametrize("each", [2, 5, 50])
@pytest.mark.parametrize("classes", [10, 100])
def test_a_classifier_that_is_always_right_has_no_bias_and_no_error_in_equal_strata(classes, each):
    labels = torch.arange(classes).repeat(each)
    p = torch.nn.functional.one_hot(labels, classes).double()
    got = scores(p, [1 / classes] * classes, from_logits=False, strata=labels)
    assert got.inception_score_corrected == pytest.approx(classes, rel=1e-14)
    assert got.inception_score_corrected <= classes
    assert got.inception_score_ci95 == pytest.approx((classes, classes), rel=1e-12)
    assert got.inception_score_ci95[1] <= classes
    assert (got.am_score_corrected, got.am_score_ci95) == (
        pytest.approx(0, abs=1e-14),
        pytest.approx((0, 0), abs=1e-12),
    )
    assert got.unlimited == {}
    drawn = scores(p, [1 / classes] * classes, from_logits=False)
    assert drawn.unlimited["inception_score_corrected"] > classes


@few_samples
@pytest.mark.parametrize(("classes", "each"), [(10, 36), (100, 20)])
def test_an_interval_holds_its_score_where_that_was_set_to_the_limit(classes, each, generator):
    """As of a fixed number a class of which nothing was said: what is corrected is not there."""
    labels = torch.arange(classes).repeat(each)
    logits = 2 * torch.randn(len(labels), classes, generator=generator, dtype=torch.float64)
    logits[torch.arange(len(labels)), labels] += 16.0
    got = scores(logits, [1 / classes] * classes)
    assert {"am_score_corrected", "inception_score_corrected"} == set(got.unlimited)
    assert got.am_score_ci95[0] < got.am_score_corrected < got.am_score_ci95[1]
    low, high = got.inception_score_ci95
    assert low < classes * math.exp(-got.mean_entropy) < got.inception_score_corrected == classes == high


def test_one_stratum_has_the_corrections_of_random_samples_but_for_the_divisor_of_the_variance(reference, generator):
    """N - 1 in the place of N, and intervals of other groups, which come close with so many samples."""
    logits = logits_of(labels_of([400] * K, generator), generator)
    got, want = scores(logits, reference, strata=torch.zeros(len(logits), dtype=torch.int64)), scores(logits, reference)
    plain = math.log(want.inception_score)
    of_stratum, drawn = (math.log(one.inception_score_corrected) - plain for one in (got, want))
    assert of_stratum == pytest.approx(drawn, rel=2 / len(logits))
    for name, estimate in want.estimates.items():
        assert got.estimates[name].standard_error == pytest.approx(estimate.standard_error, rel=0.3), name
    assert got.estimates["mean_entropy"].degrees_of_freedom == pytest.approx(100, abs=5)


def test_what_strata_differ_by_is_in_no_error(generator):
    """Within a stratum all samples are alike: nothing varies from set to set, as it would with labels at random."""
    of_stratum = torch.randn(K, K, generator=generator, dtype=torch.float64)
    labels = labels_of(DESIGNS["unequal"], generator)
    got = scores(of_stratum[labels], strata=labels)
    assert got.inception_score_corrected == pytest.approx(got.inception_score, rel=1e-12)
    assert got.estimates["log_inception_score"].standard_error < 1e-12
    drawn = scores(of_stratum[labels])
    assert drawn.estimates["log_inception_score"].standard_error > 1e-2


def test_the_same_samples_can_be_taken_as_if_drawn_at_random(reference, generator):
    labels = labels_of(DESIGNS["unequal"], generator)
    logits = logits_of(labels, generator)
    accumulator = ScoreAccumulator(K, strata=K, shares=[0.5, 0.1, 0.1, 0.1, 0.1, 0.1])
    accumulator.update(logits, strata=labels)
    assert accumulator.compute(reference, sampling="random") == scores(logits, reference)
