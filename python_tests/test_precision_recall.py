"""Precision, recall, density and coverage: against the plain form in NumPy, other tools, and halves one by one."""

from __future__ import annotations

import json
from importlib import import_module

import numpy as np
import pytest
import torch
from scipy.linalg import hadamard
from scipy.spatial.distance import cdist

from amgan_fast.metrics import FeatureSample, PrecisionRecall, precision_recall
from amgan_fast.metrics.split_mix import split_mix
from amgan_fast.metrics.squared_distances import centred, mean_of, squared_distances

NAMES = ("precision", "recall", "density", "coverage")


def plain(x: np.ndarray, y: np.ndarray, k: int, density_k: int) -> list[float]:
    """As the papers have them: x are the samples."""

    def radii(z: np.ndarray, neighbour: int) -> np.ndarray:
        return np.sort(cdist(z, z), 1)[:, neighbour]  # the first is the sample itself

    between, back = cdist(x, y), cdist(y, x)
    return [
        float((between <= radii(y, k)).any(1).mean()),
        float((back <= radii(x, k)).any(1).mean()),
        float((between <= radii(y, density_k)).sum(1).mean() / density_k),
        float((between.min(0) <= radii(y, density_k)).mean()),
    ]


def pair(generator: torch.Generator, n: int, m: int, dim: int = 5) -> tuple[torch.Tensor, torch.Tensor]:
    return 0.7 * torch.randn(n, dim, generator=generator) + 0.3, torch.randn(m, dim, generator=generator)


@pytest.mark.parametrize(("k", "density_k"), [(3, 5), (1, 4), (6, 2)])
def test_values_and_errors_are_the_plain_ones(k, density_k, generator, monkeypatch, device):
    monkeypatch.setattr(import_module("amgan_fast.metrics.neighbourhoods"), "_ROWS", 64)
    x, y = (one.to(device) for one in pair(generator, 150, 203))
    found = precision_recall(samples=x, reference=y, k=k, density_k=density_k)
    a, b = x.double().cpu().numpy(), y.double().cpu().numpy()
    assert [getattr(found, name) for name in NAMES] == pytest.approx(plain(a, b, k, density_k))
    squares = np.zeros(4)
    for side in (hadamard(32)[:, 1:] > 0).T:
        first, second = (side[split_mix(torch.arange(n)).argsort().argsort().numpy() % 32] for n in (150, 203))
        halves = [plain(a[first == half], b[second == half], k, density_k) for half in (True, False)]
        squares += np.square(np.subtract(*halves) / 2) / 31
    assert [found.estimates[name].standard_error for name in NAMES] == pytest.approx(np.sqrt(squares))
    assert (found.n, found.n_reference, found.dim, found.k, found.density_k) == (150, 203, 5, k, density_k)
    for name in NAMES:
        low, high = getattr(found, f"{name}_ci95")
        assert 0 <= low < getattr(found, name) <= high <= (9 if name == "density" else 1)


def test_what_is_precision_in_torch_fidelity_is_precision_here(generator):
    """Samples that keep to the middle of the reference: all are within it, and cover little of it."""
    prc = pytest.importorskip("torch_fidelity.metric_prc")
    reference, samples = torch.randn(300, 4, generator=generator), 0.2 * torch.randn(200, 4, generator=generator)
    ours = precision_recall(samples=samples, reference=reference)
    theirs = prc.calculate_precision_recall_full(samples, reference, neighborhood=3)
    assert (ours.precision, ours.recall) == pytest.approx(theirs)
    assert ours.precision > 0.95 > 0.3 > ours.recall
    swapped = precision_recall(samples=reference, reference=samples)
    assert (swapped.precision, swapped.recall) == (ours.recall, ours.precision)


def test_copies_are_in_all_neighbourhoods_even_those_of_radius_0(generator):
    """Where four of a set are the same its third neighbours are 0 away, far from the mean too."""
    features = torch.rand(32, 256, generator=generator).repeat(4, 1) + 100
    found = precision_recall(samples=features.flip(0), reference=features)
    assert (found.precision, found.recall, found.coverage) == (1, 1, 1)
    assert found.precision_ci95[0] < 1 == found.precision_ci95[1]
    apart = precision_recall(samples=features + 1, reference=features)
    assert (apart.precision, apart.recall, apart.density, apart.coverage) == (0, 0, 0, 0)
    assert apart.recall_ci95[0] == 0 < apart.recall_ci95[1]


def test_distances_are_exact_where_features_are_near(generator):
    """Between features as large as Inception's, copies and nearly copies among them."""
    x = torch.rand(60, 2048, generator=generator)
    y = torch.cat([x[:20], x[20:40] + 1e-4 * torch.randn(20, 2048, generator=generator), torch.rand(30, 2048)])
    rows = [centred(one, mean_of(x)) for one in (x, y)]
    found = squared_distances(*rows)
    want = torch.cdist(x.double(), y.double(), compute_mode="donot_use_mm_for_euclid_dist").square()
    assert torch.equal(found[:20, :20].diag(), torch.zeros(20))
    assert torch.allclose(found.double(), want, rtol=4e-4, atol=0)


def test_an_interval_holds_the_expectation(generator):
    found = []
    for _ in range(40):
        x, y = (torch.randn(200, 4, generator=generator) for _ in range(2))
        found.append(precision_recall(samples=x, reference=y))
    for name in NAMES:
        expectation = float(np.mean([getattr(one, name) for one in found]))
        held = [getattr(one, f"{name}_ci95") for one in found]
        assert np.mean([low < expectation < high for low, high in held]) >= 0.8, name
        spread = np.std([getattr(one, name) for one in found])
        error = np.mean([one.estimates[name].standard_error for one in found])
        assert 0.65 < error / spread < 1.5, name


def test_samples_of_features_are_taken_and_results_come_back(generator):
    x, y = pair(generator, 100, 90)
    kept = FeatureSample(5, 70)
    kept.update(x)
    found = precision_recall(samples=kept, reference=y.numpy())
    assert found == precision_recall(samples=kept.features, reference=y)
    assert PrecisionRecall.from_dict(json.loads(json.dumps(found.to_dict()))) == found
    assert f"precision {found.precision:.4f}, 95% interval" in str(found)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"k": 0}, "k is 0, wanted at least 1"),
        ({"density_k": 0}, "density_k is 0, wanted at least 1"),
        ({"samples": torch.zeros(63, 5)}, "samples are 63 features, wanted at least 64"),
        ({"k": 20}, "reference are 80 features, wanted at least 84"),
        ({"reference": torch.zeros(80, 4)}, "samples have 5 values each, wanted 4 as reference"),
    ],
)
def test_bad_arguments_are_named(change, said):
    arguments = {"samples": torch.zeros(100, 5), "reference": torch.zeros(80, 5)} | change
    with pytest.raises(ValueError, match=said):
        precision_recall(**arguments)
