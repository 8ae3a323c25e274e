"""CIFAR-10, from its Python or its binary version."""

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
from amgan_fast.data.plain_pickle import PlainArray, load_plain_pickle
from amgan_fast.errors import InputError, in_one_line

_TRAIN = tuple(f"data_batch_{i}" for i in range(1, 6))
_TEST = ("test_batch",)
_SHAPE = (3, 32, 32)
_NAMES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
"""As in the published ``batches.meta``."""
_PIXELS = 3 * 32 * 32


def load_cifar10(data_dir: Path | None = None) -> Dataset:
    """50,000 colour images of 32x32 pixels to train on and 10,000 held out, 10 classes (Krizhevsky, 2009).

    torchvision's class has the batches of the Python version unpickled, which executes what they say, once their MD5
    is that of the published files. Here they are read as plain data, whatever they say (``plain_pickle.py``).

    Args:
        data_dir: the folder ``cifar-10-batches-py`` or ``cifar-10-batches-bin``, or the one that holds it, which is
            the root of ``torchvision.datasets.CIFAR10``.

    Raises:
        InputError: a file is missing or is not what its name says.
    """
    folders = ("cifar-10-batches-py", "cifar-10-batches-bin")
    candidates = [] if data_dir is None else [data_dir, *(data_dir / folder for folder in folders)]
    advice = "give --data-dir the folder that holds cifar-10-batches-py or cifar-10-batches-bin"
    folder = find_folder("CIFAR-10", candidates, [_TRAIN[0], f"{_TRAIN[0]}.bin"], advice)
    train, test = _read_batches(folder, _TRAIN), _read_batches(folder, _TEST)
    return Dataset("cifar10", 10, *train, *test, mirror_symmetric=True, class_names=_NAMES)


CIFAR10 = Loader(load_cifar10, size=(32, 32))


def _read_batches(folder: Path, names: Sequence[str]) -> tuple[Tensor, Tensor]:
    batches = [_read_batch(folder, name) for name in names]
    images, labels = (np.concatenate(parts) for parts in zip(*batches, strict=True))
    return torch.from_numpy(images.reshape(-1, *_SHAPE)), torch.from_numpy(labels)


def _read_batch(folder: Path, name: str) -> tuple[np.ndarray, np.ndarray]:
    path = next((path for path in (folder / name, folder / f"{name}.bin") if path.is_file()), None)
    if path is None:
        raise InputError(f"{folder} has no file {name}[.bin], wanted {', '.join((*_TRAIN, *_TEST))}")
    read = _read_binary if path.suffix == ".bin" else _read_pickle
    try:
        images, labels = read(path)
    except Exception as error:  # a damaged file fails in any way the unpickler can
        raise InputError(f"{path} is damaged or no CIFAR-10 batch ({in_one_line(error)})") from error
    if not len(labels) or labels.min() < 0 or labels.max() > 9:
        raise InputError(f"{path} has labels {np.unique(labels).tolist()}, wanted 0 to 9")
    return images, labels


def _read_pickle(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Images uint8 [N, 3072], labels int64 [N]."""
    with path.open("rb") as file:
        # Python 2 wrote the published files; keys are text where Python 3 wrote them again.
        batch = {key if isinstance(key, str) else key.decode(): value for key, value in load_plain_pickle(file).items()}
    data, labels = _array(batch["data"]), integer_labels(_array(batch["labels"]))
    if data.dtype != np.uint8 or data.shape != (len(labels), _PIXELS):
        raise ValueError(f"data is {data.dtype} {list(data.shape)}, wanted uint8 [{len(labels)}, {_PIXELS}] as labels")
    return data, labels


def _array(value: object) -> np.ndarray:
    return value.values if isinstance(value, PlainArray) else np.array(value)


def _read_binary(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Records of a label and the bytes of its image."""
    content = np.fromfile(path, np.uint8)
    if len(content) % (1 + _PIXELS):
        raise ValueError(f"{len(content):,} bytes, no multiple of the {1 + _PIXELS:,} of a record")
    records = content.reshape(-1, 1 + _PIXELS)
    return records[:, 1:], records[:, 0].astype(np.int64)
