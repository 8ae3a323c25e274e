"""Kernel distance: against the plain form in NumPy, other tools, and the jackknife by leaving out."""

from __future__ import annotations

import json
from importlib import import_module

import numpy as np
import pytest
import torch

from amgan_fast.metrics import FeatureSample, KernelDistance, kernel_distance, kernel_distance_in_subsets


def plain(x: np.ndarray, y: np.ndarray) -> float:
    """The U-statistic, in float64."""
    xx, yy, xy = (((a @ b.T) / x.shape[1] + 1) ** 3 for a, b in ((x, x), (y, y), (x, y)))
    n, m = len(x), len(y)
    return (xx.sum() - np.trace(xx)) / (n * (n - 1)) + (yy.sum() - np.trace(yy)) / (m * (m - 1)) - 2 * xy.mean()


def pair(generator: torch.Generator, n: int, m: int, dim: int = 12) -> tuple[torch.Tensor, torch.Tensor]:
    shape = (1.2 * torch.randn(n, dim, generator=generator) + 0.1, torch.randn(m, dim, generator=generator))
    return shape[0].float(), shape[1].float()


def test_value_and_error_are_the_plain_ones(generator):
    x, y = pair(generator, 40, 31)
    found = kernel_distance(x, y)
    a, b = x.double().numpy(), y.double().numpy()
    assert found.value == pytest.approx(plain(a, b), rel=1e-5)
    left_out = [np.array([plain(np.delete(a, i, 0), b) for i in range(40)])]
    left_out.append(np.array([plain(a, np.delete(b, i, 0)) for i in range(31)]))
    variance = sum((len(values) - 1) * values.var() for values in left_out)
    assert found.estimate.standard_error == pytest.approx(variance**0.5, rel=1e-5)
    assert found.ci95[0] < found.value < found.ci95[1]
    assert (found.n, found.n_reference, found.dim) == (40, 31, 12)
    assert KernelDistance.from_dict(json.loads(json.dumps(found.to_dict()))) == found


def test_blocks_change_rounding_alone(generator, monkeypatch, device):
    x, y = (one.to(device) for one in pair(generator, 300, 217))
    whole = kernel_distance(x, y)
    monkeypatch.setattr(import_module("amgan_fast.metrics.kernel_distance"), "_ROWS", 64)
    parts = kernel_distance(x, y)
    assert parts.value == pytest.approx(whole.value, rel=1e-6)
    assert parts.estimate.standard_error == pytest.approx(whole.estimate.standard_error, rel=1e-6)


def test_features_as_wide_as_inceptions_keep_their_digits(generator):
    """Values of k are about 2, of which the distance is 1e-3: float32 has to be enough."""
    x, y = (torch.rand(300, 2048, generator=generator) * scale for scale in (1.0, 1.02))
    assert kernel_distance(x, y).value == pytest.approx(plain(x.double().numpy(), y.double().numpy()), rel=1e-3)


def test_subsets_give_the_number_of_torch_fidelity(generator):
    kid = pytest.importorskip("torch_fidelity.metric_kid")
    x, y = pair(generator, 400, 350, 64)
    settings = {"kid_subsets": 20, "kid_subset_size": 100, "rng_seed": 2020, "kid_kernel": "poly", "verbose": False}
    settings |= {"kid_kernel_poly_degree": 3, "kid_kernel_poly_gamma": None, "kid_kernel_poly_coef0": 1.0}
    theirs = kid.kid_features_to_metric(x, y, **settings)
    ours = kernel_distance_in_subsets(x, y, subsets=20, size=100)
    assert ours.mean == pytest.approx(theirs["kernel_inception_distance_mean"], abs=1e-6)
    assert ours.std == pytest.approx(theirs["kernel_inception_distance_std"], abs=1e-6)


def test_a_subset_of_all_is_the_number_of_torchmetrics(generator):
    kid = pytest.importorskip("torchmetrics.image.kid")
    x, y = pair(generator, 200, 200, 64)
    assert kernel_distance(x, y).value == pytest.approx(float(kid.poly_mmd(y, x)), abs=1e-6)


def test_a_sample_of_features_is_taken_too(generator):
    x, y = pair(generator, 100, 80)
    kept = FeatureSample(12, 50)
    kept.update(x)
    assert kernel_distance(kept, y) == kernel_distance(kept.features, y.double().numpy())
    with pytest.raises(ValueError, match=r"samples have 12 values each, wanted 11 as reference"):
        kernel_distance(kept, y[:, 1:])
    with pytest.raises(ValueError, match="reference are 2 features, wanted at least 3"):
        kernel_distance(kept, y[:2])
    with pytest.raises(ValueError, match="reference of sample 7 are not finite"):
        kernel_distance(kept, y.masked_fill((torch.arange(80) == 7)[:, None], torch.inf))
    with pytest.raises(ValueError, match="subsets is 0, wanted at least 1"):
        kernel_distance_in_subsets(x, y, subsets=0, size=10)
    with pytest.raises(ValueError, match="reference are 80 features, wanted at least 90"):
        kernel_distance_in_subsets(x, y, size=90)


def true_distance(shift: float, dim: int) -> float:
    """Of N(shift, 1) and N(0, 1) in each of ``dim`` independent values: E (x . y)^p from the moments of the values."""

    def expected(a: float, b: float) -> float:
        moments = ((mean, 1 + mean**2, mean**3 + 3 * mean) for mean in (a, b))
        first, second, third = (u * v for u, v in zip(*moments, strict=True))
        power2 = dim * second + dim * (dim - 1) * first**2
        power3 = dim * third + 3 * dim * (dim - 1) * second * first + dim * (dim - 1) * (dim - 2) * first**3
        return power3 / dim**3 + 3 * power2 / dim**2 + 3 * first + 1

    return expected(shift, shift) + expected(0, 0) - 2 * expected(shift, 0)


@pytest.mark.parametrize(("shift", "least", "most"), [(0.3, 0.89, 0.99), (0.0, 0.95, 1.0)])
def test_intervals_hold_the_truth(shift, least, most, generator):
    truth, found = true_distance(shift, 16), []
    for _ in range(200):
        x, y = (torch.randn(150, 16, generator=generator) + s for s in (shift, 0))
        found.append(kernel_distance(x, y))
    assert least <= sum(one.ci95[0] < truth < one.ci95[1] for one in found) / 200 <= most
    values = torch.tensor([one.value for one in found])
    assert float(values.mean()) == pytest.approx(truth, abs=4 * float(values.std()) / 200**0.5)
