"""Sources of samples against the files read by Pillow and NumPy themselves, and what they say of bad ones."""

from __future__ import annotations

import io
import json
import os
import shutil
import tracemalloc
import zipfile
from functools import partial
from pathlib import Path

import image_content
import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from amgan_fast.errors import InputError
from amgan_fast.evaluate.sources import (
    GeneratorSource,
    ImageFolderSource,
    LogitsSource,
    NpzSource,
    Source,
    TensorSource,
    folder_source,
    open_source,
)
from amgan_fast.evaluate.sources.record import SourceRecord
from amgan_fast.images import FileReader, ImageFiles, read_pixels
from amgan_fast.nn import LatentSource, Sampler
from amgan_fast.processes import Share

RANGES = [(0, None), (0, 4), (4, 9), (7, 8), (9, 10), (10, 10)]


@pytest.fixture
def numbers() -> np.random.Generator:
    return np.random.default_rng(0)


@pytest.fixture
def pictures(numbers) -> np.ndarray:
    """uint8 [10, 6, 5, 3]."""
    return numbers.integers(0, 256, (10, 6, 5, 3), dtype=np.uint8)


@pytest.fixture
def labels() -> np.ndarray:
    return np.array([3, 0, 2, 2, 1, 0, 3, 3, 1, 0])


@pytest.fixture
def logits(numbers) -> np.ndarray:
    return numbers.standard_normal((10, 7)).astype(np.float32)


def save_images(folder: Path, images: np.ndarray, suffix: str = ".png") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for i, image in enumerate(images):
        Image.fromarray(image).save(folder / f"{i:03d}{suffix}")
    return folder


def values(source: Source, batch_size: int = 4, start: int = 0, stop: int | None = None) -> torch.Tensor:
    batches = [batch.values for batch in source.batches(batch_size, start, stop)]
    assert all(isinstance(batch, torch.Tensor) for batch in batches)
    return torch.cat(batches) if batches else torch.empty(0)


def labels_of(source: Source, batch_size: int = 4, start: int = 0, stop: int | None = None) -> list[int]:
    return [int(label) for batch in source.batches(batch_size, start, stop) for label in batch.labels]


def check_ranges(source: Source, want: torch.Tensor, want_labels: np.ndarray | None) -> None:
    """Any range is that part of the whole, in batches of the size asked for."""
    assert source.count == len(want)
    for batch_size in (1, 4, 100):
        for start, stop in RANGES:
            batches = list(source.batches(batch_size, start, stop))
            parts = want[start:stop].split(batch_size) if len(want[start:stop]) else ()
            assert len(batches) == len(parts)
            assert all(torch.equal(batch.values, part) for batch, part in zip(batches, parts, strict=True))
            if want_labels is None:
                assert all(batch.labels is None for batch in batches)
            else:
                got = [int(label) for batch in batches for label in batch.labels]
                assert got == want_labels[start:stop].tolist()
    for bad in ((0, 0, None), (4, -1, None), (4, 0, 11), (4, 5, 3)):
        with pytest.raises(ValueError, match=r"batch_size is 0|start is -?\d+ and stop \d+, wanted 0 <= start"):
            list(source.batches(*bad))


