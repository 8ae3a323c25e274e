"""Class frequencies of two samples: the test's level by simulation, its numbers against SciPy and by hand."""

from __future__ import annotations

import itertools
import json
from functools import partial

import numpy as np
import pytest
import scipy.stats
import torch
from torch import Tensor

from amgan_fast.metrics import LabelCounts, ScoreAccumulator, label_balance, save_label_balance
from amgan_fast.metrics.homogeneity import Homogeneity, _Sample, homogeneity

K = 10


def confusion(num_classes: int, certainty: tuple[float, float], seed: int = 0) -> np.ndarray:
    """[K, K]: how often samples of each class are taken for which, rightly as often as ``certainty`` says, from the
    least to the greatest."""
    random = np.random.default_rng(seed)
    right = random.uniform(*certainty, num_classes)
    others = random.dirichlet(np.full(num_classes, 0.3), num_classes)
    np.fill_diagonal(others, 0)
    return np.diag(right) + (1 - right)[:, None] * others / others.sum(1, keepdims=True)


def draw(random: np.random.Generator, taken_for: np.ndarray, n: int, design: str) -> Tensor:
    """Counts of n samples: [K] at random, or [S, K] of as many of each class."""
    classes = len(taken_for)
    of_each = random.multinomial(n, np.full(classes, 1 / classes)) if design == "random" else n // classes
    table = torch.from_numpy(random.multinomial(np.broadcast_to(of_each, classes), taken_for))
    return table.sum(0) if design == "random" else table


def assert_uniform(values: list[float]) -> None:
    """Three tests at one in a thousand each."""
    assert scipy.stats.kstest(values, "uniform").pvalue > 1e-3
    for level in (0.05, 0.01):
        often = sum(value < level for value in values)
        assert scipy.stats.binomtest(often, len(values), level).pvalue > 1e-3, (level, often / len(values))


# --- The level


CERTAIN, SHARP, SOFT = (1.0, 1.0), (0.9, 0.99), (0.4, 0.9)


@pytest.mark.parametrize(
    ("num_classes", "certainty", "designs", "sizes"),
    [
        (10, CERTAIN, ("random", "random"), (500, 500)),
        (10, SOFT, ("random", "random"), (300, 3000)),
        (10, CERTAIN, ("strata", "random"), (360, 1440)),
        (10, CERTAIN, ("random", "strata"), (360, 1440)),
        (10, SOFT, ("strata", "random"), (500, 500)),
        (10, SHARP, ("strata", "strata"), (1000, 5000)),
        (10, SOFT, ("strata", "strata"), (360, 1440)),
        (100, CERTAIN, ("random", "random"), (500, 500)),
        (100, CERTAIN, ("random", "strata"), (500, 500)),
        (100, SHARP, ("strata", "random"), (1000, 10_000)),
        (100, SHARP, ("strata", "strata"), (2000, 2000)),
        (100, SOFT, ("strata", "strata"), (500, 500)),
        (100, SOFT, ("random", "strata"), (1000, 10_000)),
    ],
)
def test_p_is_uniform_where_both_are_of_one_distribution(num_classes, certainty, designs, sizes):
    random, taken_for = np.random.default_rng(1), confusion(num_classes, certainty)
    results = []
    for _ in range(400 if num_classes == 10 else 250):
        first, second = (draw(random, taken_for, n, design) for n, design in zip(sizes, designs, strict=True))
        results.append(homogeneity(first, second).p_value)
    assert_uniform(results)


def test_p_is_uniform_for_strata_that_are_other_groups_in_either_sample():
    random, taken_for = np.random.default_rng(2), confusion(K, SOFT)
    mean = taken_for.mean(0)
    tilt = 0.8 * mean * np.where(np.arange(K) % 2, 1, -1)
    tilt -= mean * tilt.sum()
    halves = np.stack([mean + tilt, mean - tilt])
    results = []
    for _ in range(400):
        second = torch.from_numpy(random.multinomial([700, 700], halves))
        results.append(homogeneity(draw(random, taken_for, 500, "strata"), second).p_value)
    assert_uniform(results)


def test_p_is_uniform_for_logits_of_a_classifier_that_is_certain_of_nothing(generator):
    """The mean distribution is far from the fractions of likeliest classes: which of them is taken matters."""

    def counts(n: int) -> LabelCounts:
        labels = torch.randint(K, (n,), generator=generator)
        logits = torch.randn(n, K, generator=generator) + 1.5 * torch.eye(K)[labels] + torch.linspace(0, 1, K)
        found = LabelCounts(K)
        found.update(logits)
        return found

    balances = [counts(200).compute(counts(400)) for _ in range(300)]
    assert_uniform([balance.p_value for balance in balances])
    difference = np.subtract(balances[0].reference, balances[0].reference_fractions)
    assert np.abs(difference).max() > 0.02


