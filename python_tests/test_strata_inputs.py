"""Strata that do not fit the samples are refused by name, and nothing is added."""

from __future__ import annotations

import math
import warnings

import numpy as np
import pytest
import torch
from torch import Tensor

from amgan_fast.metrics import ScoreAccumulator, ScoreWarning, StratumSums, scores

K, N, S = 4, 24, 3


@pytest.fixture
def logits(generator: torch.Generator) -> Tensor:
    return 2 * torch.randn(N, K, generator=generator, dtype=torch.float64)


LABELS = torch.arange(N) % S


def untouched(accumulator: ScoreAccumulator | StratumSums, before: dict) -> bool:
    now = accumulator.state_dict()
    same = {
        name: torch.equal(now[name], value) if isinstance(value, Tensor) else now[name] == value
        for name, value in before.items()
    }
    return all(same.values())


def copied(state: dict) -> dict:
    return {name: value.clone() if isinstance(value, Tensor) else value for name, value in state.items()}


BAD = {
    "too few": (LABELS[:-1], ValueError, r"strata .*23.*24"),
    "too many": (torch.cat([LABELS, LABELS]), ValueError, r"strata .*48.*24"),
    "a column": (LABELS[:, None], ValueError, r"strata .*\[24, 1\]"),
    "a number": (torch.tensor(1), ValueError, "strata"),
    "negative": (LABELS - 1, ValueError, r"strata .*-1.*0 to 2"),
    "beyond the last": (LABELS + 1, ValueError, r"strata .*3.*0 to 2"),
    "floats": (LABELS.double(), TypeError, r"strata .*float64.*integer"),
    "booleans": (LABELS > 1, TypeError, r"strata .*bool.*integer"),
    "words": (["a"] * N, (TypeError, ValueError), "strata"),
    "numpy floats": (LABELS.numpy() * 0.5, TypeError, r"strata .*float64.*integer"),
    "complex": (LABELS * 1j, TypeError, r"strata .*complex"),
    "unsigned": (torch.full((N,), 2**63, dtype=torch.uint64), (TypeError, ValueError), "strata"),
    "none": (None, ValueError, r"strata are not given.*0 to 2"),
}


@pytest.mark.parametrize(("strata", "kind", "text"), BAD.values(), ids=BAD)
@pytest.mark.parametrize("started", [False, True])
def test_bad_strata_are_refused_and_nothing_is_added(strata, kind, text, started, logits):
    accumulator = ScoreAccumulator(K, strata=S)
    if started:
        accumulator.update(logits, strata=LABELS)
    before = copied(accumulator.state_dict())
    with pytest.raises(kind, match=text) as caught:
        accumulator.update(logits, strata=strata)
    assert "\n" not in str(caught.value)
    assert untouched(accumulator, before)


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_a_row_without_distribution_leaves_strata_as_they_were(bad, logits):
    accumulator = ScoreAccumulator(K, strata=S)
    accumulator.update(logits, strata=LABELS)
    before = copied(accumulator.state_dict())
    logits[7, 2] = bad
    with pytest.raises(ValueError, match="31"):
        accumulator.update(logits, strata=LABELS)
    assert untouched(accumulator, before)


def test_rows_left_out_are_left_out_of_their_stratum(logits):
    whole = logits.clone()
    logits[[3, 8, 9]] = math.nan
    accumulator = ScoreAccumulator(K, strata=S, skip_non_finite=True)
    accumulator.update(logits[:9], strata=LABELS[:9])
    accumulator.update(logits[9:], strata=LABELS[9:])
    kept = torch.ones(N, dtype=torch.bool)
    kept[[3, 8, 9]] = False
    got, want = accumulator.compute([1 / K] * K), scores(whole[kept], [1 / K] * K, strata=LABELS[kept])
    assert got.non_finite_rows == 3
    assert got.n == N - 3
    for name, estimate in want.estimates.items():
        assert got.estimates[name].value == pytest.approx(estimate.value, rel=1e-12)
        assert got.estimates[name].standard_error == pytest.approx(estimate.standard_error, rel=1e-12)


def test_strata_where_there_are_none(logits):
    with pytest.raises(ValueError, match=r"strata.*none.*ScoreAccumulator"):
        ScoreAccumulator(K).update(logits, strata=LABELS)


@pytest.mark.parametrize("strata", [0, -3])
def test_a_number_of_strata_that_is_none(strata):
    with pytest.raises(ValueError, match=rf"strata is {strata}, wanted at least 1"):
        ScoreAccumulator(K, strata=strata)


