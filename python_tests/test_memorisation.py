"""Distances to training features, and whether samples are nearer than held-out ones: against SciPy, and by chance."""

from __future__ import annotations

import json
import multiprocessing as python_multiprocessing
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.spatial.distance import cdist
from scipy.stats import betabinom, kstest, mannwhitneyu
from torch import distributed, multiprocessing

from amgan_fast.metrics import FeatureSample, Memorisation, NearestDistances, memorisation


@pytest.mark.parametrize("batch", [1, 64, 2500])
def test_distances_are_the_plain_ones_in_any_batches(batch, generator, device):
    queries = torch.randn(1100, 6, generator=generator)
    training = torch.cat([torch.randn(100, 6, generator=generator), queries[:5]]).to(device)
    nearest = NearestDistances(queries.to(device))
    for part in training.split(batch):
        nearest.update(part)
    want = cdist(queries.double().numpy(), training.cpu().double().numpy()).min(1)
    assert nearest.compute().numpy() == pytest.approx(want, rel=1e-6, abs=1e-9)
    assert nearest.compute()[:5].tolist() == [0] * 5
    assert nearest.training == 105


def test_a_bad_batch_of_training_features_changes_nothing():
    nearest = NearestDistances(torch.zeros(2, 3))
    with pytest.raises(ValueError, match="no training features, wanted at least one update"):
        nearest.compute()
    nearest.update(torch.ones(4, 3))
    for bad, said in [
        (torch.zeros(2, 2), r"training are \[2, 2\], wanted \[N, 3\]"),
        (torch.tensor([[0, 0, 0], [0, 0, torch.nan]]), r"training of sample 5 are not finite .*\(row 1\)"),
    ]:
        with pytest.raises(ValueError, match=said):
            nearest.update(bad)
    assert nearest.compute().tolist() == [3**0.5] * 2


def _reduce(rank: int, ranks: int, folder: Path) -> None:
    """In a process of its own."""
    distributed.init_process_group("gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=ranks)
    nearest = NearestDistances(torch.tensor([[0.0], [5.0], [9.0]]))
    nearest.update(torch.tensor([[1.0], [8.5]]) if rank else torch.tensor([[4.0]]))
    nearest.all_reduce()
    torch.save((nearest.compute(), nearest.training), folder / f"{rank}.pt")
    distributed.destroy_process_group()


def test_processes_share_out_the_training_set(tmp_path):
    python_multiprocessing.set_forkserver_preload(["torch", "amgan_fast.metrics"])
    multiprocessing.start_processes(_reduce, (2, tmp_path), 2, start_method="forkserver")
    for rank in range(2):
        distances, training = torch.load(tmp_path / f"{rank}.pt")
        assert (distances.tolist(), training) == ([1, 1, 0.5], 3)


def test_numbers_are_those_of_scipy(generator):
    """On a grid, where many distances are tied."""
    draws = [torch.randint(6, (count, 3), generator=generator).float() for count in (120, 210, 40)]
    found = memorisation(*draws)
    own, real = (cdist(one.numpy(), draws[2].numpy()).min(1) for one in draws[:2])
    test = mannwhitneyu(real, own, method="asymptotic", use_continuity=False)
    assert found.nearer == pytest.approx(test.statistic / (120 * 210))
    assert found.p_value == pytest.approx(test.pvalue)
    assert (found.z < 0) == (found.nearer > 0.5)
    assert found.among_nearest_expected == pytest.approx(2 / 211)
    nearer = int((own < np.sort(real)[1]).sum())
    assert found.among_nearest_p == pytest.approx(betabinom.sf(nearer - 1, 120, 2, 209))
    assert (found.copies, found.n, found.n_held_out, found.n_training) == (int((own == 0).sum()), 120, 210, 40)
    assert Memorisation.from_dict(json.loads(json.dumps(found.to_dict()))) == found


def test_copies_are_found_be_they_few_or_all(generator):
    training, held_out, new = (torch.randn(500, 8, generator=generator) for _ in range(3))
    copies = memorisation(training[:100], held_out, training)
    assert (copies.nearer, copies.among_nearest, copies.copies) == (1, 1, 100)
    assert 0.9 < copies.nearer_ci95[0] < copies.nearer_ci95[1] == 1
    assert copies.p_value < 1e-20
    kept = FeatureSample(8)
    kept.update(training)
    few = memorisation(torch.cat([new[:475], training[:25]]), held_out, kept)
    assert few.among_nearest_p < 1e-4 < few.p_value
    assert few == memorisation(torch.cat([new[:475], training[:25]]), held_out, training.split(77))
    far = memorisation(new * 3, held_out, training)
    assert far.nearer < 0.1
    assert far.z > 10
    same = memorisation(torch.zeros(9, 8), torch.zeros(8, 8), training)
    assert (same.nearer, same.p_value, same.among_nearest_p) == pytest.approx((0.5, 1, 1))


def test_p_is_uniform_where_both_are_of_the_training_sets_distribution(generator):
    training = torch.randn(150, 4, generator=generator)
    found = []
    for _ in range(300):
        samples, held_out = torch.randn(220, 4, generator=generator).split([100, 120])
        found.append(memorisation(samples, held_out, training))
    assert kstest([one.p_value for one in found], "uniform").pvalue > 1e-3
    held = np.mean([one.nearer_ci95[0] < 0.5 < one.nearer_ci95[1] for one in found])
    assert 0.91 <= held <= 0.99
    expected = found[0].among_nearest_expected
    assert np.mean([one.among_nearest for one in found]) == pytest.approx(expected, rel=0.3)
    assert np.mean([one.among_nearest_p < 0.05 for one in found]) < 0.1


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"samples": torch.zeros(1, 3)}, "samples are 1 features, wanted at least 2"),
        ({"held_out": torch.zeros(9, 4)}, "samples have 3 values each, wanted 4 as held_out"),
        ({"held_out": torch.full((9, 3), torch.inf)}, "held_out of sample 0 are not finite"),
        ({"training": []}, "batches hold no samples"),
        ({"training": torch.zeros(0, 3)}, "no training features"),
    ],
)
def test_bad_arguments_are_named(change, said):
    arguments = {"samples": torch.zeros(9, 3), "held_out": torch.zeros(8, 3), "training": torch.zeros(5, 3)} | change
    with pytest.raises(ValueError, match=said):
        memorisation(**arguments)
