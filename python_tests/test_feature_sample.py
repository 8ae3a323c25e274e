"""The features that are kept: against plain integers, in any batches, shards and processes, and bad input."""

from __future__ import annotations

import io
import multiprocessing as python_multiprocessing
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, distributed, multiprocessing

from amgan_fast.metrics import FeatureSample

MASK = 2**64 - 1
DIM = 3


def priority(number: int) -> int:
    """SplitMix64's output, as published, for a signed comparison."""
    x = (number + 1) * 0x9E3779B97F4A7C15 & MASK
    x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9 & MASK
    x = (x ^ (x >> 27)) * 0x94D049BB133111EB & MASK
    x ^= x >> 31
    return x - 2**64 if x >= 2**63 else x


def wanted(start: int, stop: int, most: int) -> list[int]:
    return sorted(sorted(range(start, stop), key=priority)[:most])


def some(count: int, start: int = 0) -> tuple[Tensor, Tensor]:
    """Features and labels that tell their numbers."""
    numbers = torch.arange(start, start + count)
    return numbers[:, None] + torch.arange(DIM) / 4, numbers * 7


def sample_of(count: int, most: int, *, start: int = 0, batch: int = 1000) -> FeatureSample:
    sample = FeatureSample(DIM, most, start=start)
    for features, labels in zip(*(x.split(batch) for x in some(count, start)), strict=True):
        sample.update(features, labels)
    return sample


def assert_kept(sample: FeatureSample, numbers: list[int]) -> None:
    assert sample.indices.tolist() == numbers
    assert torch.equal(sample.features, some(2000)[0][numbers])
    assert sample.labels is not None
    assert sample.labels.tolist() == [7 * number for number in numbers]


@pytest.mark.parametrize(("most", "batch"), [(1, 7), (20, 1), (20, 400), (399, 64), (400, 64), (10_000, 64)])
def test_the_least_priorities_are_kept_in_any_batches(most, batch):
    sample = sample_of(400, most, batch=batch)
    assert_kept(sample, wanted(0, 400, most))
    assert sample.samples == 400


def test_shards_merged_in_any_order_keep_what_one_pass_keeps():
    for order in ([0, 1, 2], [2, 0, 1]):
        shards = [sample_of(150, 40, start=0), sample_of(10, 40, start=150), sample_of(240, 40, start=160)]
        total = FeatureSample(DIM, 40)
        for shard in order:
            total.merge(shards[shard])
        assert_kept(total, wanted(0, 400, 40))
        features, labels = some(100, start=400)  # what comes after a merge goes on after both
        total.update(features, labels)
        assert_kept(total, wanted(0, 500, 40))
        assert total.samples == 500


