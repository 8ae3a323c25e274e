"""What is measured of each class, against NumPy, SciPy and torch's own sums."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
import scipy.special
import scipy.stats
import torch
from torch import Tensor

from amgan_fast.metrics import ClassRow, LabelSums, PerClass, RowTerms, StratumSums
from amgan_fast.metrics.moments import RandomSample
from amgan_fast.ops import score_sums

K, N = 5, 400
CLASSES = torch.tensor([4, 0, 2])  # of the three labels


@pytest.fixture
def logits(generator: torch.Generator) -> Tensor:
    return 3 * torch.randn(N, K, generator=generator, dtype=torch.float64)


@pytest.fixture
def labels(generator: torch.Generator) -> Tensor:
    return torch.randint(3, (N,), generator=generator)


def summed(logits: Tensor, labels: Tensor, classes: Tensor | None = CLASSES, sizes=(150, 0, 249, 1)) -> LabelSums:
    sums = LabelSums(K, 3, classes=classes)
    for batch, wanted in zip(logits.split(sizes), labels.split(sizes), strict=True):
        sums.update(batch, wanted)
    return sums


def test_rows_against_scipy(logits, labels):
    result = summed(logits, labels).compute(["ant", "bee", "cat"])
    p = scipy.special.softmax(logits.numpy(), axis=1)
    entropy, likeliest = scipy.stats.entropy(p, axis=1), p.argmax(1)
    for label, (row, name) in enumerate(zip(result.rows, ("ant", "bee", "cat"), strict=True)):
        here = labels.numpy() == label
        right, n = (likeliest[here] == int(CLASSES[label])), int(here.sum())
        assert (row.label, row.name, row.n) == (label, name, n)
        assert row.mean_entropy == pytest.approx(entropy[here].mean())
        want = scipy.stats.t.interval(0.95, n - 1, entropy[here].mean(), scipy.stats.sem(entropy[here]))
        assert row.mean_entropy_ci95 == pytest.approx(want)
        assert row.agreement == right.mean()
        wilson = scipy.stats.binomtest(int(right.sum()), n).proportion_ci(method="wilson")
        assert row.agreement_ci95 == pytest.approx((wilson.low, wilson.high))
    assert result.agreement == (likeliest == CLASSES.numpy()[labels]).mean()


def test_classes_that_no_one_knows_have_no_agreement(logits, labels):
    result = summed(logits, labels, classes=None).compute()
    assert result.agreement is None
    for row in result.rows:
        assert (row.agreement, row.agreement_ci95, row.share, row.share_ci95) == (None,) * 4
        assert row.mean_entropy > 0
        assert row.name == str(row.label)


def test_labels_of_one_sample_and_of_none(logits):
    row, alone, nobody = summed(logits, torch.tensor([0] * (N - 1) + [1])).compute().rows
    assert (row.n, alone.n, nobody.n) == (N - 1, 1, 0)
    assert alone.mean_entropy is not None
    assert alone.mean_entropy_ci95 is None
    assert (nobody.mean_entropy, nobody.agreement, nobody.agreement_ci95) == (None, None, None)
    assert LabelSums(K, 3).compute().agreement is None


def test_intervals_stay_within_what_is_possible():
    sure, unsure = torch.eye(K, dtype=torch.float64)[[0, 1, 2, 0]] * 60, torch.zeros(4, K, dtype=torch.float64)
    skewed = torch.cat([sure[:3], unsure[:1]])
    for logits in (sure, unsure, skewed):
        sums = LabelSums(K, 1, classes=torch.tensor([0]))
        sums.update(logits, torch.zeros(4, dtype=torch.int64))
        (row,) = sums.compute().rows
        for (low, high), value, most in (
            (row.mean_entropy_ci95, row.mean_entropy, math.log(K)),
            (row.agreement_ci95, row.agreement, 1),
        ):
            assert 0 <= low <= value + 1e-12
            assert value - 1e-12 <= high <= most


def test_the_share_of_random_samples_has_wilson_s_interval_of_certain_ones():
    counts = np.array([30, 50, 20])
    sums = LabelSums(3, 3, classes=torch.arange(3))
    certain = score_sums(
        torch.eye(3, dtype=torch.float64).repeat_interleave(torch.from_numpy(counts), 0), probabilities=True
    )
    rows = sums.compute(moments=RandomSample(certain.total())).rows
    for row, count in zip(rows, counts, strict=True):
        wilson = scipy.stats.binomtest(int(count), 100).proportion_ci(method="wilson")
        assert row.share == count / 100
        assert row.share_ci95 == pytest.approx((wilson.low, wilson.high))
    alike = score_sums(torch.tensor([[0.25, 0.25, 0.5]] * 7, dtype=torch.float64), probabilities=True)
    exact = sums.compute(moments=RandomSample(alike.total())).rows
    assert [row.share_ci95 for row in exact] == [(0.25, 0.25), (0.25, 0.25), (0.5, 0.5)]


def test_the_worst_come_first_by_agreement_then_by_entropy():
    def row(label: int, agreement: float | None, entropy: float, n: int = 10):
        return ClassRow(label, str(label), n, entropy, None, agreement, None)

    known = PerClass((row(0, 0.9, 0.1), row(1, 0.5, 0.1), row(2, 0.5, 0.7), row(3, 0.0, 0.0, n=0)), 0.6)
    assert [row.label for row in known.worst(2)] == [2, 1]
    assert [row.label for row in known.worst(10)] == [2, 1, 0]
    unknown = PerClass((row(0, None, 0.1), row(1, None, 0.3)), None)
    assert [row.label for row in unknown.worst(1)] == [1]


def test_as_json_and_back(logits, labels):
    result = summed(logits, labels).compute()
    as_dict = json.loads(json.dumps(result.to_dict()))
    assert as_dict["rows"][1]["n"] == result.rows[1].n
    assert PerClass.from_dict(as_dict) == result


def test_parts_merge_to_the_whole(logits, labels):
    whole, first, second = summed(logits, labels), LabelSums(K, 3, classes=CLASSES), LabelSums(K, 3, classes=CLASSES)
    first.update(logits[:123], labels[:123])
    second.update(logits[123:], labels[123:])
    first.merge(second)
    assert first.counts.tolist() == whole.counts.tolist() == labels.bincount().tolist()
    assert [row.mean_entropy for row in first.compute().rows] == pytest.approx(
        [row.mean_entropy for row in whole.compute().rows], rel=1e-13
    )
    with pytest.raises(ValueError, match="other has num_labels = 4, wanted 3 as here"):
        first.merge(LabelSums(K, 4))


@pytest.mark.parametrize(
    ("labels", "error", "said"),
    [
        ([0, 3], ValueError, "labels are 0 to 3, wanted 0 to 2"),
        ([-1, 0], ValueError, "labels are -1 to 0, wanted 0 to 2"),
        ([0], ValueError, r"labels are \[1\], wanted \[2\], one for each sample"),
        ([0.0, 1.0], TypeError, "labels are torch.float32, wanted integers"),
    ],
)
def test_bad_labels_add_nothing(labels, error, said):
    sums = LabelSums(K, 3)
    with pytest.raises(error, match=said):
        sums.update(torch.zeros(2, K), torch.tensor(labels))
    assert not sums.counts.any()


def test_bad_rows_and_bad_arguments():
    sums = LabelSums(K, 3)
    with pytest.raises(ValueError, match=r"row 1 \(sample 1\).*NaN"):
        sums.update(torch.tensor([[0.0] * K, [math.nan] * K]), torch.zeros(2, dtype=torch.int64))
    assert not sums.counts.any()
    with pytest.raises(ValueError, match="num_labels is 0, wanted at least 1"):
        LabelSums(K, 0)
    with pytest.raises(ValueError, match=r"classes are \[2\], wanted \[3\], one for each label"):
        LabelSums(K, 3, classes=torch.arange(2))


@pytest.mark.parametrize("at_random", [False, True])
def test_shares_hold_the_truth_as_often_as_they_say(at_random):
    """Dirichlet distributions of known means, of certain classes and less certain ones."""
    classes, each, sets = 10, 36, 100
    concentration = 0.05 + torch.eye(classes, dtype=torch.float64) * torch.linspace(1, 4, classes)[:, None]
    truth = (concentration / concentration.sum(1, keepdim=True)).mean(0)
    held = 0
    with torch.random.fork_rng():  # torch's own Dirichlet takes no generator
        torch.manual_seed(0)
        for _ in range(sets):
            labels = torch.randint(classes, (classes * each,)) if at_random else torch.arange(classes).repeat(each)
            rows = RowTerms(torch.distributions.Dirichlet(concentration[labels]).sample(), from_logits=False)
            sums = LabelSums(classes, classes, classes=torch.arange(classes))
            drawn = StratumSums(classes, 1 if at_random else classes)  # in one stratum, at random
            sums.add(rows, labels)
            drawn.add(rows, torch.zeros_like(labels) if at_random else labels)
            for row, share in zip(sums.compute(moments=drawn.design().moments).rows, truth.tolist(), strict=True):
                held += row.share_ci95[0] <= share <= row.share_ci95[1]
    assert 0.92 < held / (sets * classes) < 0.98
