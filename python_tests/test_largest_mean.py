"""The largest of several means, corrected: against halves that are drawn, and in simulations whose truth is known."""

from __future__ import annotations

import math
import statistics

import pytest
import torch
from torch import Tensor

from amgan_fast.metrics import Estimate, class_ms_ssim
from amgan_fast.metrics.image_pairs import draw_pairs, mean_over_pairs
from amgan_fast.metrics.largest_mean import largest_mean

EQUAL = (0.0,) * 10
COLLAPSED = (0.0,) * 9 + (2.0,)
"""Far beyond what chance explains: 20 standard errors of 100 observations."""


def estimate(values: Tensor) -> Estimate:
    """Of independent observations."""
    return Estimate(float(values.mean()), float(values.std()) / math.sqrt(len(values)), len(values) - 1)


def observed(means: tuple[float, ...], random: torch.Generator, repeats: int, count: int = 100) -> list[list[Estimate]]:
    values = torch.tensor(means, dtype=torch.float64)[:, None] + torch.randn(
        repeats, len(means), count, generator=random, dtype=torch.float64
    )
    return [[estimate(group) for group in groups] for groups in values]


def coverage(found: list[Estimate], truth: float) -> float:
    return statistics.fmean(low <= truth <= high for low, high in (one.interval for one in found))


