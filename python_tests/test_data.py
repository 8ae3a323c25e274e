"""Datasets: the real ones where they are, small files of the true format otherwise."""

from __future__ import annotations

import gzip
import struct
from pathlib import Path

import pytest
import torch

from amgan_fast.data import Batches, load_dataset, to_float, to_uint8
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


def test_scaling_is_the_authors_and_can_be_undone():
    levels = torch.arange(256, dtype=torch.uint8)
    scaled = to_float(levels)
    assert scaled[0] == -127.5 / 128
    assert scaled[255] == 127.5 / 128
    assert torch.equal(to_uint8(scaled), levels)
    assert torch.equal(to_uint8(torch.tensor([-1.0, 1.0])), torch.tensor([0, 255], dtype=torch.uint8))


def test_batches_are_whole_epochs_in_an_order_of_their_own():
    values = torch.arange(10)
    stream = Batches(values, values + 100, 4, seed=1)
    torch.manual_seed(5)
    drawn = [next(stream) for _ in range(5)]
    images = torch.cat([images for images, _ in drawn])
    assert torch.equal(images[:10].sort().values, values)
    assert torch.equal(images[10:].sort().values, values)
    assert torch.equal(torch.cat([labels for _, labels in drawn]), images + 100)
    torch.manual_seed(6)
    assert torch.equal(next(Batches(values, values, 4, seed=1))[0], drawn[0][0])
    assert not torch.equal(images[:10], images[10:])


def test_a_batch_larger_than_the_set_takes_several_epochs():
    values = torch.arange(3)
    images, _ = next(Batches(values, values, 6, seed=0))
    assert images.bincount().tolist() == [2, 2, 2]


def test_bad_batches():
    with pytest.raises(ValueError, match="images are 3 and labels 2"):
        Batches(torch.zeros(3), torch.zeros(2), 1, seed=0)
    with pytest.raises(ValueError, match="batch_size is 0"):
        Batches(torch.zeros(3), torch.zeros(3), 0, seed=0)


def test_an_unknown_dataset():
    with pytest.raises(InputError, match="dataset is 'cats', wanted one of digits, fashion-mnist"):
        load_dataset("cats")


@pytest.mark.skipif(not DEBIAN_DIR.is_dir(), reason="Debian's package dataset-fashion-mnist is not installed")
def test_fashion_mnist_from_debians_package():
    fashion = load_dataset("fashion-mnist")
    assert fashion.image_shape == (1, 28, 28)
    assert fashion.train_labels.bincount().tolist() == [6000] * 10
    assert fashion.test_labels.bincount().tolist() == [1000] * 10


def write_idx(path: Path, *sizes: int, values: bytes, packed: bool) -> None:
    """An idx file of unsigned bytes: magic (type 8, rank), sizes, values; integers are big-endian."""
    content = struct.pack(f">{1 + len(sizes)}i", 0x800 + len(sizes), *sizes) + values
    if packed:
        path.with_name(f"{path.name}.gz").write_bytes(gzip.compress(content))
    else:
        path.write_bytes(content)


def write_fashion_mnist(folder: Path, *, packed: bool) -> Path:
    folder.mkdir(parents=True)
    for prefix, count in (("train", 6), ("t10k", 4)):
        pixels = bytes(i % 256 for i in range(count * 28 * 28))
        write_idx(folder / f"{prefix}-images-idx3-ubyte", count, 28, 28, values=pixels, packed=packed)
        write_idx(folder / f"{prefix}-labels-idx1-ubyte", count, values=bytes(range(count)), packed=packed)
    return folder


@pytest.mark.parametrize("packed", [True, False], ids=["gz", "plain"])
@pytest.mark.parametrize("layout", [".", "FashionMNIST/raw"])
def test_fashion_mnist_from_a_folder(tmp_path, packed, layout):
    write_fashion_mnist(tmp_path / "data" / layout, packed=packed)
    fashion = load_dataset("fashion-mnist", tmp_path / "data")
    assert fashion.train_images.shape == (6, 1, 28, 28)
    assert fashion.test_labels.tolist() == [0, 1, 2, 3]
    assert fashion.train_images.flatten()[:300].tolist() == [i % 256 for i in range(300)]


def test_fashion_mnist_that_is_not_there_names_both_ways(tmp_path):
    with pytest.raises(InputError, match=r"no Fashion-MNIST files in .*dataset-fashion-mnist, or give --data-dir"):
        load_dataset("fashion-mnist", tmp_path)


def test_fashion_mnist_with_a_file_missing(tmp_path):
    folder = write_fashion_mnist(tmp_path / "data", packed=True)
    (folder / "t10k-labels-idx1-ubyte.gz").unlink()
    with pytest.raises(InputError, match="has no file t10k-labels-idx1-ubyte"):
        load_dataset("fashion-mnist", folder)


@pytest.mark.parametrize(
    "damage",
    [lambda content: content[:-50], lambda content: b"nothing of the kind", lambda content: gzip.compress(b"")],
    ids=["cut short", "no gzip", "empty"],
)
def test_fashion_mnist_with_a_damaged_file(tmp_path, damage):
    folder = write_fashion_mnist(tmp_path / "data", packed=True)
    file = folder / "train-images-idx3-ubyte.gz"
    file.write_bytes(damage(file.read_bytes()))
    with pytest.raises(InputError, match=r"train-images-idx3-ubyte\.gz is damaged or no idx file"):
        load_dataset("fashion-mnist", folder)


def test_fashion_mnist_whose_labels_and_images_differ_in_number(tmp_path):
    folder = write_fashion_mnist(tmp_path / "data", packed=False)
    write_idx(folder / "t10k-labels-idx1-ubyte", 3, values=bytes(3), packed=False)
    with pytest.raises(InputError, match="4 t10k images and 3 labels"):
        load_dataset("fashion-mnist", folder)
