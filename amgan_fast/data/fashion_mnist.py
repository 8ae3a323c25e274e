"""Fashion-MNIST from the four idx files it is published as."""

from __future__ import annotations

import gzip
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

from torch import Tensor

from amgan_fast.data.dataset import Dataset
from amgan_fast.errors import InputError

DEBIAN_DIR = Path("/usr/share/datasets/fashion-mnist")
"""Where Debian's package dataset-fashion-mnist puts the files."""

_TORCHVISION_SUBDIR = Path("FashionMNIST") / "raw"


def load_fashion_mnist(data_dir: Path | None = None) -> Dataset:
    """60,000 images of clothes of 28x28 pixels to train on and 10,000 held out (Xiao et al., arXiv 1708.07747).

    Args:
        data_dir: a folder with the idx files, gzipped or not, or the root of ``torchvision.datasets.FashionMNIST``;
            None: the files of Debian's package.

    Raises:
        InputError: a file is missing or is not what its name says.
    """
    from torchvision.datasets import mnist

    folder = _find_folder(data_dir)
    parts: list[Tensor] = []
    for prefix in ("train", "t10k"):
        images = _read(folder, f"{prefix}-images-idx3-ubyte", mnist.read_image_file)
        labels = _read(folder, f"{prefix}-labels-idx1-ubyte", mnist.read_label_file)
        if len(images) != len(labels):
            raise InputError(f"{folder}: {len(images)} {prefix} images and {len(labels)} labels, wanted as many")
        if labels.max() > 9:
            raise InputError(f"{folder}: a {prefix} label is {int(labels.max())}, wanted 0 to 9")
        parts += [images[:, None], labels]
    return Dataset("fashion-mnist", 10, *parts)


def _find_folder(data_dir: Path | None) -> Path:
    candidates = [DEBIAN_DIR] if data_dir is None else [data_dir, data_dir / _TORCHVISION_SUBDIR]
    for folder in candidates:
        if _find_file(folder, "train-images-idx3-ubyte"):
            return folder
    raise InputError(
        f"no Fashion-MNIST files in {' or '.join(map(str, candidates))}: install Debian's package "
        "dataset-fashion-mnist, or give --data-dir the folder where torchvision.datasets.FashionMNIST keeps it"
    )


def _find_file(folder: Path, name: str) -> Path | None:
    return next((path for path in (folder / name, folder / f"{name}.gz") if path.is_file()), None)


def _read(folder: Path, name: str, read_idx: Callable[[str], Tensor]) -> Tensor:
    path = _find_file(folder, name)
    if path is None:
        raise InputError(f"{folder} has no file {name}[.gz], wanted all four Fashion-MNIST files")
    try:
        if path.suffix != ".gz":
            return read_idx(str(path))
        with tempfile.NamedTemporaryFile() as plain, gzip.open(path) as packed:  # torchvision reads plain files only
            shutil.copyfileobj(packed, plain)
            plain.flush()
            return read_idx(plain.name)
    except (OSError, EOFError, ValueError, TypeError, KeyError, RuntimeError, AssertionError) as error:
        reason = str(error) or type(error).__name__
        raise InputError(f"{path} is damaged or no idx file ({reason}), wanted {name}") from error
