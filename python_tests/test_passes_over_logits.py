"""How often a batch goes through its exponentials while everything is measured of it, and what is measured then."""

from __future__ import annotations

import math
import warnings

import pytest
import scipy.special
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from amgan_fast.evaluate import Settings
from amgan_fast.evaluate.class_labels import Labelling
from amgan_fast.evaluate.measurements import Collector, Measurements
from amgan_fast.metrics import (
    ClassSums,
    RowTerms,
    ScoreAccumulator,
    entropy_histogram,
    label_balance,
    mode_drop,
    row_terms,
    scores,
)

K, N = 10, 400
REFERENCE = torch.full((K,), 1 / K, dtype=torch.float64)
OF_EVERY_ELEMENT = ("score_sums", "class_entropy", "_softmax", "_log_softmax", "exp", "expm1", "logsumexp", "log")


class RowsSeen(TorchDispatchMode):
    """Rows that went through an exponential or a logarithm of each of their elements."""

    def __init__(self) -> None:
        super().__init__()
        self.rows = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        name = func.overloadpacket.__name__
        if name.removesuffix("_") in OF_EVERY_ELEMENT and args[0].ndim == 2:
            self.rows += len(args[0])
        return func(*args, **(kwargs or {}))


@pytest.fixture
def logits(generator: torch.Generator) -> Tensor:
    return 2 * torch.randn(N, K, generator=generator)


def given(logits: Tensor, from_logits: bool) -> Tensor:
    return logits if from_logits else logits.softmax(1)


def collector_of(count: int, from_logits: bool, **settings) -> Collector:
    labels = Labelling(K, torch.arange(K))
    return Collector(K, count, Settings(**settings), torch.device("cpu"), from_logits=from_logits, labels=labels)


def measured(values: Tensor, from_logits: bool = True, labels: Tensor | None = None, **settings) -> Measurements:
    collector = collector_of(len(values), from_logits, **settings)
    for start in range(0, len(values), 150):
        rows = slice(start, start + 150)
        collector.update(values[rows], None if labels is None else labels[rows], None)
    return collector.compute(REFERENCE)


@pytest.mark.parametrize("from_logits", [True, False])
@pytest.mark.parametrize(
    "settings",
    [{}, {"modes": False}, {"contiguous": True}, {"skip_non_finite": True}],
    ids=lambda x: "".join(x) or "all",
)
@pytest.mark.parametrize("at_once", [2**17, 2**9])
def test_a_batch_goes_through_its_exponentials_twice(logits, from_logits, settings, at_once, monkeypatch):
    monkeypatch.setattr(row_terms, "_ROWS_AT_ONCE", at_once)
    collector = collector_of(N, from_logits, **settings)
    values, labels = given(logits, from_logits), logits.argmax(1)
    with RowsSeen() as seen:
        collector.update(values, labels, None)
    assert seen.rows == 2 * N


def test_scores_alone_take_one_pass(logits):
    accumulator = ScoreAccumulator(K)
    with RowsSeen() as seen:
        accumulator.update(logits)
    assert seen.rows == N


@pytest.mark.parametrize("from_logits", [True, False])
def test_what_is_measured_together_is_what_is_measured_alone(logits, from_logits):
    values = given(logits, from_logits)
    labels = torch.arange(N) % K
    got = measured(values, from_logits, labels=labels)
    sums = ClassSums(K)
    sums.update(values, values.argmax(1), from_logits=from_logits)
    want = {
        "scores": scores(values, REFERENCE, from_logits=from_logits, strata=labels),
        "entropy": entropy_histogram(values, from_logits=from_logits),
        "balance": label_balance(values, REFERENCE, from_logits=from_logits),
        "modes": mode_drop(sums, reference=REFERENCE),
    }
    for name, result in want.items():
        for field, value in result.to_dict().items():
            found = getattr(got, name).to_dict()[field]
            if isinstance(value, float | list):
                assert found == pytest.approx(value, rel=1e-6), (name, field)
            else:
                assert field == "few" or found == value or isinstance(value, dict), (name, field)
    assert got.label_accuracy == float((values.argmax(1) == labels).double().mean())
    mean = scipy.special.softmax(logits.double().numpy(), axis=1).mean(0)
    assert got.balance.mean == pytest.approx(mean, rel=1e-6)


@pytest.mark.parametrize("from_logits", [True, False])
def test_rows_left_out_are_in_no_measurement(logits, from_logits):
    values = given(logits, from_logits)
    bad = values.clone()
    bad[::7] = math.nan
    good = torch.arange(N) % 7 != 0
    got = measured(bad, from_logits, labels=logits.argmax(1), skip_non_finite=True)
    want = measured(values[good], from_logits, labels=logits.argmax(1)[good])
    assert (got.scores.n, got.scores.non_finite_rows) == (int(good.sum()), N - int(good.sum()))
    assert got.label_accuracy == 1
    assert got.entropy.counts == want.entropy.counts
    assert got.balance.counts == want.balance.counts


@pytest.mark.parametrize("from_logits", [True, False])
def test_a_batch_with_a_bad_row_adds_to_nothing(logits, from_logits):
    values = given(logits, from_logits)
    collector = collector_of(N, from_logits)
    collector.update(values[:300], logits[:300].argmax(1), None)
    before = collector.compute(REFERENCE).to_dict()
    values[342, 3] = math.nan
    with pytest.raises(ValueError, match=r"row 42 \(sample 342\).*NaN"):
        collector.update(values[300:], None, None)
    assert collector.compute(REFERENCE).to_dict() == before
    assert collector.samples == 300


def test_terms_of_rows_against_scipy_in_any_pieces(logits, monkeypatch):
    p = scipy.special.softmax(logits.double().numpy(), axis=1)
    for at_once in (2**17, 55):
        monkeypatch.setattr(row_terms, "_ROWS_AT_ONCE", at_once)
        monkeypatch.setattr(row_terms, "_DOUBLES_AT_ONCE", at_once)
        rows = RowTerms(logits)
        for place, sums in rows.each_row():
            assert sums.prob.numpy() == pytest.approx(p[place], rel=1e-4, abs=1e-7)
            assert (sums.count == 1).all()
        assert rows.entropy.numpy() == pytest.approx(scipy.special.entr(p).sum(1), rel=1e-5)
        for block, prob in enumerate(rows.block_sums(7, 3).prob):
            assert prob.numpy() == pytest.approx(p[(torch.arange(N).numpy() + 3) % 7 == block].sum(0), rel=1e-12)


def test_some_of_the_rows_keep_what_is_known_of_them(logits):
    rows = RowTerms(logits)
    rows.refuse_bad(0)
    assert (rows.likeliest[5:9] == rows[5:9].likeliest).all()
    with RowsSeen() as seen, warnings.catch_warnings():
        warnings.simplefilter("error")
        known = rows.entropy
        assert torch.equal(rows[5:9].entropy, known[5:9])
        assert torch.equal(rows[known > 1].entropy, known[known > 1])
    assert seen.rows == N
