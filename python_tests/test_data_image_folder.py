"""Folders of images against torchvision's ImageFolder and Pillow."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import EpsImagePlugin, Image
from torchvision.datasets import ImageFolder
from torchvision.transforms.functional import pil_to_tensor

from amgan_fast.data import ImageFiles, image_folder, load_dataset
from amgan_fast.errors import InputError


def noise(seed: int, mode: str = "RGB", size: tuple[int, int] = (12, 10)) -> Image.Image:
    width, height = size
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return Image.fromarray(pixels).convert(mode)


def write_classes(folder: Path, counts: dict[str, int], mode: str = "RGB", suffix: str = "png") -> Path:
    for number, (name, count) in enumerate(counts.items()):
        (folder / name).mkdir(parents=True)
        for i in range(count):
            noise(1000 * number + i, mode).save(folder / name / f"{i:03}.{suffix}")
    return folder


def write_split(folder: Path, held_out: str = "test", mode: str = "RGB", suffix: str = "png") -> Path:
    write_classes(folder / "train", {"cat": 3, "ant": 5}, mode, suffix)
    write_classes(folder / held_out, {"cat": 2, "ant": 1}, mode, suffix)
    return folder


def torchvisions(folder: Path) -> tuple[torch.Tensor, list[int]]:
    found = ImageFolder(folder, transform=pil_to_tensor)
    return torch.stack([image for image, _ in found]), found.targets


@pytest.mark.parametrize("held_out", ["test", "val"])
@pytest.mark.parametrize("suffix", ["png", "jpg", "bmp", "webp", "tiff", "ppm"])
def test_a_split_folder_reads_as_torchvision_reads_it(tmp_path, held_out, suffix):
    write_split(tmp_path, held_out, suffix=suffix)
    loaded = load_dataset("image-folder", tmp_path)
    for part, images, labels in (
        ("train", loaded.train_images, loaded.train_labels),
        (held_out, loaded.test_images, loaded.test_labels),
    ):
        want, targets = torchvisions(tmp_path / part)
        assert torch.equal(images, want)
        assert labels.tolist() == targets
    assert loaded.describe() == (
        f"image-folder: 8 training and 3 held-out images (as in {held_out}) of 3 x 10 x 12, 2 classes"
    )
    assert not loaded.mirror_symmetric


@pytest.mark.parametrize("layout", [".", "train"])
def test_one_in_ten_of_each_class_is_held_out_where_there_is_no_split(tmp_path, layout):
    write_classes(tmp_path / layout, {"a": 30, "b": 7, "c": 2})
    loaded = load_dataset("image-folder", tmp_path)
    assert loaded.train_labels.bincount().tolist() == [27, 6, 1]
    assert loaded.test_labels.bincount().tolist() == [3, 1, 1]
    whole, _ = torchvisions(tmp_path / layout)
    parts = torch.cat([loaded.train_images, loaded.test_images])
    assert {image.numpy().tobytes() for image in parts} == {image.numpy().tobytes() for image in whole}
    assert "10% of each class, drawn with seed 0" in loaded.describe()
    assert load_dataset("image-folder", tmp_path).fingerprint() == loaded.fingerprint()


@pytest.mark.parametrize(("mode", "channels"), [("L", 1), ("1", 1), ("LA", 1), ("RGB", 3), ("RGBA", 3), ("P", 3)])
def test_channels_are_those_of_the_files(tmp_path, mode, channels):
    loaded = load_dataset("image-folder", write_split(tmp_path, mode=mode))
    assert loaded.image_shape == (channels, 10, 12)
    want, _ = torchvisions(tmp_path / "train")
    assert torch.equal(loaded.train_images, want[:, :channels])


def test_some_greyscale_images_among_coloured_ones(tmp_path):
    write_split(tmp_path)
    noise(5, "L").save(tmp_path / "train/ant/000.png")
    assert torch.equal(load_dataset("image-folder", tmp_path).train_images, torchvisions(tmp_path / "train")[0])


def test_a_coloured_image_among_greyscale_ones(tmp_path):
    write_split(tmp_path, mode="L")
    noise(5).save(tmp_path / "train/cat/001.png")
    with pytest.raises(InputError, match=r"cat/001\.png is in colour, wanted greyscale, as the first image of"):
        load_dataset("image-folder", tmp_path)


def test_images_of_several_sizes(tmp_path):
    write_split(tmp_path)
    noise(5, size=(40, 20)).save(tmp_path / "train/cat/001.png")
    with pytest.raises(InputError, match=r"cat/001\.png is 40 x 20, wanted 12 x 10 as the first image, or an"):
        load_dataset("image-folder", tmp_path)
    assert load_dataset("image-folder", tmp_path, image_size=16).image_shape == (3, 16, 16)


def test_resizing_takes_the_square_in_the_middle_and_averages(tmp_path):
    write_split(tmp_path)
    wide = np.zeros((64, 128, 3), np.uint8)
    wide[:, 32:96] = 255 * (np.indices((64, 64)).sum(0) % 2)[..., None]  # a fine chequered square
    wide[:, :32, 0] = wide[:, 96:, 0] = 255  # between red edges
    Image.fromarray(wide).save(tmp_path / "train/ant/000.png")
    image = load_dataset("image-folder", tmp_path, image_size=8).train_images[0]
    assert image.shape == (3, 8, 8)
    # Grey: not red, and neither black nor white, as every eighth pixel would be.
    assert (image.int() - 127).abs().max() <= 12


def test_resizing_changes_nothing_at_the_same_size(tmp_path):
    write_split(tmp_path)
    for path in tmp_path.rglob("*.png"):
        noise(3, size=(16, 16)).save(path)
    same = load_dataset("image-folder", tmp_path, image_size=16)
    assert torch.equal(same.train_images, torchvisions(tmp_path / "train")[0])


@pytest.mark.parametrize("image_size", [None, 6])
def test_images_that_would_not_fit_stay_in_their_files(tmp_path, monkeypatch, image_size):
    write_split(tmp_path)
    in_memory = load_dataset("image-folder", tmp_path, image_size=image_size)
    monkeypatch.setattr(image_folder, "fits_in", lambda device, size: size < in_memory.train_images.nbytes)
    loaded = load_dataset("image-folder", tmp_path, image_size=image_size)
    assert isinstance(loaded.train_images, ImageFiles)
    assert isinstance(loaded.test_images, torch.Tensor)
    assert loaded.image_shape == in_memory.image_shape
    assert torch.equal(torch.cat(list(loaded.train_images.split(3))), in_memory.train_images)
    assert torch.equal(loaded.train_images[torch.tensor([4, 1])], in_memory.train_images[[4, 1]])
    assert loaded.to("cpu").describe() == in_memory.describe()
    subset = loaded.labelled_subset(2, seed=0)
    assert torch.equal(torch.cat(list(subset.train_images.split(9))), in_memory.labelled_subset(2, seed=0).train_images)


def test_the_fingerprint_of_files_tells_sets_apart(tmp_path, monkeypatch):
    monkeypatch.setattr(image_folder, "fits_in", lambda device, size: False)
    write_split(tmp_path / "a")
    write_split(tmp_path / "b")
    first = load_dataset("image-folder", tmp_path / "a").fingerprint()
    assert load_dataset("image-folder", tmp_path / "b").fingerprint() == first
    assert load_dataset("image-folder", tmp_path / "a", image_size=6).fingerprint() != first
    noise(77, size=(12, 10)).convert("L").save(tmp_path / "b/train/cat/002.png")
    assert load_dataset("image-folder", tmp_path / "b").fingerprint() != first


def one_class(root: Path) -> None:
    write_classes(root, {"all": 3})


def no_images(root: Path) -> None:
    write_classes(root, {"a": 3})
    (root / "b").mkdir()
    (root / "b/notes.txt").write_text("no image")


def one_image(root: Path) -> None:
    write_classes(root, {"a": 3, "b": 1})


def other_classes(root: Path) -> None:
    write_split(root)
    write_classes(root / "test", {"dog": 1})


def no_folders(root: Path) -> None:
    noise(0).save(root / "a.png")


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (one_class, "has one folder, all, wanted a folder of images for each class"),
        (no_images, "is no folder of images by class: Found no valid file for the classes b"),
        (one_image, "/b has one image, wanted at least 2: one is held out"),
        (other_classes, "/test and .*/train differ in the classes dog, wanted the same"),
        (no_folders, "is no folder of images by class: Couldn't find any class folder"),
    ],
)
def test_a_folder_of_another_structure_is_refused_in_one_line(tmp_path, build, message):
    build(tmp_path)
    with pytest.raises(InputError, match=rf"^[^\n]*{message}[^\n]*$"):
        load_dataset("image-folder", tmp_path)


@pytest.mark.parametrize("name", ["train/cat/002.png", "train/ant/000.png", "test/cat/001.png"])
def test_damaged_and_wrong_images_are_refused_in_one_line(tmp_path, name):
    image = write_split(tmp_path) / name
    whole = image.read_bytes()
    for content in (b"", whole[:30], whole[:-200], b"nothing of the kind"):
        image.write_bytes(content)
        with pytest.raises(InputError, match=rf"^[^\n]*{name} is damaged or no image \([^\n]*$"):
            load_dataset("image-folder", tmp_path)
    Image.fromarray(np.zeros((10, 12), np.uint16)).save(image)
    with pytest.raises(InputError, match=rf"{name} has mode I;16, wanted 8 bits a channel"):
        load_dataset("image-folder", tmp_path)


def test_no_image_is_handed_to_another_program(tmp_path, monkeypatch):
    """Pillow has Ghostscript execute EPS, whatever the file is called."""
    executed = []
    monkeypatch.setattr(EpsImagePlugin, "Ghostscript", lambda *args: executed.append(args) or noise(0).im)
    image = write_split(tmp_path) / "train/cat/000.png"
    noise(0).save(image, "EPS")
    with pytest.raises(InputError, match=r"cat/000\.png is damaged or no image"):
        load_dataset("image-folder", tmp_path)
    assert not executed
    with Image.open(image) as opened:
        opened.load()
    assert executed, "Pillow alone would have had it executed"


@pytest.mark.parametrize("image_size", [0, -1])
def test_a_size_that_is_none(tmp_path, image_size):
    with pytest.raises(InputError, match=f"image_size is {image_size}, wanted at least 1"):
        load_dataset("image-folder", tmp_path, image_size=image_size)