@pytest.mark.parametrize("design", ["random", "strata"])
@pytest.mark.parametrize("certainty", [SHARP, SOFT])
def test_a_set_does_not_differ_from_itself(certainty, design):
    counts = draw(np.random.default_rng(3), confusion(K, certainty), 50_000, design)
    assert homogeneity(counts, counts).p_value == 1


# --- What it finds


def test_a_shift_shows_sooner_in_strata_than_in_random_samples():
    taken_for = confusion(K, (0.95, 0.95))
    shifted = taken_for.copy()
    shifted[3] = 0.88 * taken_for[3] + 0.12 * taken_for[7]
    random = np.random.default_rng(4)
    first, second = draw(random, taken_for, 5000, "strata"), draw(random, shifted, 5000, "strata")
    assert homogeneity(first, second).p_value < 1e-5
    assert homogeneity(first.sum(0), second.sum(0)).p_value > 0.1  # as much is chance in random samples


@pytest.mark.parametrize("reference", [torch.full((9,), 100), torch.eye(9, dtype=torch.int64) * 100])
def test_a_class_that_the_reference_lacks_is_missed_in_the_others(reference):
    reference = torch.nn.functional.pad(reference, (0, 1))
    assert homogeneity(torch.tensor([[90] * 9 + [90]]).view(-1), reference).p_value < 1e-10
    assert homogeneity(torch.tensor([100] * 9 + [1]), reference).p_value > 0.9


# --- Numbers


@pytest.mark.parametrize("num_classes", [2, 10, 60])
def test_of_random_samples_it_is_pearsons_test(num_classes):
    random = np.random.default_rng(num_classes)
    shares = random.dirichlet(np.full(num_classes, 20.0))
    first, second = (random.multinomial(n, shares) for n in (900, 2000))
    want = scipy.stats.chi2_contingency([first, second], correction=False)
    absent = np.zeros(1, dtype=np.int64)  # a class that neither has
    got = homogeneity(*(torch.from_numpy(np.concatenate([counts, absent])) for counts in (first, second)))
    assert got.cells == num_classes
    assert got.chi_square == pytest.approx(want.statistic, rel=1e-10)
    assert got.degrees_of_freedom == pytest.approx(want.dof, rel=1e-10)
    assert got.p_value == pytest.approx(want.pvalue, rel=1e-8)


def test_with_strata_it_is_satterthwaites_approximation_to_the_eigenvalues():
    """By one-hot rows: each stratum's covariance by numpy, its square by every choice of four of its samples."""
    first = np.array([[40, 3, 1], [4, 50, 6], [0, 2, 44]])
    second = np.array([300, 320, 310])
    rows = [np.repeat(np.eye(3), counts, axis=0) for counts in first]
    n, m = first.sum(), second.sum()
    a, b = first.sum(0) / n, second / m

    def design(p: np.ndarray) -> np.ndarray:
        strata = sum(len(x) * np.cov(x, rowvar=False) for x in rows) / n**2
        return strata, (np.diag(p) - np.outer(p, p)) / m

    var_a, var_b = map(np.trace, design((first.sum(0) + second) / (n + m)))
    p = (a * var_b + b * var_a) / (var_a + var_b)
    strata, random = (part / np.sqrt(np.outer(p, p)) for part in design(p))
    weights = np.linalg.eigvalsh(strata + random)
    excess = sum((len(x) / n) ** 4 * own_square_excess(x / np.sqrt(p)) / len(x) ** 2 for x in rows)
    square = (weights**2).sum() - excess
    statistic, freedom = ((a - b) ** 2 / p).sum() * weights.sum() / square, weights.sum() ** 2 / square
    got = homogeneity(torch.from_numpy(first), torch.from_numpy(second))
    assert got.cells == 3
    assert (got.chi_square, got.degrees_of_freedom) == pytest.approx((statistic, freedom), rel=1e-10)
    assert got.p_value == pytest.approx(scipy.stats.chi2.sf(statistic, freedom), rel=1e-9)


def own_square_excess(x: np.ndarray) -> float:
    """The square of a sample's covariance, less the estimate of Chen, Zhang and Zhong (2010) from distinct samples."""
    n, products = len(x), x @ x.T
    off = products - np.diag(np.diag(products))
    two = (off**2).sum() / (n * (n - 1))
    three = ((off @ off).sum() - np.trace(off @ off)) / (n * (n - 1) * (n - 2))
    total = off.sum()
    four = total**2 - 2 * (off**2).sum() - 4 * ((off @ off).sum() - np.trace(off @ off))
    return float((np.cov(x, rowvar=False) ** 2).sum() - (two - 2 * three + four / (n * (n - 1) * (n - 2) * (n - 3))))


