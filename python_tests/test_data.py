"""Datasets: the real ones where they are, small files of the true format otherwise."""

from __future__ import annotations

import gzip
import struct
from pathlib import Path

import pytest
import torch
from torchvision import datasets as oracle

from amgan_fast import memory
from amgan_fast.data import Dataset, load_dataset, to_float, to_uint8
from amgan_fast.data.fashion_mnist import DEBIAN_DIR
from amgan_fast.errors import InputError


def test_digits_are_whole_stratified_and_always_the_same():
    digits = load_dataset("digits")
    assert digits.image_shape == (1, 8, 8)
    assert (len(digits.train_images), len(digits.test_images)) == (1437, 360)
    assert digits.train_images.dtype == digits.test_images.dtype == torch.uint8
    assert (int(digits.train_images.min()), int(digits.train_images.max())) == (0, 255)
    assert digits.test_labels.bincount().min() >= 34
    assert digits.class_frequencies().sum() == pytest.approx(1)
    assert load_dataset("digits").fingerprint() == digits.fingerprint()
    assert digits.describe() == "digits: 1,437 training and 360 held-out images (stratified) of 1 x 8 x 8, 10 classes"
    assert not digits.mirror_symmetric


def test_scaling_is_the_authors_and_can_be_undone():
    levels = torch.arange(256, dtype=torch.uint8)
    scaled = to_float(levels)
    assert scaled[0] == -127.5 / 128
    assert scaled[255] == 127.5 / 128
    assert torch.equal(to_uint8(scaled), levels)
    assert torch.equal(to_uint8(torch.tensor([-1.0, 1.0])), torch.tensor([0, 255], dtype=torch.uint8))


def test_a_labelled_subset_has_as_many_of_each_class_and_is_always_the_same():
    digits = load_dataset("digits")
    subset = digits.labelled_subset(5, seed=3)
    assert subset.train_labels.bincount().tolist() == [5] * 10
    for image, label in zip(subset.train_images, subset.train_labels, strict=True):
        same = (digits.train_images == image).flatten(1).all(1)
        assert label in digits.train_labels[same]
    assert subset.fingerprint() == digits.labelled_subset(5, seed=3).fingerprint()
    assert subset.fingerprint() != digits.labelled_subset(5, seed=4).fingerprint()
    assert torch.equal(subset.test_images, digits.test_images)


@pytest.mark.parametrize("per_class", [0, 140])
def test_a_labelled_subset_that_there_is_not(per_class):
    with pytest.raises(InputError, match=f"{per_class} labelled images of each class, wanted 1 to 139, the size of"):
        load_dataset("digits").labelled_subset(per_class, seed=0)


def ten_images() -> Dataset:
    """10 images of 100 bytes with labels of 8: 1080 bytes."""
    images = torch.zeros(10, 1, 10, 10, dtype=torch.uint8)
    labels = torch.zeros(10, dtype=torch.int64)
    return Dataset("ten", 2, images[:8], labels[:8], images[8:], labels[8:])


def test_what_takes_at_most_half_of_a_gpus_free_memory_fits(monkeypatch):
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (2160, 10**9))
    assert ten_images().fits_on("cuda")
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (2158, 10**9))
    assert not ten_images().fits_on("cuda")
    assert ten_images().fits_on("cpu")


