"""A folder of images with a folder for every class."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from amgan_fast.data.dataset import Dataset
from amgan_fast.data.loader import Loader
from amgan_fast.data.strata import HELD_OUT, hold_out_per_class
from amgan_fast.errors import InputError, counted, some_of
from amgan_fast.images import (
    FileReader,
    ImageFiles,
    ImageListing,
    Unreadable,
    collect_images,
    find_images,
    read_headers,
    read_pixels,
)
from amgan_fast.memory import fits_in_half_of
from amgan_fast.progress import Progress

_LOOKED_AT = 256  # images, about
_REMEDY = "image_size brings all to one, skip_unreadable leaves others out"


def load_image_folder(
    data_dir: Path | None = None,
    *,
    image_size: int | None = None,
    progress: Progress | None = None,
    skip_unreadable: bool = False,
) -> Dataset:
    """``data_dir/train/CLASS/*`` and ``data_dir/test/CLASS/*`` or ``.../val/CLASS/*``.

    ``data_dir/CLASS/*`` or ``data_dir/train/CLASS/*`` alone will do: then one image in ten of each class is held out,
    at least one, always the same ones. A label is the place of its class among all: by value where all are called by
    an integer, else by the alphabet. What is a class and what an image is for :func:`find_images` to say, as in
    evaluation, and what becomes of pixels for :mod:`amgan_fast.images.decoding`. Images have one channel where all are
    grey, else three. Training images that would take more than half of the machine's memory stay in their files
    (:class:`ImageFiles`).

    Args:
        image_size: crop images to the square in their middle and resize that to ``image_size`` pixels a side,
            antialiased (Lanczos); None: all have the size of most training images.
        progress: called while the headers of the images are read, and then while the images are, from 0 up each time.
        skip_unreadable: leave out images that cannot be read, or are of another size, and name them in
            :attr:`Dataset.left_out`, instead of refusing the folder. Images that stay in their files are all decoded
            once to know.

    Raises:
        InputError: no such folders, fewer than two classes, a class without images, or an image that is damaged or of
            another size.
    """
    if image_size is not None and image_size < 1:
        raise InputError(f"image_size is {image_size}, wanted at least 1")
    if data_dir is None:
        raise InputError("no folder of images: give --data-dir one that has a folder of images for each class")
    root = _training_folder(data_dir)
    held_out = next((data_dir / name for name in ("test", "val") if (data_dir / name).is_dir()), None)
    listing = _class_folders(root)
    usable = partial(_Part.of, image_size=image_size, skip_bad=skip_unreadable, progress=progress)
    if root != data_dir and held_out is not None:
        test_listing = _class_folders(held_out)
        if differing := set(test_listing.class_names) ^ set(listing.class_names):
            found = f"{held_out} and {root} differ in the classes {', '.join(sorted(differing))}"
            raise InputError(f"{found}, wanted the same")
        train = usable(listing)
        test = usable(test_listing, like=train.size)
        split, stratified = f"as in {held_out.name}", False
    else:
        train, test = usable(listing).hold_out()
        split, stratified = HELD_OUT, True
    channels = 1 if train.grey and test.grey else 3
    size = train.size if image_size is None else (image_size, image_size)
    read = partial(read_pixels, channels=channels, square=image_size)
    reading = _Reading(read, (channels, *size), skip_unreadable, progress)
    train_images, train = reading.of_any_number(train)
    test_images, test = reading.in_memory(test)
    return Dataset(
        "image-folder",
        len(listing.class_names),
        train_images,
        train.labels,
        test_images,
        test.labels,
        held_out=split,
        stratified=stratified,
        class_names=listing.class_names,
        left_out=train.left_out + test.left_out,
    )


def image_folder_size(data_dir: Path | None) -> tuple[int, int] | None:
    """(H, W) of most images of a folder as :func:`load_image_folder` takes it, by the headers of some; None where none
    can be read, or there is no folder.

    Raises:
        InputError: it is no folder of images.
    """
    if data_dir is None:
        return None
    listing = find_images(_training_folder(data_dir))
    return read_headers(listing.take(range(0, len(listing), max(1, len(listing) // _LOOKED_AT)))).usual_size


IMAGE_FOLDER = Loader(load_image_folder, size_in=image_folder_size)


def _training_folder(data_dir: Path) -> Path:
    return data_dir / "train" if (data_dir / "train").is_dir() else data_dir


def _class_folders(root: Path) -> ImageListing:
    found = find_images(root)
    _labels(found)
    if len(found.class_names) < 2:
        raise InputError(f"{root} has one folder, {found.class_names[0]}, wanted a folder of images for each class")
    return found


def _labels(listing: ImageListing) -> Tensor:
    if listing.labels is None:
        raise InputError(f"{listing.folder} has its images directly in it, wanted a folder of images for each class")
    return listing.labels


@dataclass(frozen=True, eq=False)
class _Part:
    """Images to train on, or held out: those that can be used as far as is known."""

    listing: ImageListing
    size: tuple[int, int]
    """(H, W) of most."""
    grey: bool
    """Whether all are."""
    left_out: tuple[str, ...] = ()
    """Images that cannot be used, each with the reason."""

    @staticmethod
    def of(
        listing: ImageListing,
        *,
        image_size: int | None,
        skip_bad: bool,
        progress: Progress | None,
        like: tuple[int, int] | None = None,
    ) -> _Part:
        """By their headers; not to be resized, images have to be of the size of most, or of ``like``."""
        headers = read_headers(listing, workers=None, progress=progress)
        if image_size is None:
            whose = "most to train on are" if like else "most are"
            headers = headers.of_size(like or headers.usual_size, whose)
        usable, size = headers.usable(skip_bad=skip_bad, remedy=_REMEDY)
        return _Part(usable, size, headers.grey)._naming(headers.left_out())

    @property
    def labels(self) -> Tensor:
        return _labels(self.listing)

    def hold_out(self) -> tuple[_Part, _Part]:
        """What is left to train on, and what is held out."""
        sizes = self._class_sizes()
        if sizes.min() < 2:
            single = self.listing.class_names[int(sizes.argmin())]
            raise InputError(f"{self.listing.folder / single} has one image, wanted at least 2: one is held out")
        train, test = hold_out_per_class(self.labels)
        return self._of_these(train), replace(self._of_these(test), left_out=())

    def without(self, unreadable: dict[int, Unreadable]) -> _Part:
        """All but the images that turned out to be unreadable."""
        kept = [i for i in range(len(self.listing)) if i not in unreadable]
        return replace(self, listing=self.listing.take(kept))._naming(list(map(str, unreadable.values())))

    def _naming(self, left_out: list[str]) -> _Part:
        """With what was left out named.

        Raises:
            InputError: a class has nothing left.
        """
        if emptied := [self.listing.class_names[i] for i in (self._class_sizes() == 0).nonzero().flatten().tolist()]:
            raise InputError(
                f"{self.listing.folder} has no image left in {some_of(emptied)}, wanted some of each class; the first "
                f"of {counted(len(left_out), 'image')} that cannot be used: {left_out[0]}"
            )
        return replace(self, left_out=self.left_out + tuple(left_out))

    def _class_sizes(self) -> Tensor:
        return self.labels.bincount(minlength=len(self.listing.class_names))

    def _of_these(self, indices: Tensor) -> _Part:
        return replace(self, listing=self.listing.take(indices.tolist()))


@dataclass(frozen=True)
class _Reading:
    """How the pixels of a folder are read."""

    read: Callable[[Path], np.ndarray]
    shape: tuple[int, int, int]
    """(C, H, W) of what is read."""
    skip_unreadable: bool
    progress: Progress | None

    def of_any_number(self, part: _Part) -> tuple[Tensor | ImageFiles, _Part]:
        """In memory, or where they would not fit there in their files."""
        if fits_in_half_of(torch.device("cpu"), len(part.listing) * int(np.prod(self.shape))):
            return self.in_memory(part)
        if self.skip_unreadable:
            unreadable: dict[int, Unreadable] = {}
            for _ in self._good(part, unreadable):
                pass
            part = part.without(unreadable)
        return ImageFiles(part.listing.folder, part.listing.names, self.read, self.shape), part

    def in_memory(self, part: _Part) -> tuple[Tensor, _Part]:
        unreadable: dict[int, Unreadable] = {}
        images = collect_images(self._good(part, unreadable), len(part.listing), self.shape)
        return images, part.without(unreadable)

    def _good(self, part: _Part, unreadable: dict[int, Unreadable]) -> Iterator[np.ndarray]:
        """The images that can be read; the others go to ``unreadable`` by their place, or are refused."""
        files = FileReader(part.listing.folder, part.listing.names, self.read)
        for i, pixels in enumerate(files.read_all(progress=self.progress)):
            if not isinstance(pixels, Unreadable):
                yield pixels
            elif self.skip_unreadable:
                unreadable[i] = pixels
            else:
                raise pixels.refused(_REMEDY)