def nchw(images: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(images.transpose(0, 3, 1, 2).copy())


# A folder of images.


def test_a_flat_folder(tmp_path, pictures):
    folder = save_images(tmp_path / "samples", pictures)
    source = ImageFolderSource(folder)
    check_ranges(source, nchw(pictures), None)
    assert (source.kind, source.channels, source.num_labels, source.class_names) == ("images", 3, None, ())
    assert source.description == f"10 images of {folder}/, no class folders"
    assert source.skipped == []


def test_class_folders(tmp_path, pictures):
    folder = tmp_path / "samples"
    for name, part in (("dog", pictures[:3]), ("Cat", pictures[3:5]), ("owl", pictures[5:9])):
        save_images(folder / name, part)
    save_images(folder / "owl" / "deeper" / "still", pictures[9:], suffix=".PNG")
    source = ImageFolderSource(str(folder))
    assert source.class_names == ("Cat", "dog", "owl")
    assert source.num_labels == 3
    order = [3, 4, 0, 1, 2, 5, 6, 7, 8, 9]
    check_ranges(source, nchw(pictures[order]), np.array([0, 0, 1, 1, 1, 2, 2, 2, 2, 2]))
    assert source.description == f"10 images in 3 class folders of {folder}/ (Cat, dog, owl)"


def test_the_order_does_not_depend_on_that_of_the_directory(tmp_path, pictures):
    folder = tmp_path / "samples"
    folder.mkdir()
    for i in (7, 2, 9, 0, 5, 1, 8, 3, 6, 4):
        Image.fromarray(pictures[i]).save(folder / f"{i}.png")
    assert torch.equal(values(ImageFolderSource(folder)), nchw(pictures))


def test_workers_read_the_same_and_draw_from_no_global_generator(tmp_path, pictures):
    folder = tmp_path / "samples"
    save_images(folder / "a", pictures[:4])
    save_images(folder / "b", pictures[4:])
    before = torch.get_rng_state()
    alone = ImageFolderSource(folder)
    shared = ImageFolderSource(folder, workers=2)
    assert torch.equal(values(alone), nchw(pictures))
    assert torch.equal(values(shared, 3, 1, 9), nchw(pictures[1:9]))
    assert labels_of(shared) == labels_of(alone) == [0] * 4 + [1] * 6
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("threads", [1, 2, 5])
def test_any_number_of_threads_reads_the_same_in_the_same_order(tmp_path, pictures, monkeypatch, threads):
    monkeypatch.setattr(folder_source, "most_workers", lambda: threads)
    folder = save_images(tmp_path, pictures)
    for number in (2, 7):
        cut_short(folder / f"{number:03}.png")
    source = ImageFolderSource(folder, skip_unreadable=True)
    assert torch.equal(values(source, 3), nchw(pictures)[[0, 1, 3, 4, 5, 6, 8, 9]])
    assert [text.partition(": ")[0][-7:] for text in source.skipped] == ["002.png", "007.png"]
    with pytest.raises(InputError, match=r"002\.png: "):
        values(ImageFolderSource(folder), 3)


def test_threads_read_two_batches_ahead_and_no_more(tmp_path):
    read = []

    def note(path: Path) -> str:
        read.append(path.name)
        return path.name

    batches = FileReader(tmp_path, [str(i) for i in range(100)], note).read_ahead(
        (range(i, i + 5) for i in range(0, 100, 5)), threads=1
    )
    assert next(batches) == ["0", "1", "2", "3", "4"]
    assert next(batches) == ["5", "6", "7", "8", "9"]
    batches.close()  # waits for what has begun
    assert 10 <= len(read) <= 20


def test_workers_report_a_broken_image_in_one_line(tmp_path, pictures):
    folder = save_images(tmp_path, pictures)
    cut_short(folder / "005.png")
    with pytest.raises(InputError, match=r"005\.png: .*; wanted images that can be read") as error:
        values(ImageFolderSource(folder, workers=2))
    assert "\n" not in str(error.value)


def test_other_files_are_counted_and_hidden_ones_are_not(tmp_path, pictures):
    folder = save_images(tmp_path / "a", pictures).parent
    (folder / "notes.txt").write_text("not an image")
    (folder / "a" / "more").mkdir()
    (folder / "a" / "more" / "000.npy").write_bytes(b"")
    (folder / "a" / ".000.png").write_bytes(b"")
    save_images(folder / ".checkpoints", pictures)
    source = ImageFolderSource(folder)
    assert source.count == 10
    assert source.description == f"10 images in 1 class folder of {folder}/ (a), 2 other files ignored"


def test_headers_are_read_before_anything_else_with_progress(tmp_path, pictures, monkeypatch):
    monkeypatch.setattr("amgan_fast.images.reading._AT_ONCE", 4)
    told = []
    ImageFolderSource(save_images(tmp_path, pictures), progress=lambda *place: told.append(place))
    assert told == [("headers of image files", done, 10) for done in (4, 8, 10)]


def test_linked_folders_are_followed_once(tmp_path, pictures):
    elsewhere = save_images(tmp_path / "elsewhere", pictures)
    folder = tmp_path / "samples"
    folder.mkdir()
    (folder / "a").symlink_to(elsewhere)
    assert ImageFolderSource(folder).count == 10
    (elsewhere / "loop").symlink_to(elsewhere)
    with pytest.raises(InputError, match=r"samples/a/loop leads to .*elsewhere a second time"):
        ImageFolderSource(folder)


def folder_with_nothing(folder: Path, pictures: np.ndarray) -> None:
    folder.mkdir()


def folder_without_images(folder: Path, pictures: np.ndarray) -> None:
    (folder / "a").mkdir(parents=True)
    (folder / "a" / "notes.txt").write_text("")


def folder_with_both(folder: Path, pictures: np.ndarray) -> None:
    save_images(folder, pictures[:4])
    save_images(folder / "a", pictures[4:])


def folder_with_an_empty_class(folder: Path, pictures: np.ndarray) -> None:
    save_images(folder / "a", pictures)
    (folder / "b").mkdir()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda folder, _: None, "samples does not exist, wanted a folder of images"),
        (lambda folder, _: folder.write_text(""), "samples is no folder, wanted a folder of images"),
        (folder_with_nothing, r"samples holds no image \(0 other files\), wanted files of .*JPEG"),
        (folder_without_images, r"samples holds no image \(1 other file\)"),
        (folder_with_both, "samples holds 4 images beside its subfolders and 6 in them, wanted all of them"),
        (folder_with_an_empty_class, r"samples has 2 subfolders, 1 without an image \(b\) and the others with 10;"),
    ],
)
def test_folders_that_will_not_do(tmp_path, pictures, make, message):
    make(tmp_path / "samples", pictures)
    with pytest.raises(InputError, match=message):
        ImageFolderSource(tmp_path / "samples")


@pytest.mark.parametrize("name", ["samples", "samples/a", "samples/a/deeper"])
def test_a_folder_that_may_not_be_read_is_not_passed_over(tmp_path, pictures, monkeypatch, name):
    folder = tmp_path / "samples"
    save_images(folder / "a" / "deeper", pictures)
    scandir = os.scandir

    def refusing(path):
        if Path(path) == tmp_path / name:
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refusing)
    with pytest.raises(InputError, match=rf"{name} cannot be read \(Permission denied\), wanted a folder that can"):
        ImageFolderSource(folder)


def test_bad_options_of_a_folder(tmp_path, pictures):
    save_images(tmp_path, pictures)
    with pytest.raises(InputError, match="channels is 4, wanted 1 or 3"):
        ImageFolderSource(tmp_path, channels=4)
    with pytest.raises(InputError, match="workers is -1, wanted at least 0"):
        ImageFolderSource(tmp_path, workers=-1)


