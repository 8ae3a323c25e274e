"""SVHN against torchvision, which reads the same small files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.io import savemat
from torchvision import datasets as oracle
from torchvision.datasets import svhn

from amgan_fast.data import load_dataset
from amgan_fast.errors import InputError


def write_svhn(folder: Path) -> Path:
    random = np.random.default_rng(0)
    for name, count in (("train", 12), ("test", 5), ("extra", 7)):
        images = random.integers(0, 256, (32, 32, 3, count), dtype=np.uint8)
        labels = np.arange(1, count + 1, dtype=np.uint8)[:, None] % 11  # 10 is the digit 0
        labels[labels == 0] = 10
        savemat(folder / f"{name}_32x32.mat", {"X": images, "y": labels}, do_compression=True)
    return folder


def test_it_reads_as_torchvision_reads_it(tmp_path, monkeypatch):
    loaded = load_dataset("svhn", write_svhn(tmp_path))
    monkeypatch.setattr(svhn, "check_integrity", lambda path, md5: True)  # the MD5 of the published files
    train, test = (oracle.SVHN(tmp_path, split=split) for split in ("train", "test"))
    assert np.array_equal(loaded.train_images, train.data)
    assert np.array_equal(loaded.train_labels, train.labels)
    assert np.array_equal(loaded.test_images, test.data)
    assert np.array_equal(loaded.test_labels, test.labels)
    assert loaded.train_labels.tolist() == [1, 2, 3, 4, 5, 6, 7, 8, 9, 0, 0, 1]
    assert loaded.train_images.is_contiguous()
    assert not loaded.mirror_symmetric


def test_the_extra_images_are_trained_on_where_they_are_asked_for(tmp_path, monkeypatch):
    loaded = load_dataset("svhn-extra", write_svhn(tmp_path))
    monkeypatch.setattr(svhn, "check_integrity", lambda path, md5: True)
    train, extra, test = (oracle.SVHN(tmp_path, split=split) for split in ("train", "extra", "test"))
    assert np.array_equal(loaded.train_images, np.concatenate([train.data, extra.data]))
    assert np.array_equal(loaded.train_labels, np.concatenate([train.labels, extra.labels]))
    assert np.array_equal(loaded.test_images, test.data)
    assert loaded.describe().startswith("svhn-extra: 19 training and 5 held-out images")
    (tmp_path / "extra_32x32.mat").unlink()
    with pytest.raises(InputError, match=r"extra_32x32\.mat does not exist, wanted train_32x32\.mat, extra_32x32\.mat"):
        load_dataset("svhn-extra", tmp_path)
    assert len(load_dataset("svhn", tmp_path).train_labels) == 12


@pytest.mark.parametrize("dtype", ["f8", "f4", "i8", "i4", "u2", "i1"])
@pytest.mark.parametrize("column", [True, False])
def test_labels_of_any_numeric_type_read_as_torchvision_reads_them(tmp_path, monkeypatch, dtype, column):
    """MATLAB's numbers are float64 unless one says otherwise."""
    labels = np.array([10, 3, 1, 10, 9], dtype)
    content = {"X": np.zeros((32, 32, 3, 5), np.uint8), "y": labels[:, None] if column else labels}
    savemat(write_svhn(tmp_path) / "test_32x32.mat", content)
    monkeypatch.setattr(svhn, "check_integrity", lambda path, md5: True)
    loaded = load_dataset("svhn", tmp_path)
    assert loaded.test_labels.dtype == torch.int64
    assert loaded.test_labels.tolist() == oracle.SVHN(tmp_path, split="test").labels.tolist() == [0, 3, 1, 0, 9]


@pytest.mark.parametrize(
    "content",
    [
        {"X": np.zeros((32, 32, 3, 4), np.uint8), "y": np.ones((3, 1), np.uint8)},
        {"X": np.zeros((32, 32, 3, 4)), "y": np.ones((4, 1), np.uint8)},
        {"X": np.zeros((4, 3, 32, 32), np.uint8), "y": np.ones((4, 1), np.uint8)},
        {"X": np.zeros((32, 32, 3, 4), np.uint8), "y": np.zeros((4, 1), np.uint8)},
        {"X": np.zeros((32, 32, 3, 4), np.uint8), "y": np.full((4, 1), 11, np.uint8)},
        {"X": np.zeros((32, 32, 3, 4), np.uint8), "y": np.full((4, 1), 1.5)},
        {"X": np.zeros((32, 32, 3, 4), np.uint8), "y": np.full((4, 1), np.nan)},
        {"X": np.zeros((32, 32, 3, 4), np.uint8), "y": np.full((4, 1), 1j)},
        {"X": np.zeros((32, 32, 3, 4), np.uint8), "y": np.array(["text"])},
        {"X": np.zeros((32, 32, 3, 4), np.uint8)},
        {},
    ],
)
def test_other_contents_are_refused_in_one_line(tmp_path, content):
    savemat(write_svhn(tmp_path) / "test_32x32.mat", content)
    with pytest.raises(InputError, match=r"test_32x32\.mat is damaged or no file of SVHN \([^\n]*\), wanted X uint8"):
        load_dataset("svhn", tmp_path)


def test_damaged_files_are_refused_in_one_line(tmp_path):
    file = write_svhn(tmp_path) / "train_32x32.mat"
    whole = file.read_bytes()
    no_matlab = b"nothing of the kind" * 20
    newer = b"MATLAB 7.3 MAT-file".ljust(124) + b"\x00\x02IM" + bytes(400)
    for content in (b"", whole[:100], whole[: len(whole) // 2], whole[:-200], no_matlab, newer):
        file.write_bytes(content)
        with pytest.raises(InputError, match=r"train_32x32\.mat is damaged or no file of SVHN [^\n]*$"):
            load_dataset("svhn", tmp_path)


def test_a_file_that_is_missing(tmp_path):
    (write_svhn(tmp_path) / "test_32x32.mat").unlink()
    with pytest.raises(InputError, match=r"test_32x32\.mat does not exist, wanted train_32x32\.mat, test_32x32\.mat"):
        load_dataset("svhn", tmp_path)
