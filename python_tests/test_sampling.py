"""How samples were drawn, as the counts of their labels tell it: against exact multinomial probabilities."""

from __future__ import annotations

import itertools
import math

import pytest
import scipy.special
import scipy.stats
import torch
from torch import Tensor

from amgan_fast.metrics import sampling_of_counts
from amgan_fast.metrics.sampling import closeness_by_chance


def equal(labels: int) -> Tensor:
    return torch.full((labels,), 1 / labels, dtype=torch.float64)


def exact_closeness(counts: list[int], shares: list[float]) -> float:
    """The probability of all counts that are as close to their shares, one by one."""
    samples = sum(counts)
    wanted = [samples * share for share in shares]

    def distance(numbers) -> float:
        return sum((n - w) ** 2 / w for n, w in zip(numbers, wanted, strict=True))

    free = itertools.product(range(samples + 1), repeat=len(counts) - 1)
    complete = ((*some, samples - sum(some)) for some in free if sum(some) <= samples)
    near = [numbers for numbers in complete if distance(numbers) <= distance(counts) + 1e-9]
    return float(scipy.stats.multinomial(samples, shares).pmf(near).sum())


def log_exact_equal_closeness(labels: int, each: int, most: int) -> float:
    """The same of labels of equal shares, whose counts differ from ``each`` by squares that sum to at most ``most``."""
    reach = range(-min(each, math.isqrt(most)), math.isqrt(most) + 1)
    ways = {(0, 0): 0.0}  # (sum, sum of squares) of the differences so far -> log of the sum of 1 / prod n!
    for _ in range(labels):
        found: dict[tuple[int, int], list[float]] = {}
        for (total, squares), log_way in ways.items():
            for d in reach:
                if squares + d * d <= most:
                    found.setdefault((total + d, squares + d * d), []).append(log_way - math.lgamma(each + d + 1))
        ways = {key: float(scipy.special.logsumexp(terms)) for key, terms in found.items()}
    near = scipy.special.logsumexp([way for (total, _), way in ways.items() if total == 0])
    samples = labels * each
    return float(near) + math.lgamma(samples + 1) - samples * math.log(labels)


@pytest.mark.parametrize(
    ("counts", "shares"),
    [
        ([50, 50], [0.5, 0.5]),
        ([48, 52], [0.5, 0.5]),
        ([20, 80], [0.2, 0.8]),
        ([20, 20, 20], [1 / 3] * 3),
        ([17, 20, 23], [1 / 3] * 3),
        ([8, 12, 20], [0.2, 0.3, 0.5]),
        ([5, 6, 6, 6], [0.25] * 4),
    ],
)
def test_few_labels_against_all_counts_there_are(counts, shares):
    got = closeness_by_chance(torch.tensor(counts), torch.tensor(shares, dtype=torch.float64))
    assert exact_closeness(counts, shares) / 1.6 < got < exact_closeness(counts, shares) * 1.6


def test_two_classes_of_fifty_each_come_by_chance_in_one_set_of_twelve():
    assert closeness_by_chance(torch.tensor([50, 50]), equal(2)) == pytest.approx(0.0796, rel=1e-3)
    assert sampling_of_counts(torch.tensor([50, 50]))[0] == "random"


@pytest.mark.parametrize(("labels", "each", "most"), [(10, 5, 0), (10, 5, 4), (10, 36, 0), (10, 36, 4), (10, 36, 40)])
def test_ten_labels_against_the_exact_probability(labels, each, most):
    counts = torch.full((labels,), each)
    pairs = min(most // 2, labels // 2)
    counts[:pairs] += 1
    counts[labels - pairs :] -= 1
    squares = int((counts - each).square().sum())
    exact = math.exp(log_exact_equal_closeness(labels, each, squares))
    assert exact / 1.6 < closeness_by_chance(counts, equal(labels)) < exact * 2


@pytest.mark.parametrize(("each", "most"), [(1, 0), (1, 4), (5, 0), (20, 10)])
def test_of_a_hundred_labels_it_is_never_below_the_exact_probability(each, most):
    counts = torch.full((100,), each)
    counts[: most // 2] += 1
    counts[100 - most // 2 :] -= 1
    got = closeness_by_chance(counts, equal(100))
    assert got >= math.exp(log_exact_equal_closeness(100, each, most))
    assert got < 1e-25


@pytest.mark.parametrize(
    ("labels", "samples"), [(2, 1000), (10, 60), (10, 2000), (100, 150), (1000, 300), (1000, 9000)]
)
@pytest.mark.parametrize("alike", [True, False])
def test_of_labels_drawn_at_random_it_is_small_as_rarely_as_it_says(generator, labels, samples, alike):
    shares = equal(labels) if alike else torch.linspace(1, 3, labels, dtype=torch.float64) / (2 * labels)
    drawn = torch.multinomial(shares.expand(500, -1), samples, replacement=True, generator=generator)
    found = torch.tensor([closeness_by_chance(row.bincount(minlength=labels), shares) for row in drawn])
    for limit in (0.01, 0.05, 0.2):
        at_most = scipy.stats.binom.ppf(1 - 1e-6, 500, limit)
        assert (found < limit).sum() <= at_most, limit


@pytest.mark.parametrize(
    ("counts", "sampling"),
    [
        ([36] * 10, "per-class"),
        ([36, 36, 35, 37, 36, 37, 36, 36, 35, 36], "per-class"),  # held-out digits
        ([5] * 10, "per-class"),
        ([1] * 100, "per-class"),
        ([50] * 1000, "per-class"),
        ([0, 0, 0] + [20] * 40, "per-class"),  # classes that nobody asked for
        ([980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009], "random"),  # MNIST's test images
        ([1744, 5099, 4149, 2882, 2523, 2384, 1977, 2019, 1660, 1595], "random"),  # SVHN's
        ([1] * 10, "random"),
        ([3, 4, 5], "random"),
        ([700], "random"),
        ([0, 700], "random"),
        ([700, 1], "random"),
    ],
)
def test_what_counts_tell(counts, sampling):
    assert sampling_of_counts(torch.tensor(counts))[0] == sampling


def test_few_samples_of_many_labels_are_not_all_different_by_design(generator):
    for _ in range(50):
        counts = torch.randint(10_000, (200,), generator=generator).bincount(minlength=10_000)
        assert sampling_of_counts(counts)[0] == "random"


def test_counts_in_proportion_to_unequal_shares_that_are_known():
    counts = torch.tensor([20, 60, 100, 140, 180, 220, 260, 300])
    shares = counts / counts.sum()
    assert sampling_of_counts(counts)[0] == "random"
    told = (
        "per-class",
        "1,280 samples of 8 classes, 20 to 300 each, closer to the training set's shares than chance allows",
    )
    assert sampling_of_counts(counts, shares) == told
    assert sampling_of_counts(counts, shares.flip(0))[0] == "random"
    assert sampling_of_counts(counts, torch.cat([shares[:-1] / shares[:-1].sum(), torch.zeros(1)]))[0] == "random"


def test_what_is_told_of_the_counts():
    assert sampling_of_counts(torch.tensor([0, 1500, 700])) == (
        "random",
        "2,200 samples of 2 classes, 700 to 1,500 each, no closer to equal shares than by chance",
    )
    digits = torch.tensor([142, 146, 142, 146, 145, 145, 145, 143, 139, 144])
    assert sampling_of_counts(digits) == (
        "random",
        "1,437 samples of 10 classes, 139 to 146 each, as close to equal shares as by chance with probability 4e-06",
    )
    assert sampling_of_counts(torch.tensor([0, 5]))[1].startswith("5 samples of 1 class, 5 each, ")
