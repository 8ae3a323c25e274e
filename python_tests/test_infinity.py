"""IS-infinity: the line through scores of subsets, where it ends, and whether its interval holds."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from amgan_fast.metrics import ScoreAccumulator, ScoreWarning, inception_score_infinity, scores
from amgan_fast.metrics.infinity import _subsets

K = 10


def make_logits(count: int, generator: torch.Generator, classes: int = K, certain: float = 8) -> Tensor:
    """Of classes that are alike: their mean distribution is uniform."""
    logits = torch.randn(count, classes, generator=generator, dtype=torch.float64)
    logits[torch.arange(count), torch.randint(classes, (count,), generator=generator)] += certain * torch.rand(
        count, generator=generator, dtype=torch.float64
    )
    return logits


def score_of(p: np.ndarray) -> float:
    mean = p.mean(0)
    return math.exp((p * (np.log(p) - np.log(mean))).sum(1).mean())


def test_is_the_intercept_of_the_line_through_the_scores_of_subsets(generator):
    logits = make_logits(730, generator)
    p, block = logits.softmax(1).numpy(), np.arange(730) % 100
    chosen = [np.isin(block, np.flatnonzero(subset)) for subset in _subsets(100, seed=3).numpy()]
    assert len(chosen) == 15
    assert chosen[-1].all()
    _, intercept = np.polyfit([1 / one.sum() for one in chosen], [score_of(p[one]) for one in chosen], 1)
    assert inception_score_infinity(logits, seed=3).value == pytest.approx(intercept, rel=1e-12)


def test_its_error_is_that_of_leaving_each_block_out_of_every_subset(generator):
    logits = make_logits(400, generator)
    p, block = logits.softmax(1).numpy(), np.arange(400) % 20
    subsets = [np.flatnonzero(subset) for subset in _subsets(20, seed=0).numpy()]
    without = []
    for left_out in range(20):
        parts = [p[np.isin(block, subset[subset != left_out])] for subset in subsets]
        without.append(np.polyfit([1 / len(part) for part in parts], [score_of(part) for part in parts], 1)[1])
    accumulator = ScoreAccumulator(K, blocks=20)
    accumulator.update(logits)
    error = math.sqrt(19 * np.var(without))
    assert inception_score_infinity(accumulator).standard_error == pytest.approx(error, rel=1e-9)


def test_intervals_hold_the_truth_in_95_of_100_sets_and_the_bias_is_gone(generator):
    entropy = float(torch.special.entr(make_logits(200_000, generator).softmax(1)).sum(1).mean())
    truth = K * math.exp(-entropy)
    estimates = [inception_score_infinity(make_logits(600, generator)) for _ in range(400)]
    held = sum(low <= truth <= high for low, high in (one.interval for one in estimates))
    assert 0.92 <= held / 400 <= 0.98
    error = np.mean([one.standard_error for one in estimates])
    assert np.std([one.value for one in estimates]) == pytest.approx(error, rel=0.1)
    assert abs(np.mean([one.value for one in estimates]) - truth) < 4 * error / 20


def test_the_bias_of_few_samples_a_class_is_gone_too(generator):
    def draw(count: int) -> Tensor:
        return make_logits(count, generator, 50, certain=40)

    truth = 50 * math.exp(-float(torch.special.entr(draw(50_000).softmax(1)).sum(1).mean()))
    logits = [draw(1000) for _ in range(60)]
    plain = np.array([scores(one).inception_score for one in logits])
    estimates = [inception_score_infinity(one) for one in logits]
    extrapolated = np.array([one.value for one in estimates])
    assert plain.mean() / truth - 1 < -0.01
    assert abs(extrapolated.mean() / truth - 1) < 0.01
    assert sum(low <= truth <= high for low, high in (one.interval for one in estimates)) >= 55  # of 60


def test_blocks_that_are_alike_have_one_score_and_no_error():
    logits = 50.0 * torch.eye(5, dtype=torch.float64).repeat_interleave(100, 0)
    estimate = inception_score_infinity(logits)
    assert estimate.value == pytest.approx(5, rel=1e-12)
    assert estimate.standard_error < 1e-12


def test_an_accumulator_gives_what_its_logits_give_and_again(generator):
    logits = make_logits(503, generator)
    accumulator = ScoreAccumulator(K)
    for batch in logits.split(64):
        accumulator.update(batch)
    estimate = inception_score_infinity(accumulator)
    assert estimate == inception_score_infinity(accumulator)
    assert estimate.value == pytest.approx(inception_score_infinity(logits).value, rel=1e-13)
    assert estimate.value != inception_score_infinity(accumulator, seed=1).value
    probabilities = inception_score_infinity(logits.softmax(1), from_logits=False)
    assert probabilities.value == pytest.approx(estimate.value, rel=1e-12)


@pytest.mark.parametrize("splits", [2, 35])  # 20 and 350 blocks, which make 100 groups of 3 and 4
def test_any_number_of_blocks_will_do(splits, generator):
    accumulator = ScoreAccumulator(K, blocks=10 * splits, splits=splits)
    accumulator.update(make_logits(1000, generator))
    low, high = inception_score_infinity(accumulator).interval
    assert low < accumulator.compute().inception_score_corrected < high


@pytest.mark.parametrize("count", [0, 9])
def test_fewer_than_ten_blocks_of_samples_are_refused(count, generator):
    with pytest.raises(ValueError, match=f"blocks with samples are {count}, wanted at least 10"):
        inception_score_infinity(make_logits(count, generator))


def test_probabilities_for_logits_are_warned_of(generator):
    with pytest.warns(ScoreWarning, match="logits are within"):
        inception_score_infinity(make_logits(100, generator).softmax(1))
