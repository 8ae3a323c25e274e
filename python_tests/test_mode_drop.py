"""Mode dropping against closed forms, and the scores of kept classes against the rows of those classes alone."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
import scipy.special
import scipy.stats
import torch
from torch import Tensor

from amgan_fast.metrics import ClassSums, mode_drop, save_mode_drop, synthetic_mode_drop

K, N, BLOCKS = 5, 601, 6


@pytest.fixture
def logits(generator: torch.Generator) -> Tensor:
    return 3 * torch.randn(N, K, generator=generator, dtype=torch.float64)


@pytest.fixture
def labels(generator: torch.Generator) -> Tensor:
    """Of unequal frequency: the lower, the more."""
    return torch.multinomial(torch.tensor([0.4, 0.25, 0.2, 0.1, 0.05]), N, replacement=True, generator=generator)


def sums_of(logits: Tensor, labels: Tensor, **options) -> ClassSums:
    sums = ClassSums(logits.size(1), **{"blocks": BLOCKS, **options})
    sums.update(logits, labels)
    return sums


def log_inception_score(logits: Tensor) -> float:
    probability = scipy.special.softmax(logits.double().numpy(), axis=1)
    return scipy.stats.entropy(probability.mean(0)) - scipy.stats.entropy(probability, axis=1).mean()


def am_score(logits: Tensor, reference: np.ndarray) -> float:
    probability = scipy.special.softmax(logits.double().numpy(), axis=1)
    return scipy.stats.entropy(reference, probability.mean(0)) + scipy.stats.entropy(probability, axis=1).mean()


def rows_of(logits: Tensor, labels: Tensor, kept: list[int]) -> Tensor:
    return logits[torch.isin(labels, torch.tensor(kept))]


@pytest.mark.parametrize("order", ["sorted", "random"])
def test_m_of_equally_frequent_modes_score_log_m(order):
    curve = synthetic_mode_drop("uniform", order, orders=20).log_inception_score
    assert curve.mean == pytest.approx([math.log(m) for m in range(1, 101)], abs=1e-12)
    assert max(curve.std) < 1e-12
    assert curve.standard_error is None


def test_unequal_modes_score_the_entropy_of_what_is_kept():
    weights = [3.0, 0.5, 8.0, 1.0, 1.5]
    result = synthetic_mode_drop(weights, "sorted")
    ranked = sorted(weights, reverse=True)
    # scipy divides by the sum.
    want = [scipy.stats.entropy(ranked[:m]) for m in range(1, 6)]
    assert result.kept == (1, 2, 3, 4, 5)
    assert result.log_inception_score.mean == pytest.approx(want, abs=1e-12)


def test_random_orders_average_over_the_subsets():
    weights = np.array([1.0, 2.0, 7.0])
    pairs = np.array([scipy.stats.entropy(weights[[i, j]]) for i, j in ((0, 1), (0, 2), (1, 2))])
    curve = synthetic_mode_drop(weights.tolist(), "random", orders=4000).log_inception_score
    assert curve.mean[1] == pytest.approx(pairs.mean(), abs=5 * pairs.std() / math.sqrt(4000))
    assert curve.std[1] == pytest.approx(pairs.std(), rel=0.05)
    assert curve.mean[2] == pytest.approx(scipy.stats.entropy(weights), abs=1e-12)
    assert curve.std[2] == pytest.approx(0, abs=1e-12)


def test_the_gaussian_study_has_100_modes_and_rises_in_order():
    result = synthetic_mode_drop("gaussian", "sorted")
    assert len(result.kept) == 100
    assert all(np.diff(result.log_inception_score.mean) > 0)
    # E[|x|] = sqrt(2/pi), and E[|x| log|x|] / E[|x|] = (log 2 - gamma) / 2 for x from N(0, 1).
    expected = math.log(100 * math.sqrt(2 / math.pi)) - (math.log(2) - np.euler_gamma) / 2
    assert result.log_inception_score.mean[-1] == pytest.approx(expected, abs=0.1)


def test_a_seed_decides_and_nobody_elses_random_numbers_do():
    before = torch.get_rng_state()
    first, second, other = (synthetic_mode_drop("gaussian", "random", orders=5, seed=seed) for seed in (3, 3, 4))
    assert torch.equal(torch.get_rng_state(), before)
    assert first == second
    assert first != other


@pytest.mark.parametrize("kept", [[0], [2, 4], [4, 2], [0, 1, 3], list(range(K))])
def test_kept_classes_score_as_their_rows_alone(logits, labels, kept):
    reference = scipy.special.softmax(logits.numpy(), axis=1).mean(0)
    rows = rows_of(logits, labels, kept)
    scores = sums_of(logits, labels).score_of(kept, reference)
    assert scores.n == len(rows)
    assert math.log(scores.inception_score) == pytest.approx(log_inception_score(rows), rel=1e-10)
    assert scores.am_score == pytest.approx(am_score(rows, reference), rel=1e-10)


@pytest.mark.parametrize("sizes", [[N], [1] * N, [100, 1, 500], [0, 7, 594]])
def test_batches_change_nothing(logits, labels, sizes):
    streamed = ClassSums(K, blocks=BLOCKS)
    for batch in zip(logits.split(sizes), labels.split(sizes), strict=True):
        streamed.update(*batch)
    assert streamed.samples == N
    for got, want in zip(streamed.sums, sums_of(logits, labels).sums, strict=True):
        torch.testing.assert_close(got, want, rtol=1e-12, atol=1e-12)


def test_labels_need_not_be_the_classifiers_classes(logits):
    labels = torch.arange(N) % 17
    scores = sums_of(logits, labels, num_labels=17).score_of([16])
    assert math.log(scores.inception_score) == pytest.approx(log_inception_score(logits[labels == 16]), rel=1e-10)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_other_dtypes(logits, labels, dtype):
    rows = rows_of(logits.to(dtype), labels, [1, 2])
    scores = sums_of(logits.to(dtype), labels.int()).score_of([1, 2])
    assert math.log(scores.inception_score) == pytest.approx(log_inception_score(rows), rel=1e-5)


def test_a_dropped_class_is_finite_from_logits_that_are_certain():
    labels = torch.arange(40) % 2
    logits = torch.nn.functional.one_hot(labels, 2).double() * 1e4
    result = mode_drop(sums_of(logits, labels), reference=[0.5, 0.5])
    assert result.log_inception_score.mean == pytest.approx((0, math.log(2)), abs=1e-12)
    assert result.am_score.mean == pytest.approx((math.log(0.5) + 0.5 * 1e4, 0), abs=1e-9)


@pytest.mark.parametrize("order", ["sorted", "random"])
def test_real_data_of_m_certain_classes_score_log_m(order):
    labels = torch.arange(70) % 7
    logits = torch.nn.functional.one_hot(labels, 7).double() * 1e4
    curve = mode_drop(sums_of(logits, labels), order, orders=10).log_inception_score
    assert curve.mean == pytest.approx([math.log(m) for m in range(1, 8)], abs=1e-12)


def test_curve_and_its_jackknife_against_the_rows(logits, labels):
    reference = np.array([0.4, 0.25, 0.2, 0.1, 0.05])
    result = mode_drop(sums_of(logits, labels), "sorted", reference=reference)
    block = torch.arange(N) % BLOCKS
    for curve, score in (
        (result.log_inception_score, log_inception_score),
        (result.am_score, lambda rows: am_score(rows, reference)),
    ):
        for m in range(1, K + 1):
            kept = list(range(m))  # the lower, the more frequent
            without = [score(rows_of(logits[block != b], labels[block != b], kept)) for b in range(BLOCKS)]
            assert curve.mean[m - 1] == pytest.approx(score(rows_of(logits, labels, kept)), rel=1e-10)
            error = math.sqrt((BLOCKS - 1) * np.var(without))
            assert curve.standard_error[m - 1] == pytest.approx(error, rel=1e-8)
        assert curve.std == (0,) * K


def test_the_standard_error_is_the_spread_of_repeated_samples(generator):
    """Over 150 sets of 300 samples: 5.8% is the standard error of a standard deviation of so many."""
    means, errors = [], []
    for _ in range(150):
        labels = torch.randint(3, (300,), generator=generator)
        noise = 2 * torch.randn(300, 3, generator=generator, dtype=torch.float64)
        logits = noise + 2 * torch.nn.functional.one_hot(labels, 3)
        curve = mode_drop(sums_of(logits, labels, blocks=20), "random", orders=6).log_inception_score
        means.append(curve.mean[-1])
        errors.append(curve.standard_error[-1])
    assert np.mean(errors) == pytest.approx(np.std(means), rel=0.25)


def test_labels_without_samples_are_left_out(logits, labels):
    some = labels != 3
    result = mode_drop(sums_of(logits[some], labels[some]), orders=5)
    assert result.kept == (1, 2, 3, 4)
    want = log_inception_score(logits[some])
    assert result.log_inception_score.mean[-1] == pytest.approx(want, rel=1e-10)
    assert result.log_inception_score.std[-1] == pytest.approx(0, abs=1e-12)


def test_one_block_has_no_error(logits, labels):
    curve = mode_drop(sums_of(logits, labels, blocks=1), orders=3).log_inception_score
    assert curve.standard_error is None
    assert curve.mean[-1] == pytest.approx(log_inception_score(logits), rel=1e-10)


def test_there_is_no_error_where_one_block_holds_all_that_is_kept(logits, labels):
    labels = labels.clamp(max=3)
    labels[77] = 4
    of_six, of_one = (mode_drop(sums_of(logits, labels, blocks=blocks), orders=40) for blocks in (6, 1))
    curve, alone = of_six.log_inception_score, of_one.log_inception_score
    assert curve.mean == pytest.approx(alone.mean, rel=1e-10)
    assert [math.isnan(error) for error in curve.standard_error] == [True, False, False, False, False]
    without = [log_inception_score(logits[torch.arange(N) % 6 != b]) for b in range(6)]
    assert curve.standard_error[-1] == pytest.approx(math.sqrt(5 * np.var(without)), rel=1e-8)


def test_predicted_classes_for_labels(logits):
    """Few samples of two of the classes."""
    logits = torch.cat([logits, logits[:, :2] - 3], 1)
    result = mode_drop(sums_of(logits, logits.argmax(1)), orders=10, reference=[1 / 7] * 7)
    assert len(result.kept) == len(logits.argmax(1).unique())
    assert result.log_inception_score.mean[-1] == pytest.approx(log_inception_score(logits), rel=1e-10)
    assert result.am_score.mean[-1] == pytest.approx(am_score(logits, np.full(7, 1 / 7)), rel=1e-10)


def test_follows_the_device(device, logits, labels):
    got = mode_drop(sums_of(logits.to(device), labels.to(device), device=device), "sorted").log_inception_score
    want = mode_drop(sums_of(logits, labels), "sorted").log_inception_score
    assert got.mean == pytest.approx(want.mean, rel=1e-10)


def test_as_json_and_as_text(logits, labels):
    result = mode_drop(sums_of(logits, labels), orders=3, reference=[0.2] * 5)
    assert json.loads(json.dumps(result.to_dict()))["am_score"]["mean"] == list(result.am_score.mean)
    assert f"{result.am_score.mean[-1]:.4f}" in str(result)
    assert "one order" in str(synthetic_mode_drop())


def test_picture(tmp_path, logits, labels):
    real = mode_drop(sums_of(logits, labels), orders=3, reference=[0.2] * 5)
    for name, curves in (("both", {"real": real}), ("one", {"uniform": synthetic_mode_drop()})):
        save_mode_drop(tmp_path / f"{name}.png", curves)
        assert (tmp_path / f"{name}.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("name", ["num_classes", "num_labels", "blocks"])
def test_bad_settings(name):
    with pytest.raises(ValueError, match=f"{name} is 0, wanted at least {2 if name == 'num_classes' else 1}"):
        ClassSums(**{"num_classes": K, name: 0})


@pytest.mark.parametrize(
    ("change", "error", "said"),
    [
        ({"logits": torch.zeros(4, 3)}, ValueError, r"logits are \[4, 3\], wanted \[N, 5\]"),
        ({"labels": torch.zeros(3).long()}, ValueError, r"labels are \[3\], wanted \[4\]"),
        ({"labels": torch.zeros(4)}, TypeError, "labels are torch.float32, wanted integers"),
        ({"labels": torch.tensor([0, 1, 5, 2])}, ValueError, "labels are 0 to 5, wanted 0 to 4"),
        ({"labels": torch.tensor([0, -1, 3, 2])}, ValueError, "labels are -1 to 3, wanted 0 to 4"),
        ({"logits": torch.full((4, K), math.nan)}, ValueError, r"row 0 \(sample 601\).*NaN"),
    ],
)
def test_bad_updates_add_nothing(logits, labels, change, error, said):
    sums = sums_of(logits, labels)
    before = sums.score_of(range(K))
    with pytest.raises(error, match=said):
        sums.update(**{"logits": torch.zeros(4, K), "labels": torch.zeros(4).long(), **change})
    assert sums.score_of(range(K)) == before


@pytest.mark.parametrize(
    ("kept", "said"),
    [([], "at least one label"), ([1, 1], "each once"), ([5], "wanted labels 0 to 4"), ([3], "no sample has such")],
)
def test_bad_subsets(logits, kept, said):
    with pytest.raises(ValueError, match=said):
        sums_of(logits, torch.arange(N) % 3).score_of(kept)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"density": "normal"}, "density is 'normal', wanted 'uniform', 'gaussian' or a vector"),
        ({"density": [1.0, 0.0]}, r"density is \[1.0, 0.0\], wanted a vector of positive numbers"),
        ({"density": []}, "wanted a vector of positive numbers"),
        ({"order": "any"}, "order is 'any', wanted one of sorted, random"),
        ({"orders": 0}, "orders is 0, wanted at least 1"),
    ],
)
def test_bad_studies(arguments, said):
    with pytest.raises(ValueError, match=said):
        synthetic_mode_drop(**arguments)


def test_data_that_gives_no_curve(logits, labels):
    with pytest.raises(ValueError, match="sums hold no samples"):
        mode_drop(ClassSums(K))
    with pytest.raises(ValueError, match=r"reference is \[2\], wanted 5"):
        mode_drop(sums_of(logits, labels, blocks=1), reference=[0.5, 0.5])