def test_the_square_of_a_small_stratum_is_that_of_its_quadruples():
    counts, p = np.array([[3, 2, 1], [1, 1, 0]]), np.array([0.5, 0.3, 0.2])  # of two samples nothing can be said
    x = np.repeat(np.eye(3), counts[0], axis=0) / np.sqrt(p)
    quadruples = [((x[i] - x[j]) @ (x[k] - x[m])) ** 2 / 4 for i, j, k, m in itertools.permutations(range(6), 4)]
    want = (np.cov(x, rowvar=False) ** 2).sum() - np.mean(quadruples)
    got = _Sample.of(torch.from_numpy(counts)).excess_square(torch.from_numpy(p))
    assert got == pytest.approx((6 / 8) ** 4 * want / 6**2, rel=1e-12)
    assert own_square_excess(x) == pytest.approx(want, rel=1e-12)


def test_small_classes_are_merged_until_each_cell_has_five_expected_in_either_sample():
    counts = torch.full((1000,), 2)
    counts[:10] = 100
    result = homogeneity(counts, counts.flip(0))
    assert result.cells == 20 + 326  # 980 classes of 4 in both, three to a cell, and 20 of 102
    assert homogeneity(torch.full((1000,), 2), torch.full((1000,), 2)).cells == 333


@pytest.mark.parametrize(
    ("first", "second", "said"),
    [
        ([5, 0], [9, 0], "all samples of both sets are of one class"),
        ([[5, 0], [0, 5]], [[9, 0], [0, 9]], "the counts of both sets are fixed: in each stratum all samples are of"),
        ([[5, 0], [0, 5]], [[9, 0], [0, 3]], "the counts of both sets are fixed"),
        ([1, 0], [0, 1], "too few counts vary by chance: small classes merged, a single one is left"),
        ([[99, 1, 0, 0], [0, 0, 0, 99]], [[50, 0, 0, 0], [0, 0, 0, 50]], "too few counts vary by chance"),
    ],
)
def test_where_nothing_can_be_tested_there_is_a_reason_and_no_number(first, second, said):
    result = homogeneity(torch.tensor(first), torch.tensor(second))
    assert (result.p_value, result.chi_square, result.degrees_of_freedom) == (None, None, None)
    assert said in result.reason


def test_strata_of_one_sample_are_taken_for_a_random_sample():
    counts, other = torch.tensor([30, 40, 50]), torch.tensor([300, 300, 300])
    singles = torch.eye(3, dtype=torch.int64).repeat_interleave(counts, 0)
    assert homogeneity(singles, other) == homogeneity(counts, other)
    pair = torch.tensor([[40, 10, 1], [0, 0, 1], [4, 30, 20], [0, 0, 0]])
    joined = torch.tensor([[40, 10, 2], [4, 30, 20]])  # one alone: into the smaller of the two
    assert homogeneity(pair, other) == homogeneity(joined, other)


def test_the_two_samples_may_change_places():
    random, taken_for = np.random.default_rng(5), confusion(30, SOFT)
    first, second = draw(random, taken_for, 600, "strata"), draw(random, taken_for, 900, "random")
    one, other = homogeneity(first, second), homogeneity(second, first)
    assert one.p_value == pytest.approx(other.p_value, rel=1e-9)
    assert isinstance(one, Homogeneity)
    assert one.cells == other.cells


# --- From logits


@pytest.fixture
def logits(generator: torch.Generator) -> Tensor:
    return 3 * torch.randn(500, K, generator=generator)


@pytest.fixture
def strata(generator: torch.Generator) -> Tensor:
    return torch.randint(3, (500,), generator=generator)


def collected(logits: Tensor, strata: Tensor | None, sizes: list[int] | int = 500) -> LabelCounts:
    counts = LabelCounts(K, strata=None if strata is None else 3)
    for start in range(0, len(logits), sizes):
        part = slice(start, start + sizes)
        counts.update(logits[part], strata=None if strata is None else strata[part])
    return counts


def test_counts_by_stratum_are_those_of_a_table(logits, strata, device):
    want = np.zeros((3, K), dtype=np.int64)
    np.add.at(want, (strata.numpy(), logits.argmax(1).numpy()), 1)
    for sizes, of_row in ((500, strata), (77, strata.to(device))):
        counts = collected(logits.to(device), of_row, sizes)
        assert counts.table().tolist() == want.tolist()
        assert counts.table("random").tolist() == want.sum(0).tolist()


