"""Copies among samples: hashes against plain integers, the sketch against all hashes, and its warning."""

from __future__ import annotations

import multiprocessing as python_multiprocessing
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, distributed, multiprocessing, nn

from amgan_fast.data import load_dataset
from amgan_fast.evaluate import ImageClassifier, Inputs, evaluate, provenance
from amgan_fast.evaluate.sources import TensorSource
from amgan_fast.evaluation_request import Settings
from amgan_fast.metrics import Copies, CopyCounts, ScoreAccumulator, Scores, count_copies, row_hashes

MASK = 2**64 - 1
KEPT = 2**14


def mixed(x: int) -> int:
    """SplitMix64's output, as published."""
    x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9 & MASK
    x = (x ^ (x >> 27)) * 0x94D049BB133111EB & MASK
    return x ^ (x >> 31)


def hash_by_integers(octets: bytes, shape: tuple[int, ...]) -> int:
    octets += bytes(-len(octets) % 8)
    words = np.frombuffer(octets, "<i8").tolist()
    numbers = [mixed(i * 0x9E3779B97F4A7C15 & MASK) for i in range(1, 2 * len(words) + 9)]
    total = sum(number * word for number, word in zip(numbers, words, strict=False))
    total += sum(number * (word >> 32) for number, word in zip(numbers[len(words) :], words, strict=False))
    salt = sum(size * number for size, number in zip(shape, numbers, strict=False))
    return mixed((total + salt) & MASK) & (2**63 - 1)


@pytest.mark.parametrize(
    ("shape", "dtype"),
    [
        ((3, 32, 32), torch.uint8),
        ((1, 7, 7), torch.uint8),
        ((10,), torch.float32),
        ((7,), torch.float64),
        ((5,), torch.bfloat16),
        ((3, 150, 150), torch.uint8),
        ((), torch.int64),
    ],
)
def test_a_hash_is_the_sum_that_it_says_it_is(shape, dtype, generator, device):
    samples = torch.randint(256, (9, *shape), generator=generator).to(dtype)
    plain = samples.view(torch.int16) if dtype == torch.bfloat16 else samples
    want = [hash_by_integers(sample.numpy().tobytes(), shape) for sample in plain]
    assert row_hashes(samples.to(device)).tolist() == want
    assert row_hashes(list(samples)).tolist() == want
    assert [int(row_hashes(part)) for part in samples.to(device).split(1)] == want