@pytest.mark.parametrize("means", [(0.0, 0.0, 0.0), (0.0, 1.0, 3.0), (0.0, 0.5, 1.0, 1.5)])
def test_it_is_the_mean_over_all_ways_to_choose_on_one_half_and_measure_on_the_other(means, generator):
    count = 2000  # so that a half of the observations is as good as normal
    values = torch.randn(len(means), count, generator=generator, dtype=torch.float64)
    values = (values - values.mean(1, keepdim=True)) / values.std(1, keepdim=True)
    values += torch.tensor(means)[:, None] / math.sqrt(count)  # in standard errors
    halved = []
    for _ in range(3000):
        order = torch.randperm(count, generator=generator)
        first, second = values[:, order[: count // 2]].mean(1), values[:, order[count // 2 :]].mean(1)
        halved += [float(second[first.argmax()]), float(first[second.argmax()])]
    error = statistics.stdev(halved) / math.sqrt(len(halved) / 2)
    assert largest_mean([estimate(group) for group in values]).value == pytest.approx(
        statistics.fmean(halved), abs=4 * error
    )


def test_of_equal_means_the_largest_is_too_large_by_an_error_and_a_half_and_the_corrected_one_is_not(generator):
    groups = observed(EQUAL, generator, 1000)
    plain = [max(one.value for one in group) for group in groups]
    found = [largest_mean(group) for group in groups]
    assert statistics.fmean(plain) == pytest.approx(0.154, abs=0.01)  # the largest of ten normal numbers: 1.539
    spread = statistics.stdev(one.value for one in found)
    assert abs(statistics.fmean(one.value for one in found)) < 3 * spread / math.sqrt(1000)
    assert statistics.fmean(one.standard_error**2 for one in found) == pytest.approx(spread**2, rel=0.1)
    assert 0.93 <= coverage(found, 0.0) <= 0.97


def test_a_mean_that_stands_out_is_taken_with_its_own_error(generator):
    groups = observed(COLLAPSED, generator, 1000)
    found = [largest_mean(group) for group in groups]
    for group, one in zip(groups, found, strict=True):
        assert one.value == pytest.approx(group[-1].value, abs=1e-6)
        assert one.standard_error == pytest.approx(group[-1].standard_error, rel=1e-6)
        assert one.degrees_of_freedom == pytest.approx(99, rel=1e-6)
    assert 0.93 <= coverage(found, 2.0) <= 0.97


@pytest.mark.parametrize("gap", [0.1, 0.2, 0.3])
def test_on_average_it_is_no_more_than_the_largest_true_mean(gap, generator):
    found = [largest_mean(group).value for group in observed((0.0,) * 5 + (gap,), generator, 600)]
    assert -0.15 < statistics.fmean(found) - gap < 2 * statistics.stdev(found) / math.sqrt(600)


def test_errors_that_differ_by_much(generator):
    """A group of few observations is the largest by chance more often than others."""
    counts = torch.tensor([10, 20, 100, 1000, 100_000])
    noise = torch.randn(1000, 5, generator=generator, dtype=torch.float64) / counts.sqrt()
    groups = [
        [Estimate(x, 1 / math.sqrt(n), math.inf) for x, n in zip(row, counts.tolist(), strict=True)]
        for row in noise.tolist()
    ]
    found = [largest_mean([Estimate(one.value, one.standard_error, 1e9) for one in group]) for group in groups]
    mean, spread = statistics.fmean(one.value for one in found), statistics.stdev(one.value for one in found)
    assert statistics.fmean(max(one.value for one in group) for group in groups) > 0.2
    assert abs(mean) < 3 * spread / math.sqrt(1000)
    assert statistics.fmean(one.standard_error**2 for one in found) == pytest.approx(spread**2, rel=0.15)


@pytest.mark.parametrize(("images", "pairs"), [(200, 100), (40, 100), (40, 780)])
def test_means_of_pairs_that_share_images(images, pairs, generator):
    """Classes of images that are numbers, two of which are the more alike the nearer they are."""
    truth, found, plain = 1 / math.sqrt(5), [], []
    for _ in range(500):
        group = []
        for values in torch.randn(10, images, generator=generator, dtype=torch.float64):
            drawn = draw_pairs(images, pairs, generator)
            left, right = values[drawn]
            group.append(mean_over_pairs((-((left - right) ** 2)).exp(), drawn, images))
        plain.append(max(group, key=lambda one: one.value))
        found.append(largest_mean(group))
    error = statistics.fmean(one.standard_error for one in plain)
    assert statistics.fmean(one.value for one in plain) - truth > 1.3 * error
    assert abs(statistics.fmean(one.value for one in found) - truth) < 0.2 * error
    assert coverage(plain, truth) < coverage(found, truth) - 0.05
    assert 0.92 <= coverage(found, truth) <= 0.98


def test_it_is_never_above_the_largest(generator):
    for group in observed((0.0, 0.0, 0.1), generator, 200, count=5):
        assert largest_mean(group).value <= max(one.value for one in group)


def test_a_million_errors_apart_and_without_error():
    assert largest_mean([Estimate(1e6, 1.0, 9), Estimate(-1e6, 1.0, 9)]).value == pytest.approx(1e6, rel=1e-12)
    assert largest_mean([Estimate(0.5, 0.0, 9), Estimate(0.7, 0.0, 9)]) == Estimate(0.7, 0.0, 9)
    exact = largest_mean([Estimate(1.0, 0.0, 9), Estimate(0.8, 0.01, 99)])
    assert (exact.value, exact.standard_error) == pytest.approx((1.0, 0.0), abs=1e-6)
    unknown = [Estimate(0.9, None, None), Estimate(math.nan, None, None)]
    assert math.isnan(largest_mean(unknown).value)
    assert largest_mean(unknown).interval is None
    assert largest_mean([*unknown, Estimate(0.8, 0.1, 9)]) == Estimate(
        pytest.approx(0.8), pytest.approx(0.1), pytest.approx(9)
    )


def test_classes_of_images(generator):
    """A collapsed class is found; of classes alike the corrected maximum is below the plain one."""
    images = torch.rand(120, 1, 16, 16, generator=generator)
    labels = torch.arange(120) % 3
    alike = class_ms_ssim(images, labels, pairs=20, data_range=1)
    assert alike.maximum_corrected < alike.maximum
    low, high = alike.maximum_ci95
    assert low < alike.maximum_corrected < high
    assert f"{alike.maximum_corrected:.4f}, 95% interval {low:.4f} to {high:.4f}" in str(alike)
    images[labels == 1] = images[1].clone()
    collapsed = class_ms_ssim(images, labels, pairs=20, data_range=1)
    assert collapsed.maximum_class == 1
    assert collapsed.maximum_corrected == pytest.approx(1, abs=1e-9)
    assert collapsed.maximum_ci95 == pytest.approx((1, 1), abs=1e-6)
    assert collapsed.maximum_ci95[1] <= 1
    few = class_ms_ssim(images[:3], torch.zeros(3, dtype=torch.int64), data_range=1)
    assert math.isnan(few.maximum_corrected)
    assert few.maximum_ci95 is None
    assert "corrected for being picked: unknown, too few pairs" in str(few)
