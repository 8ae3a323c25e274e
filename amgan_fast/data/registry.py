"""Datasets by name."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch

from amgan_fast.data.cifar10 import load_cifar10
from amgan_fast.data.dataset import Dataset
from amgan_fast.data.digits import load_digits
from amgan_fast.data.fashion_mnist import load_fashion_mnist
from amgan_fast.data.image_folder import image_folder_size, load_image_folder
from amgan_fast.data.memory import fits_in
from amgan_fast.data.mnist import load_mnist
from amgan_fast.data.svhn import load_svhn, load_svhn_extra
from amgan_fast.data.tiny_imagenet import load_tiny_imagenet
from amgan_fast.errors import InputError
from amgan_fast.images.reading import Progress

DATASETS: dict[str, Callable[..., Dataset]] = {
    "digits": load_digits,
    "fashion-mnist": load_fashion_mnist,
    "mnist": load_mnist,
    "cifar10": load_cifar10,
    "svhn": load_svhn,
    "svhn-extra": load_svhn_extra,
    "tiny-imagenet": load_tiny_imagenet,
    "image-folder": load_image_folder,
}
"""Loaders by the name that ``amgan-fast train --dataset`` takes; each takes the folder of --data-dir, or None."""

_PADDED = ("mnist", "fashion-mnist")
_SIDES = {
    "digits": 8,
    "fashion-mnist": 28,
    "mnist": 28,
    "cifar10": 32,
    "svhn": 32,
    "svhn-extra": 32,
    "tiny-imagenet": 32,
}


def load_dataset(
    name: str,
    data_dir: str | Path | None = None,
    *,
    image_size: int | None = None,
    progress: Progress | None = None,
    skip_unreadable: bool = False,
) -> Dataset:
    """Load a dataset into CPU memory. Nothing in its files is executed, and nothing is downloaded.

    Args:
        image_size: the side in pixels to which the images of ``image-folder`` are cropped and resized, and those of
            ``mnist`` and ``fashion-mnist`` padded with black; None: they stay as they are. The other datasets have a
            size of their own.
        progress: called while files of single images are read.
        skip_unreadable: leave out images of ``image-folder`` that cannot be read, or are of another size than most.

    Raises:
        InputError: an unknown name, files that are missing or damaged, or an ``image_size`` or ``skip_unreadable`` for
            another dataset.
    """
    if name not in DATASETS:
        raise InputError(f"dataset is {name!r}, wanted one of {', '.join(DATASETS)}")
    folder = None if data_dir is None else Path(data_dir).expanduser()
    if name == "image-folder":
        return load_image_folder(folder, image_size, progress, skip_unreadable=skip_unreadable)
    if skip_unreadable:
        raise InputError(f"skip_unreadable is true for {name}, wanted false: only image-folder has files to leave out")
    if image_size is not None and name not in _PADDED:
        raise InputError(
            f"image_size is {image_size} for {name}, wanted none: only image-folder is resized, and only "
            f"{' and '.join(_PADDED)} are padded"
        )
    if name == "tiny-imagenet":
        return load_tiny_imagenet(folder, progress)
    dataset = DATASETS[name](folder)
    if image_size is None:
        return dataset
    images = len(dataset.train_images) + len(dataset.test_images)
    if not fits_in(torch.device("cpu"), images * image_size**2):
        raise InputError(f"image_size is {image_size}, wanted a smaller one: {images:,} such images fill the memory")
    return dataset.padded(image_size)


def size_of_images(
    name: str, data_dir: str | Path | None = None, *, image_size: int | None = None
) -> tuple[int, int] | None:
    """(H, W) of the images that :func:`load_dataset` will load, without loading them; None where that cannot be told,
    and loading will say why."""
    if image_size is not None:
        return image_size, image_size
    if name in _SIDES:
        return _SIDES[name], _SIDES[name]
    try:
        return None if data_dir is None else image_folder_size(Path(data_dir).expanduser())
    except (InputError, OSError):
        return None