def test_samples_that_differ_by_a_bit_or_in_shape_have_other_hashes():
    one = torch.zeros(1, 128, dtype=torch.uint8)
    flipped = one.repeat(1024, 1)
    for bit in range(1024):
        flipped[bit, bit // 8] = 1 << bit % 8
    samples = torch.cat([one, flipped, flipped[:-1] | flipped[1:], flipped[32:] | flipped[:-32], 255 - flipped])
    assert len(row_hashes(samples).unique()) == len(samples)
    shapes = [torch.zeros(shape) for shape in ((2, 3), (3, 2), (6,), (2, 3, 1), (7,))]
    assert len(row_hashes(shapes).unique()) == len(shapes)
    assert row_hashes(torch.zeros(0, 3, 4)).shape == (0,)


def test_where_samples_lie_in_memory_makes_no_difference(generator):
    samples = torch.randint(256, (6, 3, 9, 9), generator=generator, dtype=torch.uint8)
    want = row_hashes(samples)
    assert torch.equal(row_hashes(samples.contiguous(memory_format=torch.channels_last)), want)
    padded = torch.zeros(7, 3, 9, 9, dtype=torch.uint8)
    padded[1:] = samples
    assert torch.equal(row_hashes(padded[1:]), want)
    assert torch.equal(row_hashes(samples.numpy()), want)
    with pytest.raises(TypeError, match="samples are a int"):
        row_hashes(7)


def test_hashes_are_spread_evenly():
    """Which the estimate of their number rests on: bins of hashes of counters, whose lowest bits differ alone."""
    counts = (row_hashes(torch.arange(2**16)[:, None]) >> 57).bincount(minlength=64)
    chi_square = float(((counts - 1024.0) ** 2 / 1024).sum())
    assert 25 < chi_square < 115  # 63 degrees of freedom, 1e-5 at either side


def sketch_of(hashes: Tensor) -> tuple[list[int], list[int]]:
    least = sorted(Counter(hashes.tolist()).items())[:KEPT]
    return [value for value, _ in least], [count for _, count in least]


def some_hashes(generator: torch.Generator) -> Tensor:
    values = torch.randint(2**63 - 1, (30_000,), generator=generator)
    return values[torch.randint(30_000, (70_000,), generator=generator)]


def test_the_sketch_is_of_the_samples_alone_in_any_order_batches_and_parts(generator):
    hashes = some_hashes(generator)
    want = sketch_of(hashes)
    for size in (1_000, 20_000, 70_000):
        order = hashes[torch.randperm(len(hashes), generator=generator)]
        counts = CopyCounts()
        for batch in order.split(size):
            counts.add(batch)
        state = counts.state_dict()
        assert (state["hashes"].tolist(), state["counts"].tolist(), state["samples"]) == (*want, 70_000)
    parts = [CopyCounts() for _ in range(7)]
    for part, some in zip(parts, hashes.chunk(7), strict=True):
        part.add(some)
    total = CopyCounts()
    total.load_state_dict(parts[4].state_dict())
    for part in (parts[1], parts[6], parts[0], parts[2], parts[5], parts[3]):
        total.merge(part)
    state = total.state_dict()
    assert (state["hashes"].tolist(), state["counts"].tolist(), state["samples"]) == (*want, 70_000)


def _reduce(rank: int, ranks: int, folder: Path) -> None:
    """In a process of its own."""
    distributed.init_process_group("gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=ranks)
    counts = CopyCounts()
    counts.add(torch.load(folder / "hashes.pt").chunk(ranks - 1)[rank] if rank < ranks - 1 else torch.empty(0).long())
    counts.all_reduce()
    torch.save(counts.state_dict(), folder / f"{rank}.pt")
    distributed.destroy_process_group()


def test_processes_keep_what_one_would(generator, tmp_path):
    """The last of them has no samples."""
    hashes = some_hashes(generator)
    torch.save(hashes, tmp_path / "hashes.pt")
    python_multiprocessing.set_forkserver_preload(["torch", "amgan_fast.metrics"])
    multiprocessing.start_processes(_reduce, (3, tmp_path), 3, start_method="forkserver")
    for rank in range(3):
        state = torch.load(tmp_path / f"{rank}.pt")
        assert (state["hashes"].tolist(), state["counts"].tolist(), state["samples"]) == (*sketch_of(hashes), 70_000)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"samples": None}, "state has no samples"),
        ({"counts": torch.ones(2, dtype=torch.int64)}, r"hashes of shape \[3\] and counts of shape \[2\], wanted both"),
        ({"hashes": torch.tensor([5, 5, 6])}, "state has hashes that do not ascend"),
        ({"hashes": torch.tensor([1.0, 2.0, 3.0])}, "wanted int64 hashes and counts"),
        ({"counts": torch.tensor([1, 0, 2])}, "or counts below 1"),
        ({"hashes": torch.tensor([-1, 0, 1])}, "state has hashes that do not ascend from 0"),
    ],
)
def test_bad_states_change_nothing(change, said):
    good = {"samples": 6, "hashes": torch.tensor([1, 2, 3]), "counts": torch.tensor([1, 2, 3])}
    counts = CopyCounts()
    counts.load_state_dict(good)
    before = counts.compute()
    assert (before.n, before.distinct) == (6, 3)
    with pytest.raises(ValueError, match=said):
        counts.load_state_dict({name: value for name, value in (good | change).items() if value is not None})
    assert counts.compute() == before


@pytest.mark.parametrize("repeats", [1, 2, 5])
def test_many_different_samples_are_estimated(repeats, generator):
    hashes = torch.randint(2**63 - 1, (60_000,), generator=generator).repeat(repeats)
    counts = CopyCounts()
    counts.add(hashes)
    found = counts.compute()
    assert found.n == 60_000 * repeats
    assert not found.is_exact
    assert found.distinct == 60_000  # all come equally often, so what is kept tells the rest exactly
    assert (found.warning is None) == (repeats == 1)


def test_a_sample_that_is_a_third_of_all_is_found_though_its_hash_is_not_kept(generator):
    hashes = torch.randint(2**63 - 1, (50_000,), generator=generator)
    counts = CopyCounts()
    counts.add(torch.cat([hashes, hashes.max().repeat(25_000)]))
    found = counts.compute()
    assert found.distinct == pytest.approx(50_000, rel=4 / 128)
    assert found.share == pytest.approx(1 / 3, abs=0.02)
    assert f"about {found.distinct:,} different ones" in found.warning


def test_the_estimate_is_as_far_off_as_it_says(generator):
    errors = []
    for _ in range(40):
        counts = CopyCounts()
        different = torch.randint(2**63 - 1, (40_000,), generator=generator)
        counts.add(different.repeat_interleave(torch.arange(40_000) % 3 + 1))
        errors.append(counts.compute().distinct / 40_000 - 1)
    assert float(torch.tensor(errors).square().mean().sqrt()) < 0.009
    assert abs(float(torch.tensor(errors).mean())) < 3 * 0.008 / 40**0.5


