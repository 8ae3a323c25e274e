"""A labelled image set and the scaling of its images."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from functools import cached_property

import torch
from torch import Tensor
from torch.nn.functional import pad

from amgan_fast.data.strata import draw_per_class
from amgan_fast.errors import InputError
from amgan_fast.images import LazyImages
from amgan_fast.memory import fits_in_half_of


@dataclass(frozen=True)
class Dataset:
    """Images are uint8 [N, C, H, W] with values 0..255; labels are int64 [N] with values 0..num_classes-1.

    >>> from amgan_fast.data import load_dataset
    >>> digits = load_dataset("digits")
    >>> digits.train_images.shape, digits.train_images.dtype, digits.train_labels.unique().tolist()
    (torch.Size([1437, 1, 8, 8]), torch.uint8, [0, 1, 2, 3, 4, 5, 6, 7, 8, 9])
    >>> digits.padded(32).image_shape, len(digits.labelled_subset(10, seed=0).train_labels)
    ((1, 32, 32), 100)
    """

    name: str
    num_classes: int
    train_images: Tensor | LazyImages
    """LazyImages where a tensor would not fit in memory."""
    train_labels: Tensor
    test_images: Tensor
    test_labels: Tensor
    mirror_symmetric: bool = False
    """Whether left and right may be swapped: the image is as good a one of its class, so training may flip it."""
    held_out: str = "as published"
    """How the test images were set aside."""
    stratified: bool = False
    """Whether that was done class by class: so many of each, not so many in all."""
    class_names: tuple[str, ...] | None = None
    """What each class is called; None: by its number."""
    left_out: tuple[str, ...] = ()
    """Images that cannot be used and were to be left out, each with the reason."""

    @property
    def names(self) -> tuple[str, ...]:
        """What each class is called, if by its number."""
        return self.class_names or tuple(map(str, range(self.num_classes)))

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """(C, H, W)."""
        channels, height, width = self.train_images.shape[1:]
        return channels, height, width

    def describe(self) -> str:
        """What it consists of, in one line."""
        return (
            f"{self.name}: {len(self.train_images):,} training and {len(self.test_images):,} held-out images "
            f"({self.held_out}) of {' x '.join(map(str, self.image_shape))}, {self.num_classes:,} classes"
            + (f", {len(self.left_out):,} left out, the first: {self.left_out[0]}" if self.left_out else "")
        )

    def class_frequencies(self) -> Tensor:
        """p(c) of the training set, float64 [num_classes]."""
        return self.train_labels.bincount(minlength=self.num_classes).double() / len(self.train_labels)

    def labelled_subset(self, per_class: int, *, seed: int) -> Dataset:
        """The same set with ``per_class`` training images of each class, always the same ones for a seed.

        For semi-supervised training: one stream of batches from this, and one from the whole set, whose labels are
        not looked at.

        Raises:
            InputError: a class has fewer images, or ``per_class`` is below 1.
        """
        self.check_labelled(per_class)
        counts = torch.full((self.num_classes,), per_class)
        drawn = draw_per_class(self.train_labels, counts, seed=seed)
        images = self.train_images
        return replace(
            self,
            train_images=images.subset(drawn) if isinstance(images, LazyImages) else images[drawn.to(images.device)],
            train_labels=self.train_labels[drawn.to(self.train_labels.device)],
        )

    def check_labelled(self, per_class: int) -> None:
        """Whether there is a :meth:`labelled_subset` of so many images a class.

        Raises:
            InputError: there is none.
        """
        fewest = self.train_labels.bincount(minlength=self.num_classes).min().item()
        if not 1 <= per_class <= fewest:
            raise InputError(
                f"labelled_per_class: {per_class} labelled images of each class, wanted 1 to {fewest}, the size of the "
                "smallest class"
            )

    def padded(self, size: int | None) -> Dataset:
        """The same images in the middle of black ones of ``size`` x ``size`` pixels; None: as they are.

        Raises:
            InputError: ``size`` is smaller than the images, or so large that they would fill the memory.
        """
        if size is None:
            return self
        _, height, width = self.image_shape
        if size < max(height, width):
            raise InputError(f"image_size is {size} for {self.name}, wanted at least the {max(height, width)} it has")
        images = len(self.train_images) + len(self.test_images)
        if not fits_in_half_of(torch.device("cpu"), images * size**2):
            raise InputError(f"image_size is {size}, wanted a smaller one: {images:,} such images fill the memory")
        top, left = (size - height) // 2, (size - width) // 2
        border = (left, size - width - left, top, size - height - top)
        if isinstance(self.train_images, LazyImages):
            raise InputError(f"image_size is {size} for images that stay in files, wanted it when they are loaded")
        return replace(self, train_images=pad(self.train_images, border), test_images=pad(self.test_images, border))

    def fingerprint(self) -> str:
        """SHA-256 of all images and labels; of images in files, of their paths within the folder and their sizes."""
        return self._fingerprint

    @cached_property
    def _fingerprint(self) -> str:
        digest = hashlib.sha256()
        for part in (self.train_images, self.train_labels, self.test_images, self.test_labels):
            # Not a copy of it: on the CPU it may be a memory map of more than there is room for.
            digest.update(part.identity() if isinstance(part, LazyImages) else part.cpu().contiguous().numpy().data)
        return digest.hexdigest()

    def fits_on(self, device: torch.device | str) -> bool:
        """Whether :meth:`to` leaves at least half of the device's memory to the networks.

        On CUDA that is half of what is free now, on a CPU half of what the machine has. What is there already fits, and
        images in files take no room.
        """
        device = torch.device(device)
        parts = (self.train_images, self.train_labels, self.test_images, self.test_labels)
        moving = [part.nbytes for part in parts if isinstance(part, Tensor) and part.device != device]
        return not moving or fits_in_half_of(device, sum(moving))

    def to_if_it_fits(self, device: torch.device | str) -> Dataset:
        """On a device; training images that do not fit there stay where they are, and batches of them move."""
        if self.fits_on(device):
            return self.to(device)
        return replace(self, test_images=self.test_images.to(device), test_labels=self.test_labels.to(device))

    def to(self, device: torch.device | str) -> Dataset:
        """On a device, all of it."""
        return replace(
            self,
            train_images=self.train_images.to(device),
            train_labels=self.train_labels.to(device),
            test_images=self.test_images.to(device),
            test_labels=self.test_labels.to(device),
        )


def to_float(images: Tensor) -> Tensor:
    """uint8 -> float32 in [-1, 1) as the authors scale it: (u - 127.5) / 128.

    >>> import torch
    >>> from amgan_fast.data import to_float
    >>> to_float(torch.tensor([0, 128, 255], dtype=torch.uint8))
    tensor([-0.9961,  0.0039,  0.9961])
    """
    return (images.float() - 127.5) / 128


def to_uint8(images: Tensor) -> Tensor:
    """The inverse of :func:`to_float`, rounded and clipped to 0..255.

    >>> import torch
    >>> from amgan_fast.data import to_uint8
    >>> to_uint8(torch.tensor([-1.5, 0.0, 0.5]))
    tensor([  0, 128, 192], dtype=torch.uint8)
    """
    return (images * 128 + 127.5).round().clamp(0, 255).to(torch.uint8)
