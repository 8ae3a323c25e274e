"""Files that are read many at a time, without Python, hold what they hold when each is read by itself."""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from image_content import content, cut_short
from PIL import Image

from amgan_fast.images import FileReader, Unreadable, read_header, read_many_headers, read_many_pixels, read_pixels

SIZE = (12, 10)


def image(number: int, mode: str = "RGB", size: tuple[int, int] = SIZE) -> Image.Image:
    pixels = np.random.default_rng(number).integers(0, 256, (*size[::-1], 3), dtype=np.uint8)
    return Image.fromarray(pixels).convert(mode)


def paths_of(folder: Path, names: list[str]) -> torch.Tensor:
    paths = np.array([os.fsencode(folder / name) for name in names])
    return torch.from_numpy(paths.view(np.uint8).reshape(len(names), -1).copy())


@pytest.fixture
def folder(tmp_path) -> tuple[Path, list[str]]:
    """A folder of all kinds, and names, of which some are of no file."""
    plain = content(image(0), "PNG")
    files = {
        "plain0.png": plain,
        "plain1.png": content(image(1), "PNG"),
        "of another length.png": content(image(2), "PNG", compress_level=0),
        os.fsdecode(b"\xff\xfe.png"): content(image(3), "PNG"),
        "grey.png": content(image(4, "L"), "PNG"),
        "wider.png": content(image(5, size=(13, 10)), "PNG"),
        "large.png": content(image(6, size=(150, 200)), "PNG"),
        "resolution.png": content(image(7), "PNG", dpi=(72, 72)),
        "alpha.png": content(image(8, "RGBA"), "PNG"),
        "photograph.jpg": content(image(9), "JPEG"),
        "cut short.png": cut_short(plain),
        "its header alone.png": plain[:41],
        "half a header.png": plain[:20],
        "empty.png": b"",
        "text.png": b"no image" * 10,
    }
    for name, data in files.items():
        (tmp_path / name).write_bytes(data)
    (tmp_path / "folder.png").mkdir()
    return tmp_path, [*files, "folder.png", "missing.png"]


def same(found: object, want: object) -> bool:
    if isinstance(want, np.ndarray):
        return isinstance(found, np.ndarray) and found.dtype == want.dtype and np.array_equal(found, want)
    return found == want


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("first", [0, 4, 6, 9, 10])
def test_pixels_are_those_of_each_file_by_itself(folder, channels, first):
    path, names = folder
    names = names[first:] + names[:first]
    one, many = (partial(read, channels=channels) for read in (read_pixels, read_many_pixels))
    alone, together = FileReader(path, names, one), FileReader(path, names, one, many)
    found = together.__getitems__(range(len(names)))
    assert sum(isinstance(each, Unreadable) for each in found) == 7
    assert all(map(same, found, (alone[i] for i in range(len(names)))))
    assert all(map(same, together.__getitems__([3, 0, 5]), (alone[i] for i in (3, 0, 5))))


def test_pixels_lie_in_one_order_whatever_the_file(folder):
    """A network gives other bits for images that lie with their channels innermost."""
    path, names = folder
    one, many = (partial(read, channels=3) for read in (read_pixels, read_many_pixels))
    for files in (FileReader(path, names, one), FileReader(path, names, one, many)):
        found = [each for each in files.__getitems__(range(len(names))) if not isinstance(each, Unreadable)]
        assert len(found) == 10
        assert all(each.flags.c_contiguous for each in found)


def test_headers_are_those_of_each_file_by_itself(folder):
    path, names = folder
    alone, together = FileReader(path, names, read_header), FileReader(path, names, read_header, read_many_headers)
    assert together.__getitems__(range(len(names))) == [alone[i] for i in range(len(names))]


def test_files_alike_are_those_read_at_once(folder):
    path, names = folder
    paths = paths_of(path, names)
    assert [one is not None for one in read_many_headers(paths)] == [True] * 7 + [False] * 3 + [True] * 2 + [False] * 5
    assert [one is not None for one in read_many_pixels(paths, 3)] == [True] * 4 + [False] * 13
    assert [one is not None for one in read_many_pixels(paths[4:], 1)] == [True] + [False] * 12


@pytest.mark.parametrize("size", [16383, 16384, 16385, 49151, 49152, 49153])
def test_a_file_of_any_length_is_read_to_its_end(tmp_path, size):
    """The pixels come last: bytes after them are another matter."""
    whole = content(image(0), "PNG")
    files = [whole + bytes(size - len(whole)), content(image(1, size=(130, 130)), "PNG", compress_level=0)]
    for number, data in enumerate(files):
        name = f"{number}.png"
        (tmp_path / name).write_bytes(data)
        want = read_pixels(tmp_path / name, 3)
        assert [same(found, want) for found in read_many_pixels(paths_of(tmp_path, [name, name]), 3)] == [True, True]


def test_without_the_decoder_of_torchvision_no_pixels_are_read_at_once(folder, monkeypatch):
    monkeypatch.setattr("amgan_fast.images.plain_png._decoder", lambda: None)
    path, names = folder
    assert read_many_pixels(paths_of(path, names), 3) == [None] * len(names)


def test_what_is_no_path_is_refused_by_name():
    operations, paths = torch.ops.amgan_fast_images, torch.zeros(2, 5, dtype=torch.uint8)
    with pytest.raises(RuntimeError, match=r"paths is \[2, 5\] of Float, wanted contiguous bytes in 2 dimensions"):
        operations.first_bytes(paths.float(), 4)
    with pytest.raises(RuntimeError, match="count is 0, wanted at least 1"):
        operations.first_bytes(paths, 0)
    with pytest.raises(RuntimeError, match="start has 5 bytes, wanted at least 37"):
        operations.decode_pngs(paths, paths[0], 3, 1, 1)