@pytest.mark.parametrize(
    ("n", "distinct", "said"),
    [
        (1000, 1000, None),
        (1000, 990, None),
        (1000, 989, "1% of 1,000 samples are copies of others before them: 989 different ones"),
        (1000, 500, "50% of 1,000 samples"),
        (10_000, 10, "99% of 10,000 samples"),
        (1000, 1, "all 1,000 samples are the same one"),
        (1, 1, None),
    ],
)
def test_what_is_warned_of(n, distinct, said):
    found = Copies(n, distinct, is_exact=True)
    assert (found.warning is None) if said is None else found.warning.startswith(said)
    assert found.to_dict()["share"] == pytest.approx(1 - distinct / n)
    assert Copies.from_dict(found.to_dict()) == found


def test_no_two_digits_are_the_same():
    digits = load_dataset("digits")
    found = count_copies(torch.cat([digits.train_images, digits.test_images]))
    assert (found.distinct, found.n, found.warning) == (1797, 1797, None)
    with pytest.raises(ValueError, match="no samples, wanted at least one"):
        CopyCounts().compute()
    with pytest.raises(ValueError, match="no samples, wanted at least one"):
        count_copies([])


def pixels() -> ImageClassifier:
    return ImageClassifier("pixels", nn.Flatten(), Inputs(), torch.device("cpu"))


@pytest.mark.parametrize("batch_size", [1, 7, 500])
def test_an_evaluation_warns_of_copies_and_its_held_out_samples_are_none(generator, batch_size):
    images = torch.randint(256, (300, 1, 3, 3), generator=generator, dtype=torch.uint8)
    copied = TensorSource(images[:10].repeat(30, 1, 1, 1), torch.zeros(300, dtype=torch.int64), "copies")
    real = TensorSource(images, torch.zeros(300, dtype=torch.int64), "real")
    found = evaluate(copied, pixels(), held_out=real, settings=Settings(batch_size=batch_size))
    said = "96% of 300 samples are copies of others before them: 10 different ones; intervals are too narrow"
    assert said in found.warnings
    assert ("warning", said) in provenance(found)
    assert found.to_dict()["generated"]["copies"]["distinct"] == 10
    assert found.held_out.copies.distinct == 300
    assert not any("copies" in text for text in found.held_out.warnings)


def assert_one(found: Scores) -> None:
    """Exactly."""
    assert (found.inception_score, found.inception_score_corrected, found.inception_score_ci95) == (1, 1, (1, 1))


@pytest.mark.filterwarnings("ignore::amgan_fast.metrics.ScoreWarning")
@pytest.mark.parametrize("sizes", [(60,), (7,), (1,), (50, 3, 200)])
@pytest.mark.parametrize("classes", [2, 10, 1000])
@pytest.mark.parametrize("strata", [None, 3])
def test_rows_that_are_all_alike_have_an_inception_score_of_one(sizes, classes, strata, generator):
    for scale in (0.1, 3, 30):
        row = scale * torch.randn(1, classes, generator=generator)
        accumulator = ScoreAccumulator(classes, strata=strata)
        while accumulator.samples < 347:
            for size in sizes:
                labels = torch.arange(size) % 3
                accumulator.update(row.expand(size, -1), **({} if strata is None else {"strata": labels}))
        found = accumulator.compute([1 / classes] * classes)
        assert_one(found)
        assert (found.split_mean, found.split_std) == (1, 0)


@pytest.mark.filterwarnings("ignore::amgan_fast.metrics.ScoreWarning")
@pytest.mark.parametrize("batch_size", [1, 7, 100, 500])
def test_an_evaluation_of_one_image_over_and_over(batch_size, generator):
    """Whose logits differ in their last digits from batch to batch of another size."""
    network = nn.Sequential(nn.Conv2d(3, 16, 3), nn.ReLU(), nn.Flatten(), nn.Linear(16 * 30 * 30, 10))
    classifier = ImageClassifier("network", network.eval(), Inputs(), torch.device("cpu"))
    image = torch.randint(256, (1, 3, 32, 32), generator=generator, dtype=torch.uint8)
    source = TensorSource(image.repeat(333, 1, 1, 1), torch.zeros(333, dtype=torch.int64), "one image")
    found = evaluate(source, classifier, settings=Settings(batch_size=batch_size))
    assert_one(found.generated.scores)
    assert "all 333 samples are the same one; intervals say nothing" in found.warnings
