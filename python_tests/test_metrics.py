"""Scores against closed forms, a plain float64 computation and torchmetrics; streaming against all at once."""

from __future__ import annotations

import json
import math

import pytest
import torch
from torch import Tensor

from amgan_fast.metrics import ScoreAccumulator

K, N = 10, 503


@pytest.fixture
def logits(generator: torch.Generator) -> Tensor:
    return 2 * torch.randn(N, K, generator=generator, dtype=torch.float64)


def scores_of(logits: Tensor, reference=None, **options):
    accumulator = ScoreAccumulator(logits.size(1), **options)
    accumulator.update(logits)
    return accumulator.compute(reference)


def inception_score(probability: Tensor) -> float:
    return math.exp(torch.special.entr(probability.mean(0)).sum() - torch.special.entr(probability).sum(1).mean())


def one_hot_logits(labels: Tensor, num_classes: int, gap: float = 1e4) -> Tensor:
    return torch.nn.functional.one_hot(labels, num_classes).double() * gap


def test_every_field_against_its_formula(logits, generator):
    reference = torch.rand(K, generator=generator, dtype=torch.float64)
    reference /= reference.sum()
    scores = scores_of(logits, reference)
    probability = logits.softmax(1)
    mean = probability.mean(0)
    assert (scores.n, scores.num_classes, scores.splits, scores.splits_rule) == (N, K, 10, "round robin")
    assert scores.inception_score == pytest.approx(inception_score(probability), rel=1e-12)
    assert scores.entropy_of_mean == pytest.approx(float(torch.special.entr(mean).sum()), rel=1e-12)
    assert scores.mean_entropy == pytest.approx(float(torch.special.entr(probability).sum(1).mean()), rel=1e-12)
    assert scores.kl_reference == pytest.approx(float((reference * (reference / mean).log()).sum()), rel=1e-12)
    assert scores.am_score == scores.kl_reference + scores.mean_entropy
    assert scores.class_distribution == pytest.approx(mean.tolist(), rel=1e-12)
    by_split = torch.tensor([inception_score(probability[s::10]) for s in range(10)], dtype=torch.float64)
    assert scores.split_mean == pytest.approx(float(by_split.mean()), rel=1e-12)
    assert scores.split_std == pytest.approx(float(by_split.std(correction=0)), rel=1e-9)


def test_without_a_reference_there_is_no_am_score(logits):
    scores = scores_of(logits)
    assert scores.am_score is None
    assert scores.kl_reference is None
    assert "AM Score" not in str(scores)


def test_equals_torchmetrics_on_logits(logits, monkeypatch):
    inception = pytest.importorskip("torchmetrics.image.inception")
    # Its splits are of shuffled samples; with the shuffle held still they are our contiguous ones where S divides N.
    monkeypatch.setattr(torch, "randperm", lambda count, **_: torch.arange(count))
    for splits, rows in ((1, logits), (10, logits[:500])):
        theirs = inception.InceptionScore(feature=torch.nn.Identity(), splits=splits)
        theirs.set_dtype(torch.float64)
        theirs.update(rows)
        mean, std = theirs.compute()
        ours = scores_of(rows, splits=splits, num_samples=len(rows))
        assert ours.split_mean == pytest.approx(float(mean), rel=1e-10)
        if splits > 1:
            assert ours.split_std * math.sqrt(splits / (splits - 1)) == pytest.approx(float(std), rel=1e-8)


def test_certain_and_balanced_is_the_best_there_is():
    scores = scores_of(one_hot_logits(torch.arange(200) % K, K), [1 / K] * K)
    assert scores.inception_score == pytest.approx(K, rel=1e-12)
    assert scores.am_score == pytest.approx(0, abs=1e-12)
    assert scores.mean_entropy == 0


def test_equal_logits_are_the_worst_there_is():
    scores = scores_of(torch.full((50, K), 7.0, dtype=torch.float64), [1 / K] * K)
    assert scores.inception_score == pytest.approx(1, rel=1e-12)
    assert scores.am_score == pytest.approx(math.log(K), rel=1e-12)


def test_kept_modes_score_the_number_of_modes():
    for kept in range(1, K + 1):
        reference = [1 / kept] * kept + [0.0] * (K - kept)  # classes that the reference lacks contribute 0
        scores = scores_of(one_hot_logits(torch.arange(10 * kept) % kept, K), reference, blocks=10)
        assert scores.inception_score == pytest.approx(kept, rel=1e-12)
        assert scores.am_score == pytest.approx(0, abs=1e-12)


def test_a_class_that_no_sample_hits_is_finite_from_logits_and_infinite_from_certainty():
    logits = one_hot_logits(torch.zeros(20, dtype=torch.int64), 2)
    assert scores_of(logits, [0.5, 0.5], splits=1).kl_reference == pytest.approx(math.log(0.5) + 0.5 * 1e4)
    logits[:, 1] = -math.inf
    impossible = scores_of(logits, [0.5, 0.5], splits=1)
    assert impossible.am_score == math.inf
    assert impossible.inception_score == 1


@pytest.mark.parametrize("sizes", [[N], [1] * N, [100, 3, 200, 200], [7] * 71 + [6]])
@pytest.mark.parametrize("num_samples", [None, N])
def test_batches_change_nothing(logits, sizes, num_samples):
    whole = scores_of(logits, num_samples=num_samples)
    streamed = ScoreAccumulator(K, num_samples=num_samples)
    for batch in logits.split(sizes):
        streamed.update(batch)
    assert_close(streamed.compute(), whole)


