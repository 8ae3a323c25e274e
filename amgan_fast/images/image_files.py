"""Images that stay where they are until they are wanted."""

from __future__ import annotations

import copy
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from amgan_fast.images.reading import FileReader, Reader, Unreadable, most_workers
from amgan_fast.memory import to_device

if TYPE_CHECKING:
    from typing_extensions import Self  # typing has it from Python 3.11 on

_REMEDY = "skip_unreadable leaves others out"


class LazyImages:
    """Images that are read when they are wanted; stands in for a uint8 tensor [N, C, H, W] that would fill the memory.

    Args:
        reader: gives images, uint8 [C, H, W].
        shape: (C, H, W) of every image.
        remedy: what a user can do about images that cannot be read.
    """

    def __init__(self, reader: Reader[np.ndarray], shape: tuple[int, int, int], remedy: str) -> None:
        self.device = torch.device("cpu")
        """Where the images are given that are asked for."""
        self._reader = reader
        self._shape = shape
        self._remedy = remedy

    @property
    def shape(self) -> torch.Size:
        return torch.Size((len(self), *self._shape))

    def __len__(self) -> int:
        return len(self._reader)

    def __getitem__(self, indices: Tensor) -> Tensor:
        return next(self.read_there([indices], workers=0))

    def split(self, size: int) -> Iterator[Tensor]:
        """All images in order, ``size`` at a time."""
        batches = torch.arange(len(self)).split(size)
        return self.read_there(batches, workers=most_workers())

    def read_there(self, batches: Iterable[Tensor], *, workers: int) -> Iterator[Tensor]:
        """As :meth:`read`, on :attr:`device`, without waiting for a GPU."""
        on_gpu = self.device.type == "cuda"
        return (to_device(images, self.device) for images in self.read(batches, workers=workers, pin_memory=on_gpu))

    def read(self, batches: Iterable[Tensor], *, workers: int, pin_memory: bool = False) -> Iterator[Tensor]:
        """The images of each batch of indices, uint8 [B, C, H, W] on the CPU, read ahead by ``workers`` processes.

        Raises:
            InputError: (from ``next``) an image that cannot be read.
        """
        indices = (batch.tolist() for batch in batches)
        for found in self._reader.read(indices, workers=workers, collate=_stacked, pin_memory=pin_memory):
            if isinstance(found, Unreadable):
                raise found.refused(self._remedy)
            yield found

    def subset(self, indices: Tensor) -> Self:
        """These images, still where they are."""
        part = copy.copy(self)
        part._reader = self._reader.take(indices.tolist())
        return part

    def to(self, device: torch.device | str) -> Self:
        """The same, given on this device; they stay where they are."""
        moved = copy.copy(self)
        moved.device = torch.device(device)
        return moved

    def identity(self) -> bytes:
        """What tells one set from another: shape, and what :meth:`Reader.identity` says of the images."""
        return os.fsencode(f"{tuple(self.shape)}\n") + self._reader.identity()


class ImageFiles(LazyImages):
    """Images that stay in their files.

    >>> import tempfile
    >>> from functools import partial
    >>> from pathlib import Path
    >>> import torch
    >>> from PIL import Image
    >>> from amgan_fast.images import ImageFiles, read_pixels
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     for grey in (10, 20, 30):
    ...         Image.new("L", (1, 1), grey).save(Path(folder, f"{grey}.png"))
    ...     names = ["10.png", "20.png", "30.png"]
    ...     images = ImageFiles(Path(folder), names, partial(read_pixels, channels=1), (1, 1, 1))
    ...     images.shape, images[torch.tensor([2, 0])].flatten()
    (torch.Size([3, 1, 1, 1]), tensor([30, 10], dtype=torch.uint8))

    Args:
        folder: what ``names`` are relative to.
        read: a file to uint8 [C, H, W]; as of :class:`FileReader`.
        shape: (C, H, W), what ``read`` reads every file to.
    """

    def __init__(
        self, folder: Path, names: Sequence[str], read: Callable[[Path], np.ndarray], shape: tuple[int, int, int]
    ) -> None:
        super().__init__(FileReader(folder, names, read), shape, _REMEDY)


def collect_images(images: Iterable[np.ndarray], most: int, shape: tuple[int, int, int]) -> Tensor:
    """uint8 [M, C, H, W] of M images uint8 [C, H, W], without a second copy of them in memory.

    Args:
        most: images there may be.
        shape: (C, H, W).
    """
    collected, count = torch.empty((most, *shape), dtype=torch.uint8), 0
    for image in images:
        collected[count] = torch.from_numpy(image)
        count += 1
    return collected[:count]


def _stacked(found: list[np.ndarray | Unreadable]) -> Tensor | Unreadable:
    """One tensor, which takes one file descriptor; where a file cannot be read, the first such."""
    images: list[np.ndarray] = []
    for image in found:
        if isinstance(image, Unreadable):
            return image
        images.append(image)
    return torch.from_numpy(np.stack(images))