def test_contiguous_splits_are_not_of_strata():
    with pytest.raises(ValueError, match=r"strata .*num_samples"):
        ScoreAccumulator(K, strata=S, num_samples=N)


def test_accumulators_of_other_strata_do_not_merge(logits):
    mine, other, without = ScoreAccumulator(K, strata=S), ScoreAccumulator(K, strata=S + 1), ScoreAccumulator(K)
    mine.update(logits, strata=LABELS)
    other.update(logits, strata=LABELS)
    without.update(logits)
    before = copied(mine.state_dict())
    for wrong, found in ((other, "4"), (without, "None")):
        with pytest.raises(ValueError, match=rf"strata = {found}, wanted 3"):
            mine.merge(wrong)
        with pytest.raises(ValueError, match=rf"strata = {found}, wanted 3"):
            mine.load_state_dict(wrong.state_dict())
    with pytest.raises(ValueError, match="strata = 3, wanted None"):
        without.merge(mine)
    assert untouched(mine, before)


def test_accumulators_of_other_shares_do_not_merge(logits):
    mine = ScoreAccumulator(K, strata=S, shares=[0.5, 0.3, 0.2])
    other = ScoreAccumulator(K, strata=S)
    for accumulator in (mine, other):
        accumulator.update(logits, strata=LABELS)
    before = copied(mine.state_dict())
    for one, wrong in ((mine, other), (other, mine)):
        with pytest.raises(ValueError, match="shares"):
            one.merge(wrong)
        with pytest.raises(ValueError, match="shares"):
            one.load_state_dict(wrong.state_dict())
    assert untouched(mine, before)


BAD_SHARES = {
    "too few": ([0.5, 0.5], r"shares .*\[2\].*\[3\]"),
    "too many": ([0.25] * 4, r"shares .*\[4\].*\[3\]"),
    "negative": ([0.7, 0.5, -0.2], r"shares .*-0\.2"),
    "do not sum to one": ([0.5, 0.4, 0.2], r"shares .*1\.1"),
    "NaN": ([math.nan, 0.5, 0.5], "shares .*nan"),
    "infinite": ([math.inf, 0.0, 0.0], "shares .*inf"),
    "all zero": ([0.0, 0.0, 0.0], "shares .*0"),
    "a matrix": ([[0.5, 0.3, 0.2]], r"shares .*\[1, 3\]"),
}


@pytest.mark.parametrize(("shares", "text"), BAD_SHARES.values(), ids=BAD_SHARES)
def test_bad_shares(shares, text):
    with pytest.raises(ValueError, match=text):
        ScoreAccumulator(K, strata=S, shares=shares)


def test_shares_that_are_no_numbers():
    with pytest.raises(TypeError, match="shares"):
        ScoreAccumulator(K, strata=S, shares=["a", "b", "c"])


def test_shares_without_strata(logits):
    with pytest.raises(ValueError, match=r"shares .*strata"):
        scores(logits, shares=[0.5, 0.3, 0.2])


def test_a_stratum_with_a_share_and_no_sample(logits):
    with pytest.raises(ValueError, match=r"strata: 2 .*share of 0\.2"):
        scores(logits, strata=LABELS % 2, shares=[0.5, 0.3, 0.2])
    assert scores(logits, strata=LABELS % 2, shares=[0.5, 0.5]).strata == 2


def test_strata_of_one_sample_each_tell_no_spread(logits):
    with pytest.raises(ValueError, match="one sample each"):
        scores(logits, strata=torch.arange(N))


def test_of_too_few_samples_of_a_class_scores_warn(logits):
    labels = torch.cat(
        [torch.zeros(N // 2), torch.ones(N - N // 2 - 3), torch.full((2,), 2.0), torch.tensor([3.0])]
    ).long()
    with pytest.warns(ScoreWarning, match="smallest of 4 strata has 1 sample"):
        scores(logits, strata=labels)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        scores(logits, strata=torch.arange(N) % K)


@pytest.mark.parametrize("make", [StratumSums, lambda k, s: ScoreAccumulator(k, strata=s)])
def test_an_empty_batch_adds_nothing(make, logits):
    accumulator = make(K, S)
    accumulator.update(logits[:0], strata=LABELS[:0])
    accumulator.update(logits, strata=LABELS)
    accumulator.update(logits[:0], strata=np.zeros(0, dtype=np.int64))
    assert accumulator.samples == N


def test_scores_without_a_sample():
    with pytest.raises(ValueError, match="no samples"):
        ScoreAccumulator(K, strata=S).compute()