def test_what_takes_at_most_half_of_the_machines_memory_fits():
    machine = memory.os.sysconf("SC_PHYS_PAGES") * memory.os.sysconf("SC_PAGE_SIZE")
    kilobytes = int(Path("/proc/meminfo").read_text().split()[1])
    assert machine == pytest.approx(kilobytes * 1024, rel=0.01)
    assert memory.fits_in_half_of(torch.device("cpu"), machine // 2)
    assert not memory.fits_in_half_of(torch.device("cpu"), machine // 2 + 1)


def test_an_unknown_dataset():
    known = "digits, fashion-mnist, mnist, cifar10, svhn, svhn-extra, tiny-imagenet, image-folder"
    with pytest.raises(InputError, match=f"dataset is 'cats', wanted one of {known}"):
        load_dataset("cats")


@pytest.mark.parametrize("name", ["mnist", "cifar10", "svhn", "svhn-extra", "tiny-imagenet", "image-folder"])
def test_a_dataset_without_a_folder_asks_for_one(name, tmp_path):
    with pytest.raises(InputError, match=r"^no folder .*: give --data-dir [^\n]*$"):
        load_dataset(name)
    with pytest.raises(InputError, match=rf"{tmp_path}/none[^\n]*$"):
        load_dataset(name, tmp_path / "none")


def test_digits_have_a_size_of_their_own():
    with pytest.raises(
        InputError, match="image_size is 32 for digits, wanted none: it is for fashion-mnist, mnist, image-folder"
    ):
        load_dataset("digits", image_size=32)


def test_padding_puts_images_in_the_middle_of_black_ones():
    digits = load_dataset("digits")
    padded = digits.padded(13)
    assert padded.image_shape == (1, 13, 13)
    assert torch.equal(padded.test_images[:, :, 2:10, 2:10], digits.test_images)
    assert padded.train_images.sum() == digits.train_images.sum()
    assert padded.fingerprint() != digits.fingerprint()
    with pytest.raises(InputError, match="image_size is 7 for digits, wanted at least the 8 it has"):
        digits.padded(7)


@pytest.mark.skipif(not DEBIAN_DIR.is_dir(), reason="Debian's package dataset-fashion-mnist is not installed")
def test_fashion_mnist_from_debians_package():
    fashion = load_dataset("fashion-mnist")
    assert fashion.image_shape == (1, 28, 28)
    assert fashion.train_labels.bincount().tolist() == [6000] * 10
    assert fashion.test_labels.bincount().tolist() == [1000] * 10
    assert fashion.mirror_symmetric
    assert load_dataset("fashion-mnist", image_size=32).image_shape == (1, 32, 32)


def write_idx(path: Path, *sizes: int, values: bytes, packed: bool) -> None:
    """An idx file of unsigned bytes: magic (type 8, rank), sizes, values; integers are big-endian."""
    content = struct.pack(f">{1 + len(sizes)}i", 0x800 + len(sizes), *sizes) + values
    if packed:
        path.with_name(f"{path.name}.gz").write_bytes(gzip.compress(content))
    else:
        path.write_bytes(content)


def write_idx_set(folder: Path, *, packed: bool) -> Path:
    folder.mkdir(parents=True)
    for prefix, count in (("train", 6), ("t10k", 4)):
        pixels = bytes(i % 256 for i in range(count * 28 * 28))
        write_idx(folder / f"{prefix}-images-idx3-ubyte", count, 28, 28, values=pixels, packed=packed)
        write_idx(folder / f"{prefix}-labels-idx1-ubyte", count, values=bytes(range(count)), packed=packed)
    return folder


IDX_SETS = {"mnist": "MNIST", "fashion-mnist": "FashionMNIST"}


@pytest.mark.parametrize("packed", [True, False], ids=["gz", "plain"])
@pytest.mark.parametrize("name", IDX_SETS)
@pytest.mark.parametrize("nested", [True, False], ids=["torchvision's layout", "flat"])
def test_idx_sets_from_a_folder(tmp_path, packed, name, nested):
    layout = f"{IDX_SETS[name]}/raw" if nested else "."
    write_idx_set(tmp_path / "data" / layout, packed=packed)
    loaded = load_dataset(name, tmp_path / "data")
    assert loaded.name == name
    assert loaded.train_images.shape == (6, 1, 28, 28)
    assert loaded.test_labels.tolist() == [0, 1, 2, 3]
    assert loaded.train_images.flatten()[:300].tolist() == [i % 256 for i in range(300)]


@pytest.mark.parametrize("name", IDX_SETS)
def test_idx_sets_are_what_torchvision_reads(tmp_path, name):
    write_idx_set(tmp_path / IDX_SETS[name] / "raw", packed=False)
    loaded = load_dataset(name, tmp_path)
    train, test = (getattr(oracle, IDX_SETS[name])(tmp_path, train=train) for train in (True, False))
    assert torch.equal(loaded.train_images[:, 0], train.data)
    assert torch.equal(loaded.test_labels, test.targets)


def test_fashion_mnist_that_is_not_there_names_both_ways(tmp_path):
    with pytest.raises(InputError, match=r"no Fashion-MNIST files in .*dataset-fashion-mnist, or give --data-dir"):
        load_dataset("fashion-mnist", tmp_path)


def test_padding_beyond_the_memory_is_refused(tmp_path):
    folder = write_idx_set(tmp_path / "data", packed=True)
    with pytest.raises(InputError, match="image_size is 1000000, wanted a smaller one: 10 such images fill the memory"):
        load_dataset("mnist", folder, image_size=10**6)


def test_an_idx_set_with_a_file_missing(tmp_path):
    folder = write_idx_set(tmp_path / "data", packed=True)
    (folder / "t10k-labels-idx1-ubyte.gz").unlink()
    with pytest.raises(InputError, match="has no file t10k-labels-idx1-ubyte"):
        load_dataset("mnist", folder)


@pytest.mark.parametrize(
    "damage",
    [lambda content: content[:-50], lambda content: b"nothing of the kind", lambda content: gzip.compress(b"")],
    ids=["cut short", "no gzip", "empty"],
)
def test_an_idx_set_with_a_damaged_file(tmp_path, damage):
    folder = write_idx_set(tmp_path / "data", packed=True)
    file = folder / "train-images-idx3-ubyte.gz"
    file.write_bytes(damage(file.read_bytes()))
    with pytest.raises(InputError, match=r"train-images-idx3-ubyte\.gz is damaged or no idx file[^\n]*$"):
        load_dataset("fashion-mnist", folder)


def test_an_idx_set_whose_labels_and_images_differ_in_number(tmp_path):
    folder = write_idx_set(tmp_path / "data", packed=False)
    write_idx(folder / "t10k-labels-idx1-ubyte", 3, values=bytes(3), packed=False)
    with pytest.raises(InputError, match="4 t10k images and 3 labels"):
        load_dataset("fashion-mnist", folder)


def test_an_idx_set_with_another_label(tmp_path):
    folder = write_idx_set(tmp_path / "data", packed=False)
    write_idx(folder / "train-labels-idx1-ubyte", 6, values=bytes([0, 1, 2, 10, 3, 4]), packed=False)
    with pytest.raises(InputError, match="a train label is 10, wanted 0 to 9"):
        load_dataset("mnist", folder)