def cut_short(path: Path) -> None:
    path.write_bytes(image_content.cut_short(path.read_bytes()))


def damaged_folder(folder: Path, pictures: np.ndarray) -> Path:
    """Ten images: 1 is none, 4 and 6 are of another size, 8 breaks while it is decoded."""
    save_images(folder, pictures)
    (folder / "001.png").write_bytes(b"no picture")
    for name in ("004.png", "006.png"):
        Image.new("RGB", (7, 9)).save(folder / name)
    cut_short(folder / "008.png")
    return folder


def test_images_that_cannot_be_used_are_named(tmp_path, pictures):
    folder = damaged_folder(tmp_path, pictures)
    with pytest.raises(InputError) as error:
        ImageFolderSource(folder)
    assert str(error.value).startswith(
        f"3 of 10 images of {folder} cannot be used: 001.png (no image that can be read), "
        "004.png (9 x 7 where most are 6 x 5), 006.png (9 x 7 where most are 6 x 5); wanted"
    )
    (folder / "003.png").write_bytes(b"")
    with pytest.raises(InputError, match=r"4 of 10 images .*\) and 1 more; wanted"):
        ImageFolderSource(folder)


def test_images_that_cannot_be_used_are_left_out_on_request(tmp_path, pictures):
    folder = damaged_folder(tmp_path, pictures)
    source = ImageFolderSource(folder, skip_unreadable=True)
    assert source.count == 7  # the one that breaks later is still among them
    assert source.description == f"7 images of {folder}/, no class folders, 3 left out"
    assert source.skipped == [
        f"{folder}/001.png: no image that can be read",
        f"{folder}/004.png: 9 x 7 where most are 6 x 5",
        f"{folder}/006.png: 9 x 7 where most are 6 x 5",
    ]
    for _ in range(2):
        assert torch.equal(values(source), nchw(pictures[[0, 2, 3, 5, 7, 9]]))
        assert len(source.skipped) == 4
    assert source.skipped[3].startswith(f"{folder}/008.png: ")
    assert list(source.batches(1, 5, 6)) == []


def test_an_image_that_breaks_while_it_is_decoded(tmp_path, pictures):
    folder = save_images(tmp_path, pictures)
    cut_short(folder / "005.png")
    source = ImageFolderSource(folder)
    assert torch.equal(values(source, 5, 0, 5), nchw(pictures[:5]))
    with pytest.raises(InputError, match=r"005\.png: .*; wanted images that can be read \(--skip-unreadable"):
        values(source)


def test_nothing_is_left_when_no_image_can_be_read(tmp_path):
    (tmp_path / "a.png").write_bytes(b"no picture")
    with pytest.raises(InputError, match=r"1 of 1 image of .* cannot be used"):
        ImageFolderSource(tmp_path, skip_unreadable=True)


def test_labels_stay_with_their_images_when_some_are_left_out(tmp_path, pictures):
    save_images(tmp_path / "a", pictures[:3])
    save_images(tmp_path / "b", pictures[3:6])
    (tmp_path / "a" / "001.png").write_bytes(b"")
    cut_short(tmp_path / "b" / "000.png")
    source = ImageFolderSource(tmp_path, skip_unreadable=True)
    assert labels_of(source, 3) == [0, 0, 1, 1]
    assert torch.equal(values(source, 3), nchw(pictures[[0, 2, 4, 5]]))


def test_mixed_sizes(tmp_path, pictures):
    save_images(tmp_path, pictures)
    Image.new("RGB", (7, 9), (1, 2, 3)).save(tmp_path / "005.png")
    source = ImageFolderSource(tmp_path, mixed_sizes=True)
    first, second, third = source.batches(4)
    assert torch.equal(first.values, nchw(pictures[:4]))
    assert isinstance(second.values, list)
    assert [list(image.shape) for image in second.values] == [[3, 6, 5], [3, 9, 7], [3, 6, 5], [3, 6, 5]]
    assert second.values[1][:, 0, 0].tolist() == [1, 2, 3]
    assert torch.equal(third.values, nchw(pictures[8:]))


@pytest.mark.parametrize("suffix", [".png", ".bmp", ".webp", ".tiff", ".ppm", ".jpg", ".gif"])
@pytest.mark.parametrize("channels", [1, 3])
def test_formats_as_pillow_converts_them(tmp_path, suffix, channels):
    smooth = np.linspace(0, 255, 16 * 16 * 3).reshape(1, 16, 16, 3).astype(np.uint8)
    path = save_images(tmp_path, smooth, suffix) / f"000{suffix}"
    with Image.open(path) as image:
        want = np.asarray(image.convert("L" if channels == 1 else "RGB")).reshape(16, 16, channels)
    assert torch.equal(values(ImageFolderSource(tmp_path, channels=channels)), nchw(want[None]))


def test_a_wrong_suffix_does_not_matter(tmp_path, pictures):
    save_images(tmp_path, pictures, ".bmp")
    for path in tmp_path.iterdir():
        path.rename(path.with_suffix(".jpg"))
    assert torch.equal(values(ImageFolderSource(tmp_path)), nchw(pictures))


def test_formats_that_run_programs_are_no_images(tmp_path):
    content = io.BytesIO()
    Image.new("RGB", (4, 4)).save(content, "EPS")
    (tmp_path / "a.png").write_bytes(content.getvalue())
    with pytest.raises(InputError, match="no image that can be read"):
        ImageFolderSource(tmp_path)


