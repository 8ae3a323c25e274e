"""Street View House Numbers, format 2 (cropped digits)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from amgan_fast.data.dataset import Dataset
from amgan_fast.data.folders import find_folder
from amgan_fast.data.label_arrays import integer_labels
from amgan_fast.data.loader import Loader
from amgan_fast.errors import InputError, in_one_line


def load_svhn(data_dir: Path | None = None) -> Dataset:
    """73,257 colour images of digits of 32x32 pixels to train on and 26,032 held out (Netzer et al., 2011).

    The files are MATLAB's. ``scipy.io.loadmat`` reads numbers and text from them and has nothing it could call; a
    function or an object that such a file can hold stays data.

    Args:
        data_dir: the folder with ``train_32x32.mat`` and ``test_32x32.mat``, which is the root of
            ``torchvision.datasets.SVHN``.

    Raises:
        InputError: a file is missing or is not what its name says.
    """
    return _load("svhn", ("train",), data_dir)


def load_svhn_extra(data_dir: Path | None = None) -> Dataset:
    """The same with the 531,131 simpler images of ``extra_32x32.mat`` behind those to train on: 1.9 GB in all."""
    return _load("svhn-extra", ("train", "extra"), data_dir)


SVHN = Loader(load_svhn, size=(32, 32))
SVHN_EXTRA = Loader(load_svhn_extra, size=(32, 32))


def _load(name: str, training: Sequence[str], data_dir: Path | None) -> Dataset:
    files = [f"{split}_32x32.mat" for split in (*training, "test")]
    advice = f"give --data-dir the folder with {', '.join(files[:-1])} and {files[-1]}"
    folder = find_folder("SVHN", [] if data_dir is None else [data_dir], files[:1], advice)
    if missing := [file for file in files if not (folder / file).is_file()]:
        raise InputError(f"{folder / missing[0]} does not exist, wanted {', '.join(files)}")
    *train, test = (_read(folder / file) for file in files)
    images, labels = train[0] if len(train) == 1 else (torch.cat(parts) for parts in zip(*train, strict=True))
    return Dataset(name, 10, images, labels, *test)


def _read(path: Path) -> tuple[Tensor, Tensor]:
    from scipy.io import loadmat

    try:
        variables = loadmat(path, variable_names=("X", "y"))
        images, labels = variables["X"], integer_labels(variables["y"].reshape(-1))
        if images.dtype != np.uint8 or images.shape != (32, 32, 3, len(labels)):
            raise ValueError(f"X is {images.dtype} {list(images.shape)} with {len(labels)} labels in y")
        if labels.min() < 1 or labels.max() > 10:
            raise ValueError("y has other labels than 1 to 10")
    except Exception as error:  # a damaged file fails in any way its reader can
        wanted = "X uint8 [32, 32, 3, N] and y of 1 to 10"
        raise InputError(f"{path} is damaged or no file of SVHN ({in_one_line(error)}), wanted {wanted}") from error
    # 10 is the label of the digit 0.
    return torch.from_numpy(images.transpose(3, 2, 0, 1).copy()), torch.from_numpy(labels % 10)
