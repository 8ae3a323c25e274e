"""Streams of batches: their order, where they go on, and how processes share them."""

from __future__ import annotations

import io
import multiprocessing
from collections.abc import Iterable
from itertools import chain, islice
from pathlib import Path

import numpy as np
import pytest
import torch

from amgan_fast.data import Batches
from amgan_fast.errors import InputError
from amgan_fast.images import ImageFiles
from amgan_fast.processes import Share

SIZE = 10


class ReadNumber:
    """Reads a file of one number to an image [1, 1, 1] of it, and notes that it did where notes are kept."""

    def __init__(self) -> None:
        self.notes: list[str] = []

    def __call__(self, path: Path) -> np.ndarray:
        self.notes.append(path.name)
        if not (content := path.read_text()):
            raise ValueError("no number in it")
        return np.full((1, 1, 1), int(content), np.uint8)


def number_files(folder: Path) -> ImageFiles:
    for i in range(SIZE):
        (folder / f"{i}.txt").write_text(str(i))
    return ImageFiles(folder, [f"{i}.txt" for i in range(SIZE)], ReadNumber(), (1, 1, 1))


def numbers() -> torch.Tensor:
    return torch.arange(SIZE, dtype=torch.uint8)[:, None, None, None]


@pytest.fixture(params=["in memory", "in files", "in files, 2 workers"])
def make_stream(request, tmp_path):
    """Streams of the images 0 to 9 with the labels 100 to 109."""

    def make(batch_size: int, seed: int = 1, **options) -> Batches:
        labels = torch.arange(SIZE) + 100
        if request.param == "in memory":
            return Batches(numbers(), labels, batch_size, seed=seed, **options)
        workers = 2 if "2" in request.param else 0
        return Batches(number_files(tmp_path), labels, batch_size, seed=seed, workers=workers, **options)

    return make


def drawn(stream: Batches, count: int) -> list[list[int]]:
    """The next batches, as the numbers of their images; labels must be those of the images."""
    batches = []
    for _ in range(count):
        images, labels = next(stream)
        assert images.dtype == torch.uint8
        assert images.shape[1:] == (1, 1, 1)
        assert (images.flatten() + 100).tolist() == labels.tolist()
        batches.append(images.flatten().tolist())
    return batches


def joined(batches: Iterable[list[int]]) -> list[int]:
    return list(chain.from_iterable(batches))


def permutations(seed: int, count: int) -> list[int]:
    generator = torch.Generator().manual_seed(seed)
    return [i for _ in range(count) for i in torch.randperm(SIZE, generator=generator).tolist()]


@pytest.mark.parametrize("batch_size", [4, 10, 25])
def test_batches_are_whole_permutations_one_after_another(make_stream, batch_size):
    batches = drawn(make_stream(batch_size, seed=7), 8)
    assert [len(batch) for batch in batches] == [batch_size] * 8
    assert joined(batches) == permutations(7, 20)[: 8 * batch_size]


def test_the_order_depends_on_the_seed_alone(make_stream):
    torch.manual_seed(5)
    state = torch.get_rng_state()
    first = drawn(make_stream(4), 6)
    assert torch.equal(torch.get_rng_state(), state), "the global generator was drawn from"
    torch.manual_seed(6)
    assert drawn(make_stream(4), 6) == first
    assert drawn(make_stream(4, seed=2), 6) != first


@pytest.mark.parametrize("count", [0, 3, 5, 17])
def test_a_stream_goes_on_from_its_state(make_stream, count):
    stream = make_stream(4)
    drawn(stream, count)
    file = io.BytesIO()
    torch.save(stream.state_dict(), file)
    following = drawn(stream, 9)
    resumed = make_stream(4, seed=99)
    drawn(resumed, 2)
    file.seek(0)
    resumed.load_state_dict(torch.load(file, weights_only=True))
    assert drawn(resumed, 9) == following


def test_a_state_does_not_move_with_its_stream_and_is_small():
    stream = Batches(torch.zeros(100_000, 1), torch.zeros(100_000), 64, seed=0)
    next(stream)
    state = stream.state_dict()
    images = [next(stream)[1] for _ in range(2000)]
    file = io.BytesIO()
    torch.save(state, file)
    assert len(file.getvalue()) < 10_000
    stream.load_state_dict(state)
    assert torch.equal(next(stream)[1], images[0])
    assert stream.state_dict()["taken"] == 128


def test_a_stream_in_memory_and_one_in_files_go_on_from_each_other(tmp_path):
    in_memory = Batches(numbers(), torch.arange(SIZE) + 100, 3, seed=1)
    in_files = Batches(number_files(tmp_path), torch.arange(SIZE) + 100, 3, seed=2, workers=0)
    drawn(in_memory, 5)
    in_files.load_state_dict(in_memory.state_dict())
    following = drawn(in_files, 5)
    assert drawn(in_memory, 5) == following


def test_the_batch_size_may_change_on_the_way(make_stream):
    stream = make_stream(4)
    before = joined(drawn(stream, 4))
    larger = make_stream(7)
    larger.load_state_dict(stream.state_dict())
    assert before + joined(drawn(larger, 4)) == permutations(1, 5)[: 16 + 28]


def test_nothing_is_read_to_be_skipped(tmp_path):
    files = number_files(tmp_path)
    first = Batches(files, torch.arange(SIZE) + 100, 2, seed=1, workers=0)
    drawn(first, 3)
    state = first.state_dict()
    notes = files._reader._read.notes
    notes.clear()
    resumed = Batches(files, torch.arange(SIZE) + 100, 2, seed=1, workers=0)
    resumed.load_state_dict(state)
    (batch,) = drawn(resumed, 1)
    assert notes == [f"{i}.txt" for i in batch]


