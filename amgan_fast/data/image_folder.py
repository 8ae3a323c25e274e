"""A folder of images with a folder for every class."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from amgan_fast.data.dataset import Dataset
from amgan_fast.data.decoding import IMAGE_FORMATS, read_image, to_pixels, why_unreadable
from amgan_fast.data.headers import read_headers
from amgan_fast.data.image_files import ImageFiles, Progress, read_all, which_can_be_read, workers_for
from amgan_fast.data.listing import counted, find_images, some_of
from amgan_fast.data.memory import fits_in
from amgan_fast.data.strata import draw_per_class
from amgan_fast.errors import InputError

_HELD_OUT = 10
_HELD_OUT_SEED = 0
_LOOKED_AT = 256  # images, about
_REMEDY = "image_size brings all to one, skip_unreadable leaves others out"


def load_image_folder(
    data_dir: Path | None = None,
    image_size: int | None = None,
    progress: Progress | None = None,
    *,
    skip_unreadable: bool = False,
) -> Dataset:
    """``data_dir/train/CLASS/*`` and ``data_dir/test/CLASS/*`` or ``.../val/CLASS/*``.

    ``data_dir/CLASS/*`` or ``data_dir/train/CLASS/*`` alone will do: then one image in ten of each class is held out,
    at least one, always the same ones. A label is the place of its class among all: by value where all are called by
    an integer, else by the alphabet. What is a class and what an image is for :func:`find_images` to say, as in
    evaluation, and what becomes of pixels for :mod:`amgan_fast.data.decoding`. Images have one channel where all are
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
    train = _Listing.of(root)
    if root != data_dir and held_out is not None:
        test = _Listing.of(held_out)
        if test.classes != train.classes:
            differing = sorted(set(test.classes) ^ set(train.classes))
            raise InputError(f"{held_out} and {root} differ in the classes {', '.join(differing)}, wanted the same")
        split = f"as in {held_out.name}"
        train, size = train.checked(image_size, skip_unreadable, progress)
        test, _ = test.checked(image_size, skip_unreadable, progress, like=size)
    else:
        train, size = train.checked(image_size, skip_unreadable, progress)
        train, test = train.hold_out()
        split = f"{100 // _HELD_OUT}% of each class, drawn with seed {_HELD_OUT_SEED}"
    read = _ReadImage((1 if train.grey and test.grey else 3, *size), image_size is not None)
    train_images, train = _read_or_leave(train, read, skip_unreadable, progress)
    test_images, test = _read(test, read, skip_unreadable, progress)
    return Dataset(
        "image-folder",
        len(train.classes),
        train_images,
        train.labels,
        test_images,
        test.labels,
        held_out=split,
        class_names=train.classes,
        left_out=train.left_out + test.left_out,
    )


def image_folder_size(data_dir: Path) -> tuple[int, int] | None:
    """(H, W) of most images of a folder as :func:`load_image_folder` takes it, by the headers of some; None where none
    can be read.

    Raises:
        InputError: it is no folder of images.
    """
    root = _training_folder(data_dir)
    names = find_images(root).names
    return read_headers(root, names[:: max(1, len(names) // _LOOKED_AT)]).usual_size


def _training_folder(data_dir: Path) -> Path:
    return data_dir / "train" if (data_dir / "train").is_dir() else data_dir


@dataclass(frozen=True)
class _Listing:
    root: Path
    classes: tuple[str, ...]
    paths: list[str]
    """Relative to ``root``, class by class."""
    labels: Tensor
    """int64, one for each path."""
    grey: bool = True
    """Whether all images are: known once they are checked."""
    left_out: tuple[str, ...] = ()
    """Images that cannot be used, each with the reason."""

    @staticmethod
    def of(root: Path) -> _Listing:
        found = find_images(root)
        if found.labels is None:
            raise InputError(f"{root} has its images directly in it, wanted a folder of images for each class")
        if len(found.class_names) < 2:
            raise InputError(f"{root} has one folder, {found.class_names[0]}, wanted a folder of images for each class")
        return _Listing(root, found.class_names, found.names, torch.tensor(found.labels))

    def checked(
        self,
        image_size: int | None,
        skip_bad: bool,
        progress: Progress | None = None,
        like: tuple[int, int] | None = None,
    ) -> tuple[_Listing, tuple[int, int]]:
        """Those that can be used by their headers, and the (H, W) that they are to be read to: that asked for, or that
        of ``like``, or that of most."""
        workers = workers_for(len(self.paths) // 4)  # a header takes a quarter of the time of an image or less
        headers = read_headers(self.root, self.paths, workers=workers, progress=progress)
        size = like or headers.usual_size
        if image_size is None:
            headers = headers.of_size(size, "most to train on are" if like else "most are")
        headers.check(self.root, skip_bad=skip_bad, remedy=_REMEDY)
        assert size is not None  # as there are good ones
        left = self.without({self.paths[i]: headers.bad[i] for i in sorted(headers.bad)})
        return replace(left, grey=headers.grey), size if image_size is None else (image_size, image_size)

    def hold_out(self) -> tuple[_Listing, _Listing]:
        """What is left to train on, and what is held out."""
        sizes = self._class_sizes()
        if sizes.min() < 2:
            single = self.classes[int(sizes.argmin())]
            raise InputError(f"{self.root / single} has one image, wanted at least 2: one is held out")
        test = draw_per_class(self.labels, (sizes // _HELD_OUT).clamp(min=1), seed=_HELD_OUT_SEED)
        train = torch.ones(len(self.paths), dtype=torch.bool).index_fill(0, test, False).nonzero().flatten()
        return self._take(train), replace(self._take(test), left_out=())

    def without(self, left_out: dict[str, str]) -> _Listing:
        """All but these, which are named.

        Args:
            left_out: paths, and why each cannot be used.

        Raises:
            InputError: a class has nothing left.
        """
        kept = torch.tensor([i for i, path in enumerate(self.paths) if path not in left_out], dtype=torch.int64)
        reasons = tuple(f"{self.root / path}: {reason}" for path, reason in left_out.items())
        listing = replace(self._take(kept), left_out=self.left_out + reasons)
        if emptied := [self.classes[i] for i in (listing._class_sizes() == 0).nonzero().flatten().tolist()]:
            raise InputError(
                f"{self.root} has no image left in {some_of(emptied)}, wanted some of each class; the first of "
                f"{counted(len(left_out), 'image')} that cannot be used: {reasons[0]}"
            )
        return listing

    def _class_sizes(self) -> Tensor:
        return self.labels.bincount(minlength=len(self.classes))

    def _take(self, indices: Tensor) -> _Listing:
        return replace(self, paths=[self.paths[i] for i in indices.tolist()], labels=self.labels[indices])


def _read_or_leave(
    train: _Listing, read: _ReadImage, skip_unreadable: bool, progress: Progress | None
) -> tuple[Tensor | ImageFiles, _Listing]:
    if fits_in(torch.device("cpu"), len(train.paths) * int(np.prod(read.shape))):
        return _read(train, read, skip_unreadable, progress)
    if skip_unreadable:
        used = which_can_be_read(train.root, train.paths, replace(read, skip_unreadable=True), read.shape, progress)
        train = _only(train, used, read)
    return ImageFiles(train.root, train.paths, read, read.shape), train


def _read(
    part: _Listing, read: _ReadImage, skip_unreadable: bool, progress: Progress | None
) -> tuple[Tensor, _Listing]:
    reader = replace(read, skip_unreadable=skip_unreadable)
    images, used = read_all(part.root, part.paths, reader, read.shape, progress)
    return images, _only(part, used, read)


def _only(part: _Listing, used: Tensor, read: _ReadImage) -> _Listing:
    """Those that are used; why the others are not, ``read`` is asked again."""
    return part.without({part.paths[i]: read.why_not(part.root / part.paths[i]) for i in (~used).nonzero().flatten()})


@dataclass(frozen=True)
class _ReadImage:
    """How every image of a folder is read."""

    shape: tuple[int, int, int]
    """(C, H, W)."""
    crop: bool
    """Whether to crop and resize to that shape: otherwise it is what images have."""
    skip_unreadable: bool = False
    """Whether images that cannot be read are left out."""

    def __call__(self, path: Path) -> np.ndarray | None:
        from PIL import Image
        from torchvision.transforms.functional import center_crop

        channels, height, width = self.shape
        try:
            image = read_image(path, channels)
        except Exception as error:  # a damaged file fails in any way its decoder can
            if self.skip_unreadable:
                return None
            found = f"{path} is damaged or no image ({why_unreadable(error)})"
            raise InputError(f"{found}, wanted {' or '.join(IMAGE_FORMATS)}") from error
        if self.crop:
            # Cropped first: resized from a box of the whole, edges would be averaged with what lies outside of it.
            image = center_crop(image, [min(image.size)]).resize((width, height), Image.Resampling.LANCZOS)
        return to_pixels(image)

    def why_not(self, path: Path) -> str:
        """Why an image cannot be read."""
        try:
            read_image(path, self.shape[0])
        except Exception as error:
            return why_unreadable(error)
        return "it could not be read a moment ago"
