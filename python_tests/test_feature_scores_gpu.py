"""Scores of features that are on a GPU: what they are on a CPU, with everything on one device."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from amgan_fast.metrics import (
    DiversitySums,
    FeatureSample,
    kernel_distance,
    kernel_distance_in_subsets,
    memorisation,
    precision_recall,
    suggested_bandwidth,
)


@pytest.fixture
def features(generator) -> list[Tensor]:
    return [torch.randn(count, 6, generator=generator) for count in (90, 70, 40)]


def assert_same(there: object, here: object) -> None:
    values = {name: value for name, value in vars(here).items() if name != "estimates"}
    for name, value in values.items():
        assert getattr(there, name) == pytest.approx(value, rel=1e-4), name


def test_scores_are_those_of_a_cpu(features, gpu):
    x, y, training = features
    there, other, seen = (one.to(gpu.device) for one in features)
    assert kernel_distance(there, y).value == pytest.approx(kernel_distance(x, y).value, rel=1e-4)
    subsets = {"subsets": 3, "size": 20}
    assert_same(kernel_distance_in_subsets(there, other, **subsets), kernel_distance_in_subsets(x, y, **subsets))
    assert_same(precision_recall(samples=there, reference=other), precision_recall(samples=x, reference=y))
    assert_same(memorisation(there, other, seen), memorisation(x, y, training))
    assert suggested_bandwidth(there) == pytest.approx(suggested_bandwidth(x))


def test_features_are_kept_where_they_are_wanted(features, gpu):
    x, y, _ = features
    for device in ("cpu", gpu.device):
        kept, here = FeatureSample(6, 50, device=device), FeatureSample(6, 50)
        for one in (x, y):
            kept.update(one.to(gpu.device), torch.arange(len(one), device=gpu.device))
            here.update(one, torch.arange(len(one)))
        assert kept.features.device.type == torch.device(device).type
        assert torch.equal(kept.features.cpu(), here.features)
        assert kept.labels.tolist() == here.labels.tolist()
        again = FeatureSample(6, 50, device=device)
        again.load_state_dict(kept.state_dict())
        assert torch.equal(again.features.cpu(), here.features)
        another = FeatureSample(6, 50, start=160)
        another.update(x, torch.arange(90))
        for one in (again, here):
            one.merge(another)
        assert torch.equal(again.features.cpu(), here.features)


def test_diversity_sums_follow_the_features(features, gpu):
    sums, here = (DiversitySums(6, 2.0, components=16, blocks=4) for _ in range(2))
    for one in features:
        sums.update(one.to(gpu.device))
        here.update(one)
    assert sums.state_dict()["products"].device == gpu.device
    assert sums.compute().vendi == pytest.approx(here.compute().vendi, rel=1e-4)
