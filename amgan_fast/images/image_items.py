"""Images of a sequence of (image, label) that someone else reads."""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from PIL import Image
from torch import Tensor

from amgan_fast.images.decoding import to_pixels, why_unreadable
from amgan_fast.images.image_files import LazyImages
from amgan_fast.images.reading import Reader, Unreadable

if TYPE_CHECKING:
    from typing_extensions import Self  # typing has it from Python 3.11 on

_LOOKED_AT = 16  # images of a large set
_REMEDY = "all uint8 and of one size"


class Items(Protocol):
    """As torch's map-style datasets, with an image, uint8 [C, H, W] or Pillow's, and a label first."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> Any: ...


class ItemReader(Reader[np.ndarray]):
    """The images of a sequence, uint8 [C, H, W].

    Args:
        items: pairs of an image and a label.
        shape: (C, H, W) that every image must have; None: that of the first.
        name: of the sequence, for messages.
    """

    def __init__(self, items: Items, name: str, shape: tuple[int, int, int] | None = None) -> None:
        self._items = items
        self._name = name
        self._indices = np.arange(len(items))
        self.shape = shape or to_image(items[0][0]).shape

    def __len__(self) -> int:
        return len(self._indices)

    def __getitem__(self, index: int) -> np.ndarray | Unreadable:
        place = int(self._indices[index])
        try:
            image = to_image(self._items[place][0])
            if image.shape != self.shape:
                raise ValueError(f"image is {_shown(image.shape)}, the first one is {_shown(self.shape)}")
            return image
        except Exception as error:  # code of the user's may fail in any way
            return Unreadable(Path(f"{self._name}[{place}]"), why_unreadable(error))

    def identity(self) -> bytes:
        """The bytes of some images, and which images these are."""
        digest = hashlib.sha256(self._indices.tobytes())
        for index in range(0, len(self), max(1, len(self) // _LOOKED_AT)):
            image = self[index]
            digest.update(str(image).encode() if isinstance(image, Unreadable) else image.tobytes())
        return f"{self._name} {digest.hexdigest()}".encode()

    def take(self, indices: Sequence[int]) -> Self:
        part = copy.copy(self)
        part._indices = self._indices[np.asarray(indices, np.int64)]
        return part


class ImageItems(LazyImages):
    """Images of a sequence that are read when they are wanted, by worker processes.

    >>> import torch
    >>> from amgan_fast.images import ImageItems
    >>> items = [(torch.full((1, 2, 2), value, dtype=torch.uint8), 0) for value in (10, 20, 30)]
    >>> images = ImageItems(items, "mine")
    >>> images.shape, images[torch.tensor([2, 0])][:, 0, 0, 0]
    (torch.Size([3, 1, 2, 2]), tensor([30, 10], dtype=torch.uint8))

    Args:
        items: as of :class:`Items`.
        name: for messages.
    """

    def __init__(self, items: Items, name: str) -> None:
        reader = ItemReader(items, name)
        super().__init__(reader, reader.shape, _REMEDY)


def to_image(image: object) -> np.ndarray:
    """uint8 [C, H, W] with one or three channels.

    Raises:
        ValueError: it is something else.
    """
    if isinstance(image, Image.Image):
        return to_pixels(image if image.mode in ("L", "RGB") else image.convert("RGB"))
    if isinstance(image, Tensor):
        image = image.numpy()
    if not isinstance(image, np.ndarray):
        raise ValueError(f"image is a {type(image).__name__}, wanted uint8 [C, H, W], or one of Pillow")
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[0] not in (1, 3):
        raise ValueError(f"image is {_shown(image.shape)} of {image.dtype}, wanted uint8 [C, H, W] with C of 1 or 3")
    return image


def _shown(shape: Sequence[int]) -> str:
    return " x ".join(map(str, shape))
