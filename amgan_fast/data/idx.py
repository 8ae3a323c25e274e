"""The four idx files that MNIST and Fashion-MNIST are published as."""

from __future__ import annotations

import gzip
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

from torch import Tensor

from amgan_fast.errors import InputError, in_one_line

FIRST_FILES = ("train-images-idx3-ubyte", "train-images-idx3-ubyte.gz")
"""Names by which a folder is known to hold such a set."""


def read_idx_set(folder: Path) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Training images uint8 [N, 1, H, W] and labels int64 [N] of 0 to 9, then those held out; gzipped or not.

    Raises:
        InputError: a file is missing or is not what its name says.
    """
    from torchvision.datasets import mnist

    parts: list[Tensor] = []
    for prefix in ("train", "t10k"):
        images = _read(folder, f"{prefix}-images-idx3-ubyte", mnist.read_image_file)
        labels = _read(folder, f"{prefix}-labels-idx1-ubyte", mnist.read_label_file)
        if len(images) != len(labels):
            raise InputError(f"{folder}: {len(images)} {prefix} images and {len(labels)} labels, wanted as many")
        if labels.max() > 9:
            raise InputError(f"{folder}: a {prefix} label is {int(labels.max())}, wanted 0 to 9")
        parts += [images[:, None], labels]
    train_images, train_labels, test_images, test_labels = parts
    return train_images, train_labels, test_images, test_labels


def _read(folder: Path, name: str, read_idx: Callable[[str], Tensor]) -> Tensor:
    path = next((path for path in (folder / name, folder / f"{name}.gz") if path.is_file()), None)
    if path is None:
        raise InputError(f"{folder} has no file {name}[.gz], wanted all four idx files")
    try:
        if path.suffix != ".gz":
            return read_idx(str(path))
        with tempfile.NamedTemporaryFile() as plain, gzip.open(path) as packed:  # torchvision reads plain files only
            shutil.copyfileobj(packed, plain)
            plain.flush()
            return read_idx(plain.name)
    except Exception as error:  # a damaged file fails in any way
        raise InputError(f"{path} is damaged or no idx file ({in_one_line(error)}), wanted {name}") from error
