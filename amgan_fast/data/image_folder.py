"""A folder of images with a folder for every class."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from amgan_fast.data.dataset import Dataset
from amgan_fast.data.image_files import ImageFiles, Progress, open_image, read_all
from amgan_fast.data.memory import fits_in
from amgan_fast.data.strata import draw_per_class
from amgan_fast.errors import InputError

_GREYSCALE = ("1", "L", "LA")
_COLOUR = ("P", "RGB", "RGBA", "CMYK", "YCbCr")
_HELD_OUT = 10
_HELD_OUT_SEED = 0


def load_image_folder(
    data_dir: Path | None = None, image_size: int | None = None, progress: Progress | None = None
) -> Dataset:
    """``data_dir/train/CLASS/*`` and ``data_dir/test/CLASS/*`` or ``.../val/CLASS/*``; labels count the sorted names.

    ``data_dir/CLASS/*`` or ``data_dir/train/CLASS/*`` alone will do: then one image in ten of each class is held out,
    at least one, always the same ones. Files are found as ``torchvision.datasets.ImageFolder`` finds them. Images
    have one channel where the first of every class is greyscale, else three. Training images that would take more
    than half of the machine's memory stay in their files (:class:`ImageFiles`).

    Args:
        image_size: crop images to the square in their middle and resize that to ``image_size`` pixels a side,
            antialiased (Lanczos); None: all have the size of the first.
        progress: called while the training images are read.

    Raises:
        InputError: no such folders, fewer than two classes, a class without images, or an image that is damaged or of
            another size or kind.
    """
    if image_size is not None and image_size < 1:
        raise InputError(f"image_size is {image_size}, wanted at least 1")
    if data_dir is None:
        raise InputError("no folder of images: give --data-dir one that has a folder of images for each class")
    root = data_dir / "train" if (data_dir / "train").is_dir() else data_dir
    held_out = next((data_dir / name for name in ("test", "val") if (data_dir / name).is_dir()), None)
    train = _Listing.of(root)
    if root != data_dir and held_out is not None:
        test = _Listing.of(held_out)
        if test.classes != train.classes:
            differing = sorted(set(test.classes) ^ set(train.classes))
            raise InputError(f"{held_out} and {root} differ in the classes {', '.join(differing)}, wanted the same")
        split = f"as in {held_out.name}"
    else:
        train, test = train.hold_out()
        split = f"{100 // _HELD_OUT}% of each class, drawn with seed {_HELD_OUT_SEED}"
    read = _ReadImage.like(train, image_size)
    return Dataset(
        "image-folder",
        len(train.classes),
        _read_or_leave(train, read, progress),
        train.labels,
        read_all(test.root, test.paths, read, read.shape)[0],
        test.labels,
        held_out=split,
    )


def _read_or_leave(train: _Listing, read: _ReadImage, progress: Progress | None) -> Tensor | ImageFiles:
    if fits_in(torch.device("cpu"), len(train.paths) * int(np.prod(read.shape))):
        return read_all(train.root, train.paths, read, read.shape, progress)[0]
    return ImageFiles(train.root, train.paths, read, read.shape)


@dataclass(frozen=True)
class _Listing:
    root: Path
    classes: list[str]
    paths: list[str]
    """Relative to ``root``, class by class."""
    labels: Tensor
    """int64, one for each path."""

    @staticmethod
    def of(root: Path) -> _Listing:
        from torchvision.datasets import ImageFolder

        try:
            found = ImageFolder(root)
        except OSError as error:  # no such folder, no folder in it, or none with images
            raise InputError(f"{root} is no folder of images by class: {str(error).splitlines()[0]}") from None
        if len(found.classes) < 2:
            raise InputError(f"{root} has one folder, {found.classes[0]}, wanted a folder of images for each class")
        paths = [os.path.relpath(path, root) for path, _ in found.samples]
        return _Listing(root, found.classes, paths, torch.tensor(found.targets))

    def hold_out(self) -> tuple[_Listing, _Listing]:
        """What is left to train on, and what is held out."""
        sizes = self.labels.bincount()
        if sizes.min() < 2:
            single = self.classes[int(sizes.argmin())]
            raise InputError(f"{self.root / single} has one image, wanted at least 2: one is held out")
        test = draw_per_class(self.labels, (sizes // _HELD_OUT).clamp(min=1), seed=_HELD_OUT_SEED)
        train = torch.ones(len(self.paths), dtype=torch.bool).index_fill(0, test, False).nonzero().flatten()
        return self._take(train), self._take(test)

    def _take(self, indices: Tensor) -> _Listing:
        return _Listing(self.root, self.classes, [self.paths[i] for i in indices.tolist()], self.labels[indices])


@dataclass(frozen=True)
class _ReadImage:
    """How every image of a folder is read."""

    shape: tuple[int, int, int]
    """(C, H, W)."""
    crop: bool
    """Whether to crop and resize to that shape: otherwise it is what images must have."""

    @staticmethod
    def like(train: _Listing, image_size: int | None) -> _ReadImage:
        """Channels as the first image of every class has them, size as asked for or that of the first."""
        firsts = [train.root / train.paths[i] for i in _first_of_each(train.labels)]
        modes, sizes = zip(*(_look(path) for path in firsts), strict=True)
        channels = 1 if all(mode in _GREYSCALE for mode in modes) else 3
        width, height = sizes[0] if image_size is None else (image_size, image_size)
        return _ReadImage((channels, height, width), image_size is not None)

    def __call__(self, path: Path) -> np.ndarray:
        from PIL import Image, ImageOps

        channels, height, width = self.shape
        with open_image(path) as image:
            if image.mode not in _GREYSCALE + _COLOUR:
                raise InputError(
                    f"{path} has mode {image.mode}, wanted 8 bits a channel: {', '.join(_GREYSCALE + _COLOUR)}"
                )
            if channels == 1 and image.mode not in _GREYSCALE:
                raise InputError(f"{path} is in colour, wanted greyscale, as the first image of every class is")
            pixels = image.convert("L" if channels == 1 else "RGB")
            if self.crop:
                pixels = ImageOps.fit(pixels, (width, height), Image.Resampling.LANCZOS)
            elif pixels.size != (width, height):
                found = " x ".join(map(str, pixels.size))
                raise InputError(f"{path} is {found}, wanted {width} x {height} as the first image, or an image_size")
            return np.asarray(pixels).reshape(height, width, channels).transpose(2, 0, 1)


def _look(path: Path) -> tuple[str, tuple[int, int]]:
    with open_image(path) as image:
        return image.mode, image.size


def _first_of_each(labels: Tensor) -> list[int]:
    sizes = labels.bincount()
    return (sizes.cumsum(0) - sizes).tolist()