def test_any_form_of_the_reference_gives_the_same(logits, strata):
    one, other = collected(logits[:200], strata[:200]), collected(logits[200:], strata[200:])
    table = other.table()
    want = one.compute(other)
    for given in (table, table.to(torch.int32), table.numpy(), table.tolist()):
        assert one.compute(given).p_value == want.p_value
    assert one.compute(other.table("random")).p_value != want.p_value
    assert one.compute(other, "random") == collected(logits[:200], None).compute(other)
    plain = label_balance(logits[:200], table.sum(0).tolist())
    assert plain.reference == plain.reference_fractions
    assert plain.p_value == one.compute(table.sum(0), "random").p_value
    assert want.reference != want.reference_fractions
    assert label_balance(logits[:200].split(66), other, strata=strata[:200].numpy()).p_value == want.p_value
    with pytest.raises(ValueError, match=r"strata are \[200\], wanted \[500\], one for each sample"):
        label_balance(logits, other, strata=strata[:200])


def test_without_counts_of_the_reference_there_are_fractions_and_no_p(logits, monkeypatch):
    training = ScoreAccumulator(K)
    training.update(logits)
    kept = []
    monkeypatch.setattr("amgan_fast.metrics.balance.save_figure", lambda path, figure: kept.append(figure))
    for reference in ([1 / K] * K, np.full(K, 1 / K), training, training.compute()):
        balance = label_balance(logits, reference)
        assert (balance.p_value, balance.chi_square, balance.cells, balance.reference_counts) == (None,) * 4
        assert "no p: the reference's counts are not known" in str(balance)
        assert json.loads(json.dumps(balance.to_dict()))["reason"] == balance.reason
    save_label_balance("none.png", {"generated": balance, "real": label_balance(logits, [50] * K)})
    texts = [text.get_text() for text in kept[0].axes[0].get_legend().get_texts()]
    assert "generated" in texts
    assert sum("p = " in text for text in texts) == 1


def test_a_merged_half_is_the_whole(logits, strata):
    one, other = collected(logits[:123], strata[:123]), collected(logits[123:], strata[123:])
    one.merge(other)
    again = LabelCounts(K, strata=3)
    again.load_state_dict(one.state_dict())
    whole = collected(logits, strata)
    assert again.table().equal(whole.table())
    assert again.compute([50] * K).p_value == whole.compute([50] * K).p_value
    with pytest.raises(ValueError, match="other has strata = None, wanted 3 as here"):
        one.merge(LabelCounts(K))


@pytest.mark.parametrize(
    ("given", "error", "said"),
    [
        (lambda x: x[1:], ValueError, r"strata are \[499\], wanted \[500\], one for each sample"),
        (lambda x: x - 1, ValueError, "strata are -1 to 1, wanted 0 to 2"),
        (lambda x: x + 1, ValueError, "strata are 1 to 3, wanted 0 to 2"),
        (lambda x: x.double(), TypeError, "strata are torch.float64, wanted integers"),
        (lambda x: None, ValueError, "strata are not given, wanted that of each sample, 0 to 2"),
    ],
)
def test_bad_strata_add_nothing(logits, strata, given, error, said):
    counts = LabelCounts(K, strata=3)
    with pytest.raises(error, match=said):
        counts.update(logits, strata=given(strata))
    assert counts.samples == 0
    assert not counts.table().any()
    with pytest.raises(ValueError, match="no samples, wanted at least one update"):
        counts.compute([50] * K)


def test_strata_that_are_not_wanted_are_refused(logits, strata):
    with pytest.raises(ValueError, match="strata are given, and there are none; wanted LabelCounts"):
        LabelCounts(K).update(logits, strata=strata)
    with pytest.raises(ValueError, match="strata is 0, wanted at least 1"):
        LabelCounts(K, strata=0)


@pytest.mark.parametrize(
    ("reference", "said"),
    [
        ([50] * (K - 1), r"reference is \[9\], wanted counts \[10\] or \[S, 10\]"),
        ([[[50] * K]], r"reference is \[1, 1, 10\], wanted counts"),
        ([-1] + [50] * (K - 1), "reference has 449 samples, its least count is -1; wanted"),
        ([0] * K, "reference has 0 samples, its least count is 0; wanted"),
        (LabelCounts(K), "no samples, wanted at least one update"),
        (partial(LabelCounts, K), "reference is a partial"),
    ],
)
def test_bad_references(logits, reference, said):
    with pytest.raises((ValueError, TypeError), match=said):
        label_balance(logits, reference)