def only_image(folder: Path, **options) -> np.ndarray:
    """[H, W, C] of the one image in a folder."""
    source = ImageFolderSource(folder, **options)
    return values(source)[0].permute(1, 2, 0).numpy()


def test_grey_images_have_one_channel_unless_others_are_coloured(tmp_path, pictures):
    grey = pictures[:4, :, :, 0]
    save_images(tmp_path / "a", grey)
    Image.fromarray(grey[0] > 127).save(tmp_path / "a" / "bits.png")
    source = ImageFolderSource(tmp_path)
    assert source.channels == 1
    want = np.concatenate([grey, 255 * (grey[:1] > 127).astype(np.uint8)])
    assert torch.equal(values(source), torch.from_numpy(want)[:, None])
    assert torch.equal(
        values(ImageFolderSource(tmp_path, channels=3)), torch.from_numpy(want)[:, None].expand(5, 3, 6, 5)
    )
    Image.fromarray(pictures[0]).save(tmp_path / "a" / "coloured.png")
    assert ImageFolderSource(tmp_path).channels == 3


@pytest.mark.parametrize("suffix", [".png", ".tiff", ".pgm"])
def test_deep_grey_keeps_the_high_byte(tmp_path, suffix):
    deep = np.array([[0, 255, 256, 257], [32768, 65280, 65534, 65535]], dtype=np.uint16)
    Image.fromarray(deep).save(tmp_path / f"deep{suffix}")
    assert only_image(tmp_path)[..., 0].tolist() == [[0, 0, 1, 1], [128, 255, 255, 255]]
    assert only_image(tmp_path, channels=3)[..., 2].tolist() == [[0, 0, 1, 1], [128, 255, 255, 255]]


def test_transparency_is_dropped(tmp_path, pictures):
    alpha = np.full((6, 5, 1), 100, dtype=np.uint8)
    Image.fromarray(np.concatenate([pictures[0], alpha], 2)).save(tmp_path / "a.png")
    assert (only_image(tmp_path) == pictures[0]).all()


@pytest.mark.filterwarnings("error")
def test_palettes_are_looked_up_and_their_transparency_is_dropped(tmp_path, numbers):
    palette = numbers.integers(0, 256, (16, 3), dtype=np.uint8)
    indices = numbers.integers(0, 16, (6, 5), dtype=np.uint8)
    image = Image.fromarray(indices).convert("P")
    image.putdata(indices.flatten().tolist())
    image.putpalette(palette.flatten().tolist())
    image.save(tmp_path / "a.png", transparency=bytes(range(16)))
    assert (only_image(tmp_path) == palette[indices]).all()


def test_the_exif_orientation_is_ignored(tmp_path, pictures):
    exif = Image.Exif()
    exif[0x0112] = 6  # a quarter turn
    Image.fromarray(pictures[0]).save(tmp_path / "a.png", exif=exif)
    assert (only_image(tmp_path) == pictures[0]).all()


@pytest.mark.parametrize("mode", ["F", "I", "LAB"])
def test_pixels_without_a_scale_or_a_conversion(tmp_path, mode):
    Image.new(mode, (4, 4)).save(tmp_path / "a.tiff")
    with pytest.raises(InputError, match=rf"a\.tiff \(pixels of mode {mode}, wanted grey or RGB of 8 or 16 bits"):
        ImageFolderSource(tmp_path)


# Images in an npz file.


def save_npz(path: Path, *, packed: bool = False, **arrays: np.ndarray) -> Path:
    (np.savez_compressed if packed else np.savez)(path, **arrays)
    return path


@pytest.mark.parametrize("packed", [False, True], ids=["stored", "compressed"])
def test_an_npz_as_guided_diffusion_writes_it(tmp_path, pictures, labels, packed):
    path = save_npz(tmp_path / "samples.npz", packed=packed, arr_0=pictures, arr_1=labels)
    source = NpzSource(path)
    check_ranges(source, nchw(pictures), labels)
    assert (source.kind, source.num_labels, source.skipped) == ("images", 4, [])
    assert source.description == f"10 images (6 x 5, channels: 3) of {path}, labels 0 to 3"
    assert all(batch.labels.dtype == torch.int64 for batch in source.batches(4))


def test_an_npz_without_labels_under_another_name_and_with_one_channel(tmp_path, pictures):
    path = save_npz(tmp_path / "samples.npz", images=pictures[..., :1])
    source = NpzSource(str(path))
    check_ranges(source, nchw(pictures[..., :1]), None)
    assert source.num_labels is None
    assert source.description.endswith(", no labels")


def test_an_npz_with_channels_first(tmp_path, pictures):
    first = np.ascontiguousarray(pictures.transpose(0, 3, 1, 2))
    check_ranges(NpzSource(save_npz(tmp_path / "a.npz", arr_0=first)), torch.from_numpy(first), None)


@pytest.mark.parametrize("dtype", ["u1", "<i4", ">i4", "<u8"])
def test_labels_of_any_integer_type(tmp_path, pictures, labels, dtype):
    path = save_npz(tmp_path / "a.npz", arr_0=pictures, arr_1=labels.astype(dtype))
    assert labels_of(NpzSource(path)) == labels.tolist()


@pytest.mark.parametrize("packed", [False, True], ids=["stored", "compressed"])
def test_an_npz_is_never_in_memory_at_once(tmp_path, numbers, packed):
    block = numbers.integers(0, 256, (100, 64, 64, 3), dtype=np.uint8)
    path = save_npz(tmp_path / "large.npz", packed=packed, arr_0=np.concatenate([block] * 16))  # 20 MB
    tracemalloc.start()
    try:
        read = sum(len(batch.values) for batch in NpzSource(path).batches(20, 800))  # 0.25 MB a batch
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert read == 800
    assert peak < 5e6


