"""Images that stay in their files."""

from __future__ import annotations

import copy
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from amgan_fast.images.reading import FileReader, Unreadable, most_workers
from amgan_fast.memory import to_device

_REMEDY = "skip_unreadable leaves others out"


class ImageFiles:
    """Images that stay in their files; stands in for a uint8 tensor [N, C, H, W] that would not fit in memory.

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
        self.device = torch.device("cpu")
        """Where the images are given that are asked for."""
        self._files = FileReader(folder, names, read)
        self._shape = shape

    @property
    def shape(self) -> torch.Size:
        return torch.Size((len(self), *self._shape))

    def __len__(self) -> int:
        return len(self._files)

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
            InputError: (from ``next``) a file that cannot be read.
        """
        indices = (batch.tolist() for batch in batches)
        for found in self._files.read(indices, workers=workers, collate=_stacked, pin_memory=pin_memory):
            if isinstance(found, Unreadable):
                raise found.refused(_REMEDY)
            yield found

    def subset(self, indices: Tensor) -> ImageFiles:
        """These images, still in their files."""
        part = copy.copy(self)
        part._files = self._files.take(indices.tolist())
        return part

    def to(self, device: torch.device | str) -> ImageFiles:
        """The same, given on this device; the files stay where they are."""
        moved = copy.copy(self)
        moved.device = torch.device(device)
        return moved

    def identity(self) -> bytes:
        """Shape, and every file's name and number of bytes: what tells one set from another without reading it."""
        return os.fsencode(f"{tuple(self.shape)}\n") + self._files.identity()


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
