"""Samples that come in an order of classes: what tells of it, against SciPy and random orders, and what it does."""

from __future__ import annotations

import json
import math
import warnings

import numpy as np
import pytest
import scipy.stats
import torch
from torch import Tensor
from torch.nn.functional import one_hot

from amgan_fast import ops
from amgan_fast.metrics import ClassSums, ScoreAccumulator, ScoreWarning, scores
from amgan_fast.metrics.moments import RandomSample
from amgan_fast.metrics.statistics import corrected_scores, dispersion, largest_dispersion_by_chance

K = 10
CERTAIN = 30.0


def logits_of(labels: Tensor, num_classes: int = K) -> Tensor:
    return one_hot(labels, num_classes).double() * CERTAIN


def chi_square(labels: Tensor, set_of: Tensor) -> float:
    """Over its degrees of freedom and its expectation given how often each class comes, N / (N - 1)."""
    table = scipy.stats.contingency.crosstab(set_of.numpy(), labels.numpy()).count
    test = scipy.stats.chi2_contingency(table, correction=False)
    return test.statistic / test.dof * (len(labels) - 1) / len(labels)


@pytest.mark.parametrize(("rows", "splits"), [(500, 10), (503, 10), (37, 4), (20, 2)])
def test_of_certain_samples_it_is_pearsons_chi_square(rows, splits, generator):
    labels = torch.multinomial(torch.arange(1.0, K + 1), rows, replacement=True, generator=generator)
    got = scores(logits_of(labels), splits=splits, blocks=20 * splits // math.gcd(20, splits))
    place = torch.arange(rows)
    assert got.split_dispersion == pytest.approx(chi_square(labels, place % splits), rel=1e-9)
    contiguous = scores(logits_of(labels), splits=splits, blocks=splits, num_samples=rows)
    split_of = (torch.searchsorted(torch.arange(1, splits + 1) * rows // splits, place, right=True)).clamp(
        max=splits - 1
    )
    assert contiguous.split_dispersion == pytest.approx(chi_square(labels, split_of), rel=1e-9)
    assert contiguous.block_dispersion == contiguous.split_dispersion


def test_of_uncertain_samples_it_is_the_formula(generator):
    logits = 2 * torch.randn(503, K, generator=generator, dtype=torch.float64)
    p = logits.softmax(1).numpy()
    got, blocks = scores(logits), np.arange(503) % 100
    found = sum((blocks == b).sum() * ((p[blocks == b].mean(0) - p.mean(0)) ** 2 / p.mean(0)).sum() for b in range(100))
    expected = 99 * (p.var(axis=0, ddof=1) / p.mean(0)).sum()
    assert got.block_dispersion == pytest.approx(found / expected, rel=1e-10)
    # The mean over all orders is 1, and so is about that over many.
    many = [scores(logits[torch.randperm(503, generator=generator)], blocks=10).split_dispersion for _ in range(200)]
    assert np.mean(many) == pytest.approx(1, abs=5 * np.std(many) / math.sqrt(200))


def test_each_class_in_a_split_of_its_own(generator):
    labels = torch.arange(1000) % K
    for given, options in ((labels, {}), (labels.sort().values, {"num_samples": 1000})):
        with pytest.warns(ScoreWarning, match=r"splits differ 111 times.*scores are void.*; shuffle them") as caught:
            got = scores(logits_of(given), **options)
        assert len(caught) == 1
        assert got.split_dispersion == pytest.approx(111, rel=0.01)  # N / (S - 1)
        assert got.split_mean == pytest.approx(1)
        assert got.warnings == (str(caught[0].message),)
        assert got.warnings[0] in str(got)
        assert json.loads(got.to_json())["split_dispersion"] == got.split_dispersion
        assert json.loads(got.to_json())["warnings"] == list(got.warnings)


def test_blocks_alone_may_be_out_of_order():
    """Ten classes in turn, seven splits: each split is given its share, but each of 70 blocks holds a class."""
    labels = torch.arange(7000) % K
    with pytest.warns(ScoreWarning, match=r"classes: blocks differ 101 times.*intervals are too wide; shuffle them"):
        got = scores(logits_of(labels), splits=7, blocks=70)
    assert got.split_dispersion < 0.01
    assert got.split_mean == pytest.approx(K, rel=1e-6)


def test_sorted_samples_in_turn_and_shuffled_ones_are_not_warned_of(generator):
    labels = torch.arange(1000) // 100
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        in_turn = scores(logits_of(labels))
        shuffled = scores(logits_of(labels[torch.randperm(1000, generator=generator)]), num_samples=1000)
    assert in_turn.split_dispersion == pytest.approx(0, abs=1e-9)
    assert 0.3 < shuffled.split_dispersion < 3
    assert "Warning" not in str(in_turn) + str(shuffled)


def test_labels_that_are_sorted_are_named_instead():
    labels = torch.arange(1000) // 100
    with pytest.warns(ScoreWarning, match="labels are sorted, and the splits contiguous") as caught:
        scores(logits_of(labels), labels=labels, num_samples=1000)
    assert len(caught) == 1


def test_where_it_is_not_defined(generator):
    logits = torch.randn(100, K, generator=generator)
    assert scores(logits, splits=1).split_dispersion is None
    assert scores(logits, splits=1, blocks=1).block_dispersion is None
    assert scores(logits[:7]).split_dispersion is None  # of 10 splits
    unfinished = ScoreAccumulator(K, num_samples=200)
    unfinished.update(logits)
    assert unfinished.compute().split_dispersion is None
    for alike in (torch.zeros(50, K), torch.randn(1, K, generator=generator).repeat(50, 1)):
        got = scores(alike)
        assert (got.split_dispersion, got.block_dispersion, got.warnings) == (None, None, ())


def test_a_reference_may_come_in_any_order():
    reference = ScoreAccumulator(K)
    reference.update(logits_of(torch.arange(1000) % K))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.filterwarnings("ignore", "classes are closer to the reference")  # as they are, by design
        assert scores(logits_of(torch.arange(1000) // 100), reference).kl_reference == pytest.approx(0, abs=1e-12)


def test_classes_kept_are_warned_of_too():
    labels = torch.arange(1000) % K
    sums = ClassSums(K)
    sums.update(logits_of(labels), labels)
    with pytest.warns(ScoreWarning, match="blocks differ"):
        sums.score_of(range(K))


# --- No false alarm


def draw(kind: str, rows: int, classes: int, random: torch.Generator) -> Tensor:
    """Class distributions [rows, classes] of one kind of classifier."""
    noise = torch.randn(rows, classes, generator=random, dtype=torch.float64)
    labels = torch.randint(classes, (rows,), generator=random)
    if kind == "uncertain":
        return noise.softmax(1)
    if kind == "certain":
        return (noise + 10 * one_hot(labels, classes)).softmax(1)
    if kind == "one-hot":
        return one_hot(labels, classes).double()
    if kind == "collapsed":  # to one class but for a few samples
        few = int(torch.randint(2, min(30, rows), (), generator=random))
        return one_hot(torch.where(torch.arange(rows) < few, 1, 0), classes).double()
    assert kind == "classes that go together"
    return (8 * torch.randn(rows, 1, generator=random, dtype=torch.float64) * noise[:1]).softmax(1)


KINDS = ("uncertain", "certain", "one-hot", "collapsed", "classes that go together")


def largest_of_random_orders(p: Tensor, sets: int, orders: int, random: torch.Generator) -> float:
    count = torch.full((sets,), len(p) / sets, dtype=torch.float64)
    squares = (p.square().sum(0) / sets).expand(sets, -1)  # their sum alone counts
    largest = 0.0
    for _ in range(orders):
        prob = p[torch.randperm(len(p), generator=random)].view(-1, sets, p.size(1)).sum(0)
        largest = max(largest, dispersion(ops.ScoreSums(count, count, prob, squares, prob)) or 0.0)
    return largest


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("classes", "sets", "rows"), [(2, 2, 20), (2, 10, 100), (10, 10, 100), (1000, 10, 100)])
def test_random_orders_are_not_warned_of(kind, classes, sets, rows, generator):
    p = draw(kind, rows, classes, generator)
    assert largest_of_random_orders(p, sets, 300, generator) < largest_dispersion_by_chance(sets)


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("sets", [2, 10, 100])
@pytest.mark.parametrize(("classes", "orders"), [(2, 10_000), (10, 2000), (1000, 500)])
def test_thousands_of_random_orders_are_not_warned_of(kind, sets, classes, orders, generator):
    for _ in range(20):
        p = draw(kind, 10 * sets, classes, generator)
        assert largest_of_random_orders(p, sets, orders // 20, generator) < largest_dispersion_by_chance(sets)


@pytest.mark.slow
@pytest.mark.parametrize("sets", [10, 100])
@pytest.mark.parametrize("classes", [2, 10, 1000])
@pytest.mark.parametrize("skewed", [False, True])
def test_random_orders_of_a_million_certain_samples(sets, classes, skewed):
    random = np.random.default_rng(sets + classes)
    weights = np.where(np.arange(classes) > 0, 1e-5, 1) if skewed else np.ones(classes)
    sizes = np.diff(np.rint(weights.cumsum() / weights.sum() * 1_000_000).astype(int), prepend=0)
    kept, limit = sizes[sizes > 0], largest_dispersion_by_chance(sets)
    orders = 10_000 if classes < 1000 else 200
    left = np.broadcast_to(kept, (orders, len(kept))).copy()
    statistic = np.zeros(orders)
    each = 1_000_000 // sets
    for _ in range(sets):
        rest = np.full(orders, each)
        behind = left.sum(1)
        drawn = np.empty_like(left)
        for k in range(len(kept)):  # the multivariate hypergeometric distribution, a class at a time
            behind -= left[:, k]
            drawn[:, k] = random.hypergeometric(left[:, k], behind, rest) if k < len(kept) - 1 else rest
            rest -= drawn[:, k]
        left -= drawn
        statistic += ((drawn - each * kept / 1e6) ** 2 / (each * kept / 1e6)).sum(1)
    assert statistic.max() / ((sets - 1) * (len(kept) - 1)) < limit


# --- What an order does to the intervals


def simulate(order: str, random: torch.Generator, repeats: int) -> tuple[float, float]:
    """How often the 95% interval of log IS holds the truth, and its mean half width over 1.96 standard deviations."""
    rows = 2000
    margin = torch.linspace(1, 6, K, dtype=torch.float64)  # classes differ in how certain the classifier is of them

    def sums(labels: Tensor, blocks: int) -> ops.ScoreSums:
        noise = 1.2 * torch.randn(len(labels), K, generator=random, dtype=torch.float64)
        return ops.score_sums(noise + margin[labels, None] * one_hot(labels, K), blocks=blocks)

    truth = float(corrected_scores(None, 0, RandomSample(sums(torch.arange(400_000) % K, 1)))["log_inception_score"])
    values, bounds = [], []
    for _ in range(repeats):
        labels = torch.arange(rows) % K if order == "cyclic" else torch.randint(K, (rows,), generator=random)
        accumulator = ScoreAccumulator(K)
        accumulator.add_sums(sums(labels.sort().values if order == "sorted" else labels, 100), rows)
        got = accumulator.compute()
        values.append(math.log(got.inception_score_corrected))
        bounds.append([math.log(bound) for bound in got.inception_score_ci95])
    low, high = np.array(bounds).T
    return np.mean((low <= truth) & (truth <= high)), (high - low).mean() / 2 / (1.96 * np.std(values))


def test_intervals_of_samples_in_random_order_hold_the_truth(generator):
    held, width = simulate("random", generator, 300)
    assert held > 0.9
    assert width == pytest.approx(1, abs=0.15)


@pytest.mark.filterwarnings("ignore::amgan_fast.metrics.ScoreWarning")
def test_intervals_of_classes_in_turn_are_too_wide(generator):
    held, width = simulate("cyclic", generator, 60)
    assert held == 1
    assert width > 3


def test_intervals_of_sorted_samples_leave_out_how_labels_were_drawn(generator):
    held, width = simulate("sorted", generator, 300)
    assert held < 0.95
    assert 0.6 < width < 0.9