def test_objects_are_refused_and_nothing_is_run(tmp_path, pictures):
    marker = tmp_path / "was run"

    class Harmful:
        def __reduce__(self):
            return Path.touch, (marker,)

    harmful = np.array([Harmful()], dtype=object)
    np.save(tmp_path / "logits.npy", harmful)
    paths = [
        save_npz(tmp_path / "images.npz", arr_0=harmful),
        save_npz(tmp_path / "labels.npz", arr_0=pictures, arr_1=harmful),
        tmp_path / "logits.npy",
    ]
    for path in paths:
        with pytest.raises(InputError, match=r"holds pickled objects, which run code when loaded"):
            open_source(path)
    pickle_file = tmp_path / "pickle.npy"
    harmful.dump(pickle_file)
    with pytest.raises(InputError, match=r"pickle\.npy is damaged, or not what its suffix says"):
        open_source(pickle_file)
    assert not marker.exists()
    np.load(tmp_path / "logits.npy", allow_pickle=True)
    assert marker.exists()  # it would have


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        (
            lambda x: {"arr_0": x / np.float32(255)},
            r"arr_0 of .* is float32 \[10, 6, 5, 3\], wanted uint8 .* not in \[0",
        ),
        (lambda x: {"arr_0": x.astype(np.int64)}, r"is int64 \[10, 6, 5, 3\], wanted uint8"),
        (lambda x: {"arr_0": x[0]}, r"is uint8 \[6, 5, 3\], wanted uint8 \[N, H, W, C\] with C 1 or 3"),
        (lambda x: {"arr_0": x[:, :3]}, r"\[10, 3, 5, 3\], which could be \[N, H, W, C\] or \[N, C, H, W\]"),
        (lambda x: {"arr_0": x[..., :2]}, r"\[10, 6, 5, 2\], which has no dimension of 1 or 3 channels"),
        (lambda x: {"arr_0": x[:0]}, r"is uint8 \[0, 6, 5, 3\], wanted at least one row"),
        (lambda x: {"arr_0": np.asfortranarray(x)}, "is in Fortran order, wanted C order"),
        (
            lambda x: {"mu": x[0, 0], "sigma": x[0]},
            "holds mu, sigma; wanted images as arr_0, images, x, or a single array",
        ),
        (lambda x: {}, "holds no arrays; wanted images as arr_0"),
        (lambda x: {"arr_0": x, "arr_1": np.arange(9)}, r"arr_1 of .* is int64 \[9\], wanted integers \[10\]"),
        (lambda x: {"arr_0": x, "arr_1": np.eye(10, dtype=int)}, r"is int64 \[10, 10\], wanted integers \[10\]"),
        (lambda x: {"arr_0": x, "arr_1": np.arange(10.0)}, r"is float64 \[10\], wanted integers \[10\]"),
        (lambda x: {"arr_0": x, "arr_1": np.arange(10) - 1}, "has a label of -1, wanted 0 or more"),
    ],
)
def test_an_npz_of_anything_else(tmp_path, pictures, arrays, message):
    path = save_npz(tmp_path / "a.npz", **arrays(pictures))
    with pytest.raises(InputError, match=message):
        NpzSource(path)


def test_a_file_that_is_no_npz(tmp_path, pictures):
    path = tmp_path / "a.npz"
    with pytest.raises(InputError, match=r"a\.npz cannot be read \(No such file"):
        NpzSource(path)
    for content in (b"", b"no zip file", save_npz(tmp_path / "whole.npz", arr_0=pictures).read_bytes()[:-30]):
        path.write_bytes(content)
        with pytest.raises(InputError, match=r"a\.npz is damaged, or not what its suffix says \(File is not a zip"):
            NpzSource(path)


def test_an_array_shorter_or_longer_than_its_header_says(tmp_path, pictures):
    content = io.BytesIO()
    np.save(content, pictures)
    whole = content.getvalue()
    for damaged in (whole[:-1], whole + b"0"):
        with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
            archive.writestr("arr_0.npy", damaged)
        with pytest.raises(InputError, match=r"has 1,02[79] bytes, wanted 1,028 for uint8 \[10, 6, 5, 3\]"):
            NpzSource(tmp_path / "a.npz")


@pytest.mark.parametrize("packed", [False, True], ids=["stored", "compressed"])
def test_damage_within_the_images_shows_when_they_are_read(tmp_path, numbers, packed):
    images = numbers.integers(0, 4, (100, 8, 8, 3), dtype=np.uint8)
    path = save_npz(tmp_path / "a.npz", packed=packed, arr_0=images)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0xFF
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"arr_0 of .*a\.npz is damaged"):
        values(NpzSource(path))


# Logits.


@pytest.mark.parametrize("dtype", ["<f2", "<f4", "<f8", ">f4"])
def test_logits(tmp_path, logits, dtype):
    path = tmp_path / "logits.npy"
    np.save(path, logits.astype(dtype))
    source = LogitsSource(path)
    want = torch.from_numpy(logits.astype(np.dtype(dtype).newbyteorder("=")))
    check_ranges(source, want, None)
    assert values(source).dtype == want.dtype
    assert (source.kind, source.num_classes, source.num_labels, source.skipped) == ("logits", 7, None, [])
    assert source.description == f"10 x 7 logits ({np.dtype(dtype)}) of {path}"


