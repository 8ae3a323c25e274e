"""Vendi and RKE by random frequencies: against all pairs in NumPy, in any batches and parts, and their intervals."""

from __future__ import annotations

import io
import json
import math
import multiprocessing as python_multiprocessing
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, distributed, multiprocessing

from amgan_fast.metrics import Diversity, DiversitySums, FeatureSample, suggested_bandwidth
from amgan_fast.metrics.block_turns import blocks_of

DIM, BANDWIDTH = 5, 2.0


def vendi_of(kernel: np.ndarray) -> float:
    values = np.linalg.eigvalsh(kernel / len(kernel))
    values = values[values > 1e-15]
    return math.exp(-(values * np.log(values)).sum())


def cosines(x: np.ndarray, components: int, seed: int = 0) -> np.ndarray:
    """[components, N, N]: of each pair and frequency, whose mean is the kernel."""
    random = torch.Generator().manual_seed(seed)
    directions = torch.randn(components, x.shape[1], generator=random, dtype=torch.float64).numpy()
    return np.cos((x[:, None] - x) @ (directions / BANDWIDTH).T).transpose(2, 0, 1)


def sums_of(features: Tensor, batch: int = 100, **options: int) -> DiversitySums:
    sums = DiversitySums(DIM, BANDWIDTH, **{"components": 32, "blocks": 4} | options)
    for part in features.split(batch):
        sums.update(part)
    return sums


def test_scores_are_those_of_all_pairs_with_these_frequencies(generator, device):
    x = torch.randn(90, DIM, generator=generator)
    found = sums_of(x.to(device)).compute()
    products = cosines(x.double().numpy(), 32)
    vendi = vendi_of(products.mean(0))
    assert found.vendi_uncorrected == pytest.approx(vendi, rel=1e-5)
    assert found.rke_uncorrected == pytest.approx(1 / (products.mean(0) ** 2).mean(), rel=1e-5)
    halves = vendi_of(products[:16].mean(0)) * vendi_of(products[16:].mean(0))
    assert found.vendi == pytest.approx(vendi**2 / math.sqrt(halves), rel=1e-5)
    of_two = [(products[i] * products[j]).mean() for i in range(32) for j in range(32) if i != j]
    assert found.rke == pytest.approx(1 / np.mean(of_two), rel=1e-5)
    assert (found.n, found.bandwidth, found.components) == (90, BANDWIDTH, 32)


@pytest.mark.parametrize("spread", [1.0, 3.0])
def test_scores_are_near_those_of_the_kernel(spread, generator):
    x = spread * torch.randn(300, DIM, generator=generator)
    distances = torch.cdist(x.double(), x.double()).numpy()
    kernel = np.exp(-(distances**2) / (2 * BANDWIDTH**2))
    found = sums_of(x, components=512).compute()
    assert found.vendi == pytest.approx(vendi_of(kernel), rel=0.07)
    assert found.rke == pytest.approx(1 / (kernel**2).mean(), rel=0.07)
    assert found.vendi_uncorrected < found.vendi


def test_modes_are_counted():
    modes = 20 * torch.eye(DIM)
    found = sums_of(modes.repeat(80, 1), components=512).compute()
    assert (found.vendi, found.rke) == pytest.approx((5, 5), rel=0.03)
    same = sums_of(torch.ones(50, DIM)).compute()
    assert (same.vendi, same.rke, *same.vendi_ci95) == pytest.approx((1, 1, 1, 1), abs=1e-4)  # float32 is in the sums
    few = sums_of(20 * torch.eye(DIM)[:3]).compute()
    assert few.vendi_ci95 is None
    assert few.vendi <= 3 + 1e-9
    assert Diversity.from_dict(json.loads(json.dumps(few.to_dict()))) == few


def test_the_error_is_the_jackknifes_over_blocks(generator):
    x = torch.randn(203, DIM, generator=generator)
    found = sums_of(x, batch=11).compute()
    for name in ("vendi", "rke"):
        without = [getattr(sums_of(x[blocks_of(0, 203, 4) != block]).compute(), name) for block in range(4)]
        error = math.sqrt(3 * np.log(without).var())
        assert found.estimates[f"log_{name}"].standard_error == pytest.approx(error, rel=1e-4)


def states_equal(one: DiversitySums, other: DiversitySums) -> bool:
    first, second = one.state_dict(), other.state_dict()
    return all(torch.allclose(first[x], second[x], rtol=0, atol=1e-5) for x in ("counts", "products"))