def assert_close(got, want):
    got, want = got.to_dict(), want.to_dict()
    for name, value in want.items():
        assert got[name] == (pytest.approx(value, rel=1e-12) if isinstance(value, float | tuple) else value), name


def test_merging_is_adding_samples_in_any_order(logits):
    parts = [ScoreAccumulator(K) for _ in range(3)]
    for accumulator, batch in zip(parts, logits.split([100, 300, 103]), strict=True):
        accumulator.update(batch)
    forward, backward = ScoreAccumulator(K), ScoreAccumulator(K)
    for accumulator in parts:
        forward.merge(accumulator)
    for accumulator in reversed(parts):
        backward.merge(accumulator)
    whole = scores_of(logits)
    for merged in (forward, backward):
        scores = merged.compute()
        assert scores.n == N
        assert scores.inception_score == pytest.approx(whole.inception_score, rel=1e-13)


def test_contiguous_splits_start_at_the_floor(logits):
    scores = scores_of(logits, num_samples=N)
    probability = logits.softmax(1)
    parts = [probability[s * N // 10 : (s + 1) * N // 10] for s in range(10)]
    by_split = torch.tensor([inception_score(part) for part in parts])
    assert scores.splits_rule == "contiguous"
    assert scores.split_mean == pytest.approx(float(by_split.mean()), rel=1e-6)


def test_sorted_samples_hurt_contiguous_splits_only():
    logits = one_hot_logits(torch.arange(1000) // 100, K)
    assert scores_of(logits).split_mean == pytest.approx(K)
    assert scores_of(logits, num_samples=1000).split_mean == pytest.approx(1)


def test_an_incomplete_split_has_no_mean(logits):
    accumulator = ScoreAccumulator(K, num_samples=N)
    accumulator.update(logits[:400])
    scores = accumulator.compute()
    assert (scores.n, scores.split_mean, scores.split_std) == (400, None, None)
    assert scores_of(logits[:9]).split_mean is None  # of 10


def test_reference_may_be_a_vector_scores_or_an_accumulator(logits):
    training = ScoreAccumulator(K)
    training.update(logits.flip(0)[:200])
    vector = torch.tensor(training.compute().class_distribution, dtype=torch.float64)
    got = {scores_of(logits, reference).am_score for reference in (vector, training.compute(), training)}
    assert got == {scores_of(logits, vector.tolist()).am_score}


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_other_dtypes(logits, dtype):
    rows = logits.to(dtype)
    assert scores_of(rows).inception_score == pytest.approx(inception_score(rows.double().softmax(1)), rel=1e-5)


@pytest.mark.parametrize(("value", "said"), [(math.nan, "holds NaN"), (math.inf, r"holds \+inf")])
def test_a_row_without_distribution_is_refused_by_its_index(logits, value, said):
    accumulator = ScoreAccumulator(K)
    accumulator.update(logits[:100])
    before = accumulator.compute()
    logits[142, 3] = value
    with pytest.raises(ValueError, match=rf"row 42 \(sample 142\).*{said}; wanted finite"):
        accumulator.update(logits[100:])
    assert accumulator.compute() == before


def test_a_row_of_minus_infinity_is_refused(logits):
    logits[5] = -math.inf
    with pytest.raises(ValueError, match=r"row 5 \(sample 5\).*-inf throughout"):
        scores_of(logits)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"num_classes": 0}, "num_classes is 0, wanted at least 1"),
        ({"blocks": 15}, "blocks is 15, splits 10; wanted blocks a multiple of splits"),
        ({"splits": 0}, "splits 0"),
        ({"num_samples": 9}, "num_samples is 9, wanted at least one for each of 10 splits"),
    ],
)
def test_bad_settings(arguments, said):
    with pytest.raises(ValueError, match=said):
        ScoreAccumulator(**{"num_classes": K, **arguments})


def test_bad_updates(logits):
    accumulator = ScoreAccumulator(K, num_samples=20)
    with pytest.raises(ValueError, match=r"logits are \[503, 9\], wanted \[N, 10\]"):
        accumulator.update(logits[:, :9])
    with pytest.raises(ValueError, match="503 samples, wanted at most num_samples = 20"):
        accumulator.update(logits)
    with pytest.raises(ValueError, match="no samples"):
        accumulator.compute()


@pytest.mark.parametrize(
    ("reference", "said"),
    [
        ([0.5, 0.5], r"reference is \[2\], wanted 10 probabilities"),
        ([1.0] * K, "reference sums to 10"),
        ([-0.1, 1.1] + [0.0] * 8, "least entry is -0.1"),
    ],
)
def test_bad_references(logits, reference, said):
    with pytest.raises(ValueError, match=said):
        scores_of(logits, reference)


def test_bad_merges(logits):
    with pytest.raises(ValueError, match="other has blocks = 50, wanted 100"):
        ScoreAccumulator(K).merge(ScoreAccumulator(K, blocks=50))
    with pytest.raises(ValueError, match=r"contiguous splits .* cannot be merged"):
        ScoreAccumulator(K, num_samples=50).merge(ScoreAccumulator(K, num_samples=50))


def test_as_json_and_as_text(logits):
    scores = scores_of(logits, [1 / K] * K)
    assert json.loads(scores.to_json()) == json.loads(json.dumps(scores.to_dict()))
    text = str(scores)
    for value in (scores.am_score, scores.kl_reference, scores.mean_entropy, scores.inception_score):
        assert f"{value:.4f}" in text


def test_follows_the_device(device, logits):
    accumulator = ScoreAccumulator(K, device=device)
    accumulator.update(logits.to(device))
    assert accumulator.compute().inception_score == pytest.approx(scores_of(logits).inception_score, rel=1e-12)