def test_logits_with_labels(tmp_path, logits, labels):
    np.save(tmp_path / "logits.npy", logits)
    np.save(tmp_path / "labels.npy", labels)
    source = LogitsSource(tmp_path / "logits.npy", labels=tmp_path / "labels.npy")
    check_ranges(source, torch.from_numpy(logits), labels)
    assert source.num_labels == 4
    assert source.description.endswith(f", labels of {tmp_path / 'labels.npy'}")
    for bad in (labels[:9], labels / 2, labels - 1):
        np.save(tmp_path / "labels.npy", bad)
        with pytest.raises(InputError, match=r"labels\.npy (is .* wanted integers \[10\]|has a label of -1)"):
            LogitsSource(tmp_path / "logits.npy", labels=tmp_path / "labels.npy")


def test_probabilities_come_as_they_are(tmp_path, numbers):
    np.save(tmp_path / "p.npy", numbers.dirichlet(np.ones(7), 10))
    source = open_source(tmp_path / "p.npy", probabilities=True)
    assert (source.kind, source.num_classes) == ("probabilities", 7)
    assert source.description == f"10 x 7 probabilities (float64) of {tmp_path / 'p.npy'}"
    check_ranges(source, torch.from_numpy(np.load(tmp_path / "p.npy")), None)
    np.save(tmp_path / "p.npy", np.zeros((3, 2), np.int64))
    with pytest.raises(InputError, match=r"is int64 \[3, 2\], wanted probabilities: float16, float32 or float64"):
        LogitsSource(tmp_path / "p.npy", probabilities=True)


def test_batches_of_logits_are_copies(tmp_path, logits):
    np.save(tmp_path / "logits.npy", logits)
    batch = next(iter(LogitsSource(tmp_path / "logits.npy").batches(4)))
    batch.values.zero_()
    assert (np.load(tmp_path / "logits.npy") == logits).all()


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (lambda x: x[0], r"is float32 \[7\], wanted logits: float16, float32 or float64 \[N, K\]"),
        (lambda x: x[None], r"is float32 \[1, 10, 7\], wanted logits"),
        (lambda x: x.astype(np.int32), r"is int32 \[10, 7\], wanted logits"),
        (lambda x: x.astype(np.complex64), r"is complex64 \[10, 7\], wanted logits"),
        (lambda x: x.astype(np.longdouble), r"\[10, 7\], wanted logits"),
        (lambda x: np.asfortranarray(x), "is in Fortran order, wanted C order"),
        (lambda x: x[:0], r"is float32 \[0, 7\], wanted at least one row"),
        (lambda x: x[:, :1].copy(), r"is float32 \[10, 1\], wanted logits of at least 2 classes"),
        (lambda x: x[0, 0], r"is float32 \[\], wanted at least one row"),
        (lambda x: np.zeros(3, [("日", "f4")]), "is damaged, or not what its suffix says .*named fields"),
    ],
)
@pytest.mark.filterwarnings("ignore:Stored array in format 3.0")
def test_logits_of_anything_else(tmp_path, logits, array, message):
    np.save(tmp_path / "a.npy", array(logits))
    with pytest.raises(InputError, match=message):
        LogitsSource(tmp_path / "a.npy")


def test_logits_that_are_damaged_or_not_there(tmp_path, logits):
    path = tmp_path / "a.npy"
    with pytest.raises(InputError, match=r"a\.npy cannot be read \(No such file"):
        LogitsSource(path)
    np.save(path, logits)
    whole = path.read_bytes()
    for content in (b"", whole[:7], whole[:40], b"nothing of the kind", whole[:9] + b"\xff" * 119 + whole[128:]):
        path.write_bytes(content)
        with pytest.raises(InputError, match=r"a\.npy is damaged, or not what its suffix says"):
            LogitsSource(path)
    for content in (whole[:-1], whole + whole):
        path.write_bytes(content)
        with pytest.raises(InputError, match=r"a\.npy has (407|816) bytes, wanted 408 for float32 \[10, 7\]"):
            LogitsSource(path)


def test_logits_cut_short_after_they_were_opened(tmp_path, logits):
    np.save(tmp_path / "a.npy", logits)
    source = LogitsSource(tmp_path / "a.npy")
    with (tmp_path / "a.npy").open("r+b") as file:
        file.truncate(200)
    with pytest.raises(InputError, match=r"a\.npy is damaged"):
        values(source)


# In memory.


def test_images_in_memory(pictures, labels):
    source = TensorSource(nchw(pictures), torch.from_numpy(labels), "held-out pictures")
    check_ranges(source, nchw(pictures), labels)
    assert (source.kind, source.num_labels, source.skipped) == ("images", 4, [])
    assert source.description == "held-out pictures"


@pytest.mark.parametrize("workers_from", [5, 2000], ids=["workers", "no workers"])
def test_images_of_a_dataset_that_stay_in_their_files(tmp_path, pictures, labels, monkeypatch, workers_from):
    monkeypatch.setattr("amgan_fast.images.reading._WORTH_WORKERS", workers_from)
    folder = save_images(tmp_path, pictures)
    names = sorted(path.name for path in folder.iterdir())
    files = ImageFiles(folder, names, partial(read_pixels, channels=3), (3, 6, 5))
    source = TensorSource(files, torch.from_numpy(labels), "held-out pictures")
    assert torch.equal(values(source, 3, 1, 9), nchw(pictures[1:9]))
    assert labels_of(source, 3, 1, 9) == labels[1:9].tolist()


