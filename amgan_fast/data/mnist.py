"""MNIST."""

from __future__ import annotations

from pathlib import Path

from amgan_fast.data import idx
from amgan_fast.data.dataset import Dataset
from amgan_fast.data.folders import find_folder
from amgan_fast.data.loader import Loader


def load_mnist(data_dir: Path | None = None, *, image_size: int | None = None) -> Dataset:
    """60,000 handwritten digits of 28x28 pixels to train on and 10,000 held out (LeCun et al., 1998).

    Args:
        data_dir: a folder with the idx files, gzipped or not, or the root of ``torchvision.datasets.MNIST``.
        image_size: side in pixels that the images are padded to with black; None: they stay as they are.

    Raises:
        InputError: a file is missing or is not what its name says, or ``image_size`` is not for such images.
    """
    candidates = [] if data_dir is None else [data_dir, data_dir / "MNIST" / "raw"]
    advice = "give --data-dir the folder with the four idx files, or where torchvision.datasets.MNIST keeps them"
    folder = find_folder("MNIST", candidates, idx.FIRST_FILES, advice)
    return Dataset("mnist", 10, *idx.read_idx_set(folder)).padded(image_size)


MNIST = Loader(load_mnist, size=(28, 28))
