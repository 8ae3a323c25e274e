"""Tiny-ImageNet at 32x32 pixels, as the authors train on it."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from amgan_fast.data.dataset import Dataset
from amgan_fast.data.folders import find_folder
from amgan_fast.data.loader import Loader
from amgan_fast.errors import InputError
from amgan_fast.images import FileReader, Unreadable, collect_images, open_image, to_pixels
from amgan_fast.progress import Progress

_SIDE = 64
_SHAPE = (3, 32, 32)


def load_tiny_imagenet(data_dir: Path | None = None, progress: Progress | None = None) -> Dataset:
    """200 classes of ImageNet with 500 colour images each to train on and 50 held out (Stanford CS231n).

    The images of 64x64 pixels become the means of 2x2 pixels, and greyscale ones, whose files have one channel
    (Pillow's mode L), are left out, as in the authors' code. Held out are the images of ``val``. Labels count the
    names of ``wnids.txt`` in alphabetical order, as ``torchvision.datasets.ImageFolder`` does for ``train``.

    Args:
        data_dir: the folder ``tiny-imagenet-200`` or the one that holds it.
        progress: called while the training images are read.

    Raises:
        InputError: a file is missing or is not what its name says.
    """
    candidates = [] if data_dir is None else [data_dir, data_dir / "tiny-imagenet-200"]
    advice = "give --data-dir the folder tiny-imagenet-200 with wnids.txt, train and val"
    folder = find_folder("Tiny-ImageNet", candidates, ["wnids.txt"], advice)
    wnids = sorted(_lines(folder / "wnids.txt"))
    if not wnids or len(set(wnids)) < len(wnids):
        raise InputError(f"{folder / 'wnids.txt'} has {len(wnids)} names, some twice or none, wanted each class once")
    train = _read(folder, *_list_train(folder, wnids), progress)
    test = _read(folder, *_list_val(folder, wnids), None)
    return Dataset("tiny-imagenet", len(wnids), *train, *test, mirror_symmetric=True, class_names=tuple(wnids))


TINY_IMAGENET = Loader(load_tiny_imagenet, size=_SHAPE[1:])


def _list_train(folder: Path, wnids: list[str]) -> tuple[list[str], list[int]]:
    paths: list[str] = []
    labels: list[int] = []
    for label, wnid in enumerate(wnids):
        images = folder / "train" / wnid / "images"
        found = os.listdir(images) if images.is_dir() else []
        names = sorted(name for name in found if name.endswith(".JPEG") and not name.startswith("."))
        if not names:
            raise InputError(f"{images} has no files *.JPEG, wanted the training images of a class of wnids.txt")
        paths += [f"train/{wnid}/images/{name}" for name in names]
        labels += [label] * len(names)
    return paths, labels


def _list_val(folder: Path, wnids: list[str]) -> tuple[list[str], list[int]]:
    annotations = folder / "val" / "val_annotations.txt"
    number = {wnid: label for label, wnid in enumerate(wnids)}
    paths: list[str] = []
    labels: list[int] = []
    for line in _lines(annotations):
        name, _, rest = line.partition("\t")
        wnid, _, _ = rest.partition("\t")  # a bounding box follows
        if wnid not in number:
            raise InputError(f"{annotations} has the line {line!r}, wanted a file name, a name of wnids.txt and a box")
        paths.append(f"val/images/{name}")
        labels.append(number[wnid])
    return paths, labels


def _read(folder: Path, names: list[str], labels: list[int], progress: Progress | None) -> tuple[Tensor, Tensor]:
    used: list[int] = []
    files = FileReader(folder, names, _read_image)
    images = collect_images(_in_colour(files.read_all(progress=progress), used), len(names), _SHAPE)
    if not used:
        raise InputError(f"{folder} has {len(names)} images in {names[:1]} and so on, wanted some in colour")
    return images, torch.tensor(labels)[used]


def _in_colour(images: Iterable[np.ndarray | Unreadable], used: list[int]) -> Iterator[np.ndarray]:
    """Those images, whose places go to ``used``."""
    for i, image in enumerate(images):
        if isinstance(image, Unreadable):
            raise InputError(f"{image}; wanted {_SIDE} x {_SIDE} pixels of mode RGB or L in a JPEG file")
        if len(image) == _SHAPE[0]:
            used.append(i)
            yield image


def _read_image(path: Path) -> np.ndarray:
    """uint8 [C, 32, 32], C 1 for a greyscale image."""
    with open_image(path, ["JPEG"]) as image:
        if image.mode not in ("L", "RGB") or image.size != (_SIDE, _SIDE):
            raise ValueError(f"{image.width} x {image.height} pixels of mode {image.mode}")
        return to_pixels(image.reduce(2))


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        raise InputError(f"{path} does not exist, wanted the files of Tiny-ImageNet as published") from None
    except UnicodeDecodeError:
        raise InputError(f"{path} is no text file, wanted the files of Tiny-ImageNet as published") from None