def test_tensors_that_are_no_labelled_images(pictures):
    images = nchw(pictures)
    with pytest.raises(TypeError, match=r"images are torch\.float32, wanted torch\.uint8"):
        TensorSource(images.float(), torch.zeros(10), "")
    with pytest.raises(ValueError, match=r"images are \[0, 3, 6, 5\], wanted \[N, C, H, W\] with N at least 1"):
        TensorSource(images[:0], torch.zeros(0), "")
    with pytest.raises(ValueError, match=r"labels are \[9\], wanted \[10\]"):
        TensorSource(images, torch.zeros(9), "")


# A generator.


class Counting(nn.Sequential):
    """A small generator that knows how many samples it has made."""

    def __init__(self, width: int) -> None:
        super().__init__(nn.Linear(width, 12), nn.BatchNorm1d(12), nn.Tanh(), nn.Unflatten(1, (3, 2, 2)))
        self.made: list[int] = []
        self.eval().requires_grad_(False)

    def forward(self, inputs):
        self.made.append(len(inputs))
        return super().forward(inputs)


@pytest.mark.parametrize("frequencies", [None, torch.tensor([0.5, 0.2, 0.3])], ids=["dynamic", "predefined"])
def test_a_generator_gives_the_same_samples_in_any_range(frequencies):
    latent = LatentSource(4, frequencies)
    network = Counting(latent.width)
    # As they have always been drawn: 500 at a time from one stream.
    random = torch.Generator().manual_seed(7)
    draws = [latent.draw(count, random) for count in (500, 500, 203)]
    want = torch.cat([network(inputs) for inputs, _ in draws])
    want_labels = None if frequencies is None else torch.cat([labels for _, labels in draws])

    source = GeneratorSource(Sampler(network, latent), 1203, seed=7)
    assert (source.count, source.num_labels) == (1203, None if frequencies is None else 3)
    assert source.description == "1,203 samples of a generator"
    for batch_size, start, stop in [(500, 0, None), (64, 0, 500), (64, 500, 1000), (700, 0, None), (1, 1000, 1005),
                                    (300, 499, 1001), (5000, 1000, None), (10, 1203, 1203)]:  # fmt: skip
        batches = list(source.batches(batch_size, start, stop))
        stop = 1203 if stop is None else stop
        sizes = [min(batch_size, stop - first) for first in range(start, stop, batch_size)]
        assert [len(batch.values) for batch in batches] == sizes
        if sizes:
            assert torch.equal(torch.cat([batch.values for batch in batches]), want[start:stop])
        if want_labels is not None and sizes:
            assert torch.equal(torch.cat([batch.labels for batch in batches]), want_labels[start:stop])
        else:
            assert all(batch.labels is None for batch in batches)


def test_generate_is_unchanged_by_where_it_starts():
    network = Counting(4)
    sampler = Sampler(network, LatentSource(4))
    whole = list(sampler.batches(1203, torch.Generator().manual_seed(7)))
    network.made.clear()
    later = list(sampler.batches(1203, torch.Generator().manual_seed(7), start=1000))
    assert network.made == [203]
    assert [len(images) for images, _ in whole] == [500, 500, 203]
    assert len(later) == 1
    assert torch.equal(later[0][0], whole[2][0])


def test_latents_before_the_range_are_drawn_and_not_generated():
    network = Counting(4)
    source = GeneratorSource(Sampler(network, LatentSource(4)), 5000, seed=0, name="runs/digits")
    before = torch.get_rng_state()
    assert sum(len(batch.values) for batch in source.batches(250, 2000, 3000)) == 1000
    assert network.made == [500, 500]
    assert torch.equal(torch.get_rng_state(), before)
    assert source.description == "5,000 samples of runs/digits"


def test_a_source_says_how_many_of_its_samples_belong_together(pictures, labels):
    """Shares of several processes begin at multiples of it, and no generator runs on part of a draw."""
    network = Counting(4)
    source = GeneratorSource(Sampler(network, LatentSource(4)), 1203, seed=0)
    start, stop = Share(1, 3).bounds(source.count, source.unit)
    list(source.batches(100, start, stop))
    assert network.made == [500]
    assert TensorSource(nchw(pictures), torch.from_numpy(labels), "").unit == 1


def test_generators_that_will_not_do():
    with pytest.raises(InputError, match="samples is 0, wanted at least 1"):
        GeneratorSource(Sampler(Counting(4), LatentSource(4)), 0, seed=0)
    with pytest.raises(ValueError, match="generator is in training mode, wanted evaluation mode"):
        GeneratorSource(Sampler(Counting(4).train(), LatentSource(4)), 10, seed=0)


# By what is at a path.


def test_a_source_by_its_path(tmp_path, pictures, logits):
    save_images(tmp_path / "images.npz", pictures)  # a folder, whatever its name
    assert isinstance(open_source(tmp_path / "images.npz", workers=0, skip_unreadable=True), ImageFolderSource)
    assert isinstance(open_source(save_npz(tmp_path / "a.npz", arr_0=pictures), skip_unreadable=True), NpzSource)
    np.save(tmp_path / "a.npy", logits)
    shutil.move(tmp_path / "a.npy", tmp_path / "a.NPY")
    assert isinstance(open_source(str(tmp_path / "a.NPY")), LogitsSource)