def test_each_sample_is_as_likely_as_any_other():
    """Where samples come class by class, each class has its share: 1,000 of 10,000 in blocks of 500."""
    sample = FeatureSample(1, 1000)
    sample.update(torch.zeros(10_000, 1))
    counts = (sample.indices // 500).bincount(minlength=20)
    chi_square = float(((counts - 50.0) ** 2 / 50 / 0.9).sum())
    assert 4 < chi_square < 50  # 19 degrees of freedom, 1e-4 at either side


def _reduce(rank: int, ranks: int, folder: Path) -> None:
    """In a process of its own; the second has no samples."""
    distributed.init_process_group("gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=ranks)
    sample = FeatureSample(DIM, 40) if rank == 1 else sample_of(200, 40, start=100 * rank)
    sample.all_reduce()
    torch.save(sample.state_dict(), folder / f"{rank}.pt")
    mixed = FeatureSample(DIM, 40, start=rank)
    mixed.update(some(1)[0], some(1)[1] if rank else None)
    try:
        mixed.all_reduce()
    except ValueError as error:
        (folder / f"{rank}.txt").write_text(str(error))
    distributed.destroy_process_group()


def test_processes_keep_what_one_would(tmp_path):
    python_multiprocessing.set_forkserver_preload(["torch", "amgan_fast.metrics"])
    multiprocessing.start_processes(_reduce, (3, tmp_path), 3, start_method="forkserver")
    for rank in range(3):
        sample = FeatureSample(DIM, 40)
        sample.load_state_dict(torch.load(tmp_path / f"{rank}.pt"))
        assert_kept(sample, wanted(0, 400, 40))
        assert (tmp_path / f"{rank}.txt").read_text() == "some processes have labels, wanted all or none of them"


def test_a_state_goes_through_a_file_and_goes_on():
    sample = sample_of(300, 40, start=5)
    file = io.BytesIO()
    torch.save(sample.state_dict(), file)
    file.seek(0)
    again = FeatureSample(DIM, 40)
    again.load_state_dict(torch.load(file, weights_only=True))
    for one in (sample, again):
        one.update(*some(50, start=305))
        assert_kept(one, wanted(5, 355, 40))
    empty = FeatureSample(DIM, 40, start=9)
    again.load_state_dict(empty.state_dict())
    again.update(np.zeros((1, DIM)))
    assert (again.indices.tolist(), again.labels) == ([9], None)


@pytest.mark.parametrize(
    ("features", "labels", "error", "said"),
    [
        (torch.zeros(4, 2), torch.zeros(4).long(), ValueError, r"features are \[4, 2\], wanted \[N, 3\]"),
        (torch.zeros(3), None, ValueError, r"features are \[3\], wanted \[N, 3\]"),
        (torch.zeros(4, 3).long(), None, TypeError, "features are torch.int64, wanted floating point"),
        ([[0.0] * 3], None, TypeError, "features are a list"),
        (torch.zeros(4, 3), None, ValueError, "this batch has no labels, wanted labels as with those before"),
        (torch.zeros(4, 3), torch.zeros(3).long(), ValueError, r"labels are \[3\], wanted \[4\]"),
        (torch.eye(3) / torch.tensor([1, 1, 0]), torch.zeros(3).long(), ValueError, r"of sample 50 are .*\(row 0\)"),
        (torch.eye(3).double() * 1e300, torch.zeros(3).long(), ValueError, "not finite in float32"),
    ],
)
def test_a_bad_batch_changes_nothing(features, labels, error, said):
    sample = sample_of(50, 20)
    with pytest.raises(error, match=said):
        sample.update(features, labels)
    sample.update(*some(30, start=50))
    assert_kept(sample, wanted(0, 80, 20))


def test_what_cannot_be_merged_is_named_and_changes_nothing():
    sample = sample_of(50, 20)
    unlabelled = FeatureSample(DIM, 20, start=50)
    unlabelled.update(some(1)[0])
    for other, said in [
        (sample_of(50, 20, start=30), f"other has sample {wanted(30, 50, 9)[0]}|other has sample"),
        (sample_of(5, 21, start=50), "other has most = 21, wanted 20 as here"),
        (FeatureSample(4, 20), "other has dim = 4, wanted 3"),
        (unlabelled, "other has no labels, wanted labels"),
    ]:
        with pytest.raises(ValueError, match=said):
            sample.merge(other)
    assert_kept(sample, wanted(0, 50, 20))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"most": 21}, "state has most = 21, wanted 20"),
        ({"next": None}, "state has no next"),
        ({"samples": 10}, r"state has indices of shape \[20\], torch.int64, wanted \[10\]"),
        ({"features": torch.zeros(20, DIM).double()}, r"features of shape \[20, 3\], torch.float64, wanted"),
        ({"labels": [1]}, "state has labels = list"),
        ({"indices": torch.zeros(20).long()}, "indices that do not ascend"),
        ({"features": torch.full((20, DIM), torch.nan)}, "state's features of sample 0 are not finite"),
    ],
)
def test_bad_states_change_nothing(change, said):
    sample = sample_of(50, 20)
    state = sample.state_dict() | change
    with pytest.raises(ValueError, match=said):
        sample.load_state_dict({name: value for name, value in state.items() if value is not None})
    assert_kept(sample, wanted(0, 50, 20))


@pytest.mark.parametrize("setting", [{"dim": 0}, {"most": 0}, {"start": -1}])
def test_settings_out_of_range_are_named(setting):
    (name,) = setting
    with pytest.raises(ValueError, match=f"{name} is {setting[name]}, wanted at least"):
        FeatureSample(**({"dim": 3} | setting))


def test_a_thinned_one_keeps_what_a_smaller_one_would_have():
    features, labels = torch.rand(900, 3), torch.arange(900)
    large, small = FeatureSample(3, 400), FeatureSample(3, 70)
    for sample in (large, small):
        sample.update(features, labels)
    thinned = large.thinned(70)
    assert torch.equal(thinned.features, small.features)
    assert torch.equal(thinned.labels, small.labels)
    assert (thinned.samples, thinned.is_whole, large.thinned(400).is_whole) == (900, False, False)
    with pytest.raises(ValueError, match="most is 401, wanted at most the 400 that are kept"):
        large.thinned(401)


def test_on_a_gpu_nothing_waits_and_what_is_not_finite_is_found_by_what_reads_the_features(gpu):
    features = torch.randn(300, 4)
    here, there = FeatureSample(4, 90), FeatureSample(4, 90, device=gpu.device)
    for batch in features.split(100):
        here.update(batch)
        on_gpu = batch.to(gpu.device)
        with gpu.waits(allowed=False):
            there.update(on_gpu)
    assert torch.equal(there.features.cpu(), here.features)
    bad = torch.full((2, 4), torch.inf).to(gpu.device)
    with gpu.waits(allowed=False):
        there.update(bad)
    with pytest.raises(ValueError, match="features of a sample among 300 to 301 hold NaN or infinity"):
        there.features.sum()
    with pytest.raises(ValueError, match="300 to 301"):
        there.state_dict()