def test_batches_change_nothing_and_shards_add_up(generator):
    x = torch.randn(3000, DIM, generator=generator)
    whole = sums_of(x, batch=3000)
    exact = whole.state_dict()["products"]
    assert torch.equal(exact, sums_of(x, batch=7).state_dict()["products"])
    first, second = sums_of(x[:1001]), sums_of(x[1001:], start=1001)
    second.merge(first)
    assert states_equal(second, whole)
    assert second.compute().vendi == pytest.approx(whole.compute().vendi, rel=1e-6)
    with pytest.raises(ValueError, match="other has seed = 1, wanted 0 as here"):
        second.merge(sums_of(x[:5], seed=1))


def _reduce(rank: int, ranks: int, folder: Path) -> None:
    """In a process of its own; the last has no samples."""
    distributed.init_process_group("gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=ranks)
    x = torch.load(folder / "x.pt")
    sums = sums_of(x[[slice(0, 101), slice(101, None), slice(0)][rank]], start=[0, 101, 300][rank])
    sums.all_reduce()
    torch.save(sums.state_dict(), folder / f"{rank}.pt")
    distributed.destroy_process_group()


def test_processes_add_up_and_a_state_goes_on(generator, tmp_path):
    x = torch.randn(300, DIM, generator=generator)
    torch.save(x, tmp_path / "x.pt")
    python_multiprocessing.set_forkserver_preload(["torch", "amgan_fast.metrics"])
    multiprocessing.start_processes(_reduce, (3, tmp_path), 3, start_method="forkserver")
    for rank in range(3):
        sums = sums_of(x[:0])
        sums.load_state_dict(torch.load(tmp_path / f"{rank}.pt", weights_only=True))
        assert states_equal(sums, sums_of(x))
        sums.update(x)
        assert states_equal(sums, sums_of(x.repeat(2, 1)))


def test_bad_input_changes_nothing(generator):
    sums = sums_of(torch.randn(50, DIM, generator=generator))
    before = sums.compute()
    for bad, error, said in [
        (torch.zeros(2, 4), ValueError, r"features are \[2, 4\], wanted \[N, 5\]"),
        (torch.full((2, DIM), torch.nan), ValueError, "features of sample 50 are not finite"),
        (torch.zeros(2, DIM).long(), TypeError, "features are torch.int64, wanted floating point"),
    ]:
        with pytest.raises(error, match=said):
            sums.update(bad)
    file = io.BytesIO()
    torch.save(sums.state_dict() | {"products": torch.zeros(4, 2, 2)}, file)
    file.seek(0)
    with pytest.raises(ValueError, match="state has products of shape"):
        sums.load_state_dict(torch.load(file))
    assert sums.compute() == before
    with pytest.raises(ValueError, match="no samples, wanted at least one update"):
        sums_of(torch.zeros(0, DIM)).compute()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"bandwidth": 0.0}, "bandwidth is 0.0, wanted a positive number"),
        ({"bandwidth": math.nan}, "bandwidth is nan, wanted a positive number"),
        ({"components": 7}, "components is 7, wanted an even number"),
        ({"blocks": 1}, "blocks is 1, wanted at least 2"),
        ({"start": -1}, "start is -1, wanted at least 0"),
    ],
)
def test_settings_out_of_range_are_named(change, said):
    with pytest.raises(ValueError, match=said):
        DiversitySums(**{"dim": DIM, "bandwidth": BANDWIDTH} | change)


def test_the_suggested_bandwidth_is_half_the_median_distance(generator):
    x = torch.randn(200, DIM, generator=generator) + 50
    pairs = torch.pdist(x.double())
    assert suggested_bandwidth(x) == pytest.approx(float(pairs.quantile(0.5)) / 2, rel=1e-4)
    kept = FeatureSample(DIM)
    kept.update(x.repeat(15, 1))
    assert suggested_bandwidth(kept) == pytest.approx(suggested_bandwidth(x), rel=0.02)
    with pytest.raises(ValueError, match="features are the same for half of all pairs"):
        suggested_bandwidth(torch.zeros(9, DIM))


def test_intervals_hold_the_expectation(generator):
    found = [sums_of(torch.randn(300, DIM, generator=generator), components=16, blocks=8).compute() for _ in range(80)]
    for name in ("vendi", "rke"):
        expectation = np.mean([getattr(one, name) for one in found])
        held = [getattr(one, f"{name}_ci95") for one in found]
        assert np.mean([low < expectation < high for low, high in held]) >= 0.85, name
