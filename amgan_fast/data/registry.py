"""Datasets by name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from amgan_fast.data.cifar10 import CIFAR10
from amgan_fast.data.dataset import Dataset
from amgan_fast.data.digits import DIGITS
from amgan_fast.data.fashion_mnist import FASHION_MNIST
from amgan_fast.data.image_folder import IMAGE_FOLDER
from amgan_fast.data.loader import Loader
from amgan_fast.data.mnist import MNIST
from amgan_fast.data.own_dataset import own_loader
from amgan_fast.data.svhn import SVHN, SVHN_EXTRA
from amgan_fast.data.tiny_imagenet import TINY_IMAGENET
from amgan_fast.errors import InputError
from amgan_fast.option_declarations import check_dataset
from amgan_fast.progress import Progress
from amgan_fast.user_code import names_user_code

DATASETS: dict[str, Loader] = {
    "digits": DIGITS,
    "fashion-mnist": FASHION_MNIST,
    "mnist": MNIST,
    "cifar10": CIFAR10,
    "svhn": SVHN,
    "svhn-extra": SVHN_EXTRA,
    "tiny-imagenet": TINY_IMAGENET,
    "image-folder": IMAGE_FOLDER,
}
"""By the name that ``amgan-fast train --dataset`` takes.

>>> from amgan_fast.data import DATASETS
>>> list(DATASETS)
['digits', 'fashion-mnist', 'mnist', 'cifar10', 'svhn', 'svhn-extra', 'tiny-imagenet', 'image-folder']
"""


def load_dataset(
    name: str,
    data_dir: str | Path | None = None,
    *,
    image_size: int | None = None,
    progress: Progress | None = None,
    skip_unreadable: bool = False,
) -> Dataset:
    """Load a dataset into CPU memory. Nothing in the files of :data:`DATASETS` is executed, and nothing is downloaded.

    >>> from amgan_fast.data import load_dataset
    >>> print(load_dataset("digits").describe())
    digits: 1,437 training and 360 held-out images (stratified) of 1 x 8 x 8, 10 classes

    Args:
        name: of :data:`DATASETS`, or ``module:function`` (:mod:`amgan_fast.data.own_dataset`), whose code is run.
        data_dir: where its files are; None: their usual place.
        image_size: the side in pixels to which the images of ``image-folder`` are cropped and resized, and those of
            ``mnist`` and ``fashion-mnist`` padded with black; None: they stay as they are. The other datasets have a
            size of their own.
        progress: called while files of single images are read.
        skip_unreadable: leave out images of ``image-folder`` that cannot be read, or are of another size than most.

    Raises:
        InputError: an unknown name, files that are missing or damaged, or an ``image_size`` or ``skip_unreadable`` for
            another dataset.
    """
    loader = _loader(name)
    options: dict[str, Any] = {}
    if image_size is not None:
        _refuse_if_unused(name, loader, "image_size", f"{image_size} for {name}, wanted none")
        options["image_size"] = image_size
    if skip_unreadable:
        _refuse_if_unused(name, loader, "skip_unreadable", f"true for {name}, wanted false")
        options["skip_unreadable"] = True
    if loader.takes("progress"):
        options["progress"] = progress
    return loader.load(_folder(data_dir), **options)


def size_of_images(
    name: str, data_dir: str | Path | None = None, *, image_size: int | None = None
) -> tuple[int, int] | None:
    """(H, W) of the images that :func:`load_dataset` will load, without loading them; None where that cannot be told,
    and loading will say why."""
    if image_size is not None:
        return image_size, image_size
    folder = _folder(data_dir)
    try:
        loader = _loader(name)
        return loader.size if loader.size_in is None else loader.size_in(folder)
    except (InputError, OSError):
        return None


def image_size_for(name: str, data_dir: str | Path | None, size: tuple[int, int]) -> int | None:
    """The ``image_size`` by which :func:`load_dataset` gives images of this (H, W); None: they have it as they are, or
    cannot be brought to it."""
    height, width = size
    if height != width or not _loader(name).takes("image_size") or size_of_images(name, data_dir) == size:
        return None
    return height


def _folder(data_dir: str | Path | None) -> Path | None:
    return None if data_dir is None else Path(data_dir).expanduser()


def _loader(name: str) -> Loader:
    """
    Raises:
        InputError: there is no such dataset.
    """
    check_dataset(name)
    return own_loader(name) if names_user_code(name) else DATASETS[name]


def _refuse_if_unused(name: str, loader: Loader, option: str, found: str) -> None:
    if loader.takes(option):
        return
    if names_user_code(name):
        raise InputError(f"{option} is {found}: {name} has no argument of that name")
    users = [user for user, other in DATASETS.items() if other.takes(option)]
    raise InputError(f"{option} is {found}: it is for {', '.join(users)} alone")