@pytest.mark.parametrize("ranks", [2, 3])
def test_ranks_share_the_batches_of_one_process(make_stream, ranks):
    whole = drawn(make_stream(6), 7)
    parts = [drawn(make_stream(6, share=Share(rank, ranks)), 7) for rank in range(ranks)]
    assert [joined(shares) for shares in zip(*parts, strict=True)] == whole


def test_ranks_have_one_state(make_stream):
    streams = [make_stream(4, share=Share(rank, 2)) for rank in range(2)]
    for stream in streams:
        drawn(stream, 7)
    state = streams[0].state_dict()
    want = [drawn(stream, 3) for stream in streams]
    for stream in streams:
        stream.load_state_dict(state)
    assert [drawn(stream, 3) for stream in streams] == want


def test_batches_go_to_the_device_that_is_wanted(make_stream, device):
    stream, here = make_stream(4, device=device), make_stream(4)
    there = Batches(numbers().to(device), torch.arange(SIZE, device=device) + 100, 4, seed=1)
    given = list(islice(stream, 20))  # none waits for the one before
    for (images, labels), *others in zip(given, there, here, strict=False):
        assert images.device.type == labels.device.type == device.type
        for other_images, other_labels in others:
            assert torch.equal(images.cpu(), other_images.cpu())
            assert torch.equal(labels.cpu(), other_labels.cpu())


def test_a_batch_is_gathered_again_from_other_indices(device):
    """Where the images are on the device: what is taken is 8 bytes an image, and a CUDA graph gathers from there."""
    stream = Batches(numbers().to(device), torch.arange(SIZE, device=device) + 100, 4, seed=1)
    (indices,), (others,) = stream.take(), stream.take()
    assert indices.device.type == device.type
    indices.copy_(others)
    images, labels = stream.gather(indices)
    assert images.flatten().tolist() == others.tolist() == (labels - 100).tolist()


def test_what_is_not_on_the_device_is_taken_whole(tmp_path):
    """On a device of shapes alone: batches come from the host once, and a graph is given nothing else."""
    for images in (numbers(), number_files(tmp_path)):
        stream = Batches(images, torch.arange(SIZE), 4, seed=1, device="meta", workers=0)
        taken = stream.take()
        assert [tuple(x.shape) for x in taken] == [(4, 1, 1, 1), (4,)]
        assert all(x.is_meta for x in (*taken, *stream.gather(*taken)))


def test_images_in_files_come_as_those_in_memory_do(tmp_path):
    labels = torch.arange(SIZE) + 100
    in_memory = Batches(numbers(), labels, 6, seed=3, share=Share(1, 2))
    in_files = Batches(number_files(tmp_path), labels, 6, seed=3, share=Share(1, 2))
    assert drawn(in_memory, 5) == drawn(in_files, 5)


@pytest.mark.parametrize("workers", [0, 2])
def test_a_file_that_cannot_be_read_is_an_error_in_one_line(tmp_path, workers):
    files = number_files(tmp_path)
    (tmp_path / "3.txt").write_text("")
    stream = Batches(files, torch.arange(SIZE), 5, seed=0, workers=workers)
    with pytest.raises(
        InputError,
        match=r"^[^\n]*3\.txt: no number in it; wanted images that can be read \(skip_unreadable leaves others out\)$",
    ):
        list(islice(stream, 2))


def test_workers_end_with_their_stream(tmp_path):
    before = set(multiprocessing.active_children())
    stream = Batches(number_files(tmp_path), torch.arange(SIZE) + 100, 4, seed=1, workers=2)
    drawn(stream, 3)
    workers = set(multiprocessing.active_children()) - before
    assert len(workers) == 2
    del stream
    assert not any(worker.is_alive() for worker in workers)


def test_bad_streams():
    images, labels = torch.zeros(3), torch.zeros(3)
    with pytest.raises(ValueError, match="images are 3 and labels 2"):
        Batches(images, labels[:2], 1, seed=0)
    with pytest.raises(ValueError, match="images are 0 and labels 0"):
        Batches(images[:0], labels[:0], 1, seed=0)
    with pytest.raises(ValueError, match="batch_size is 0"):
        Batches(images, labels, 0, seed=0)
    with pytest.raises(ValueError, match="rank is 2 of 2 ranks, wanted 0 to"):
        Share(2, 2)
    with pytest.raises(InputError, match="batch_size is 100, wanted a multiple of the 3 processes"):
        Batches(images, labels, 100, seed=0, share=Share(0, 3))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"size": 11}, "the order of the data is one of 11 images, wanted 10"),
        ({"taken": 11}, "the order of the data stands at 11, wanted 0 to 10"),
        ({"generator": torch.zeros(3)}, "the order of the data is damaged"),
        ({"generator": None}, "the order of the data is damaged"),
        ({"taken": None}, "the order of the data is damaged"),
    ],
)
def test_a_state_that_does_not_fit_changes_nothing(change, message):
    stream = Batches(numbers(), torch.arange(SIZE) + 100, 4, seed=1)
    drawn(stream, 1)
    with pytest.raises(InputError, match=message):
        stream.load_state_dict(stream.state_dict() | change)
    assert joined(drawn(stream, 4)) == permutations(1, 2)[4:20]
    with pytest.raises(InputError, match="the order of the data is damaged"):
        stream.load_state_dict({})