@pytest.mark.parametrize("name", ["a.png", "a", "a.npz"])
def test_a_path_of_no_source(tmp_path, name):
    wanted = r"wanted a folder of images, an \.npz file of images or an \.npy file of logits"
    with pytest.raises(InputError, match=rf"{name} does not exist, {wanted}"):
        open_source(tmp_path / name)
    if name != "a.npz":
        (tmp_path / name).write_text("")
        with pytest.raises(InputError, match=rf"{name} is no folder and no file of these, {wanted}"):
            open_source(tmp_path / name)


def labelled_sources(folder: Path) -> dict[str, Source]:
    """Twelve samples or more with labels, of every kind."""
    labels = np.array([2, 0, 1, 1, 0, 2, 2, 2, 0, 1, 1, 1])
    np.save(folder / "labels.npy", labels)
    np.save(folder / "logits.npy", np.zeros((12, 3), np.float32))
    np.savez(folder / "images.npz", arr_0=np.zeros((12, 2, 2, 1), np.uint8), arr_1=labels)
    for i, label in enumerate(labels):
        (folder / "folder" / str(label)).mkdir(parents=True, exist_ok=True)
        Image.new("L", (2, 2)).save(folder / "folder" / str(label) / f"{i}.png")
    latent = LatentSource(4, class_frequencies=torch.tensor([0.5, 0.2, 0.3]))
    sampler = Sampler(nn.Sequential(nn.Linear(7, 4), nn.Unflatten(1, (1, 2, 2))).eval(), latent)
    return {
        "logits": LogitsSource(folder / "logits.npy", labels=folder / "labels.npy"),
        "npz": NpzSource(folder / "images.npz"),
        "folder": ImageFolderSource(folder / "folder"),
        "tensor": TensorSource(torch.zeros(12, 1, 2, 2, dtype=torch.uint8), torch.from_numpy(labels), "12 images"),
        "generator": GeneratorSource(sampler, 1203, seed=0),
    }


@pytest.mark.parametrize("name", ["logits", "npz", "folder", "tensor", "generator"])
def test_labels_before_a_place_are_counted_without_reading_the_samples(tmp_path, name):
    source = labelled_sources(tmp_path)[name]
    for start in {0, 1, 7, source.count // 2, 500, 1000, source.count}:
        if start <= source.count:
            labels = torch.cat([torch.zeros(0, dtype=torch.int64), *(x.labels for x in source.batches(100, 0, start))])
            assert torch.equal(source.labels_before(start), torch.bincount(labels, minlength=3))


def test_a_source_without_labels_has_none_before_any_place(tmp_path):
    np.save(tmp_path / "logits.npy", np.zeros((12, 3), np.float32))
    assert LogitsSource(tmp_path / "logits.npy").labels_before(5) is None
    sampler = Sampler(nn.Unflatten(1, (1, 2, 2)).eval(), LatentSource(4))
    assert GeneratorSource(sampler, 12, seed=0).labels_before(5) is None


def test_fingerprints_tell_sources_apart(tmp_path):
    for place in ("a", "b"):
        (tmp_path / place).mkdir()
    first, again = labelled_sources(tmp_path / "a"), labelled_sources(tmp_path / "b")
    same = ("logits", "npz", "folder", "tensor")  # wherever they are; the generators have other weights
    assert {name for name in first if first[name].fingerprint() == again[name].fingerprint()} == set(same)
    assert len({source.fingerprint() for source in first.values()}) == len(first)

    np.save(tmp_path / "b" / "logits.npy", np.eye(12, 3, dtype=np.float32))
    np.savez(
        tmp_path / "b" / "images.npz", arr_0=np.ones((12, 2, 2, 1), np.uint8), arr_1=np.load(tmp_path / "b/labels.npy")
    )
    (tmp_path / "b" / "folder" / "2" / "0.png").rename(tmp_path / "b" / "folder" / "2" / "00.png")
    others = {
        "logits": LogitsSource(tmp_path / "b" / "logits.npy", labels=tmp_path / "b" / "labels.npy"),
        "npz": NpzSource(tmp_path / "b" / "images.npz"),
        "folder": ImageFolderSource(tmp_path / "b" / "folder"),
        "tensor": TensorSource(torch.ones(12, 1, 2, 2, dtype=torch.uint8), first["tensor"]._labels, "12 images"),
    }
    for name in same:
        assert others[name].fingerprint() != first[name].fingerprint(), name
        assert others[name].labels_before(12).equal(first[name].labels_before(12))


def test_a_source_is_recorded_part_by_part(tmp_path):
    noise = np.random.default_rng(0).integers(0, 256, (64, 64), dtype=np.uint8)
    for i in range(5):
        Image.fromarray(noise).save(tmp_path / f"{i}.png")
    for i in (1, 3):
        (tmp_path / f"{i}.png").write_bytes((tmp_path / f"{i}.png").read_bytes()[:2000])  # found out when it is read
    (tmp_path / "notes.txt").touch()
    parts = []
    for start, stop in ((0, 2), (2, 5)):
        source = ImageFolderSource(tmp_path, skip_unreadable=True)
        list(source.batches(1, start, stop))
        parts.append(SourceRecord.from_dict(json.loads(json.dumps(source.record().to_dict()))))
    list(source.batches(1, 0, 2))
    assert SourceRecord.of_parts(parts).description == source.description
    assert sorted(SourceRecord.of_parts(parts).skipped) == sorted(source.skipped)
    assert source.description.startswith("3 images of ")
    assert source.description.endswith(", 2 left out, 1 other file ignored")
