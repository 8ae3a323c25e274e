"""From images as they come to what a classifier is given."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import chain
from typing import Any, get_args

import torch
from torch import Tensor
from torch.nn.functional import interpolate

from amgan_fast.errors import InputError
from amgan_fast.memory import all_to_device, to_device
from amgan_fast.option_declarations import DtypeName, Resize, ValueRange

RESIZES = get_args(Resize)
"""Ways to bring images to the classifier's size: refuse others, or scale as Pillow does in floating point, with
antialiasing but for ``nearest``."""

RANGES: dict[ValueRange, str] = {
    "amgan": "(u - 127.5) / 128",
    "signed": "u / 127.5 - 1",
    "unit": "u / 255",
    "byte": "u, 0 to 255",
    "imagenet": "u / 255, less the mean of ImageNet's channels, over their standard deviation",
}
"""What becomes of a pixel u in 0..255: ``amgan`` is the scaling of the authors and of this package's classifiers."""

DTYPES: dict[str, torch.dtype] = {name: getattr(torch, name) for name in get_args(DtypeName)}
"""What classifiers compute in, by name."""

_IMAGENET_MEAN = (0.485, 0.456, 0.406)
_IMAGENET_STD = (0.229, 0.224, 0.225)


@dataclass(frozen=True)
class Inputs:
    """What a classifier takes, and how images are brought to it.

    Raises:
        InputError: an unknown name, a dtype that is none of :data:`DTYPES`, a size or number of channels below 1, or
            ``resize`` without a size.

    >>> import torch
    >>> from amgan_fast.evaluate import Inputs
    >>> white = torch.full((1, 1, 2, 2), 255, dtype=torch.uint8)
    >>> Inputs(size=(1, 1), channels=3, resize="bilinear", value_range="unit")(white).flatten()
    tensor([1., 1., 1.])
    """

    size: tuple[int, int] | None = None
    """(H, W) in pixels; None: any, images are left as they are."""
    channels: int | None = None
    """1 or 3, say; None: as they come."""
    resize: Resize = "none"
    """One of :data:`RESIZES`, for images of another size. Proportions are not kept."""
    value_range: ValueRange = "amgan"
    """One of :data:`RANGES`."""
    dtype: torch.dtype = torch.float32

    def __post_init__(self) -> None:
        for name, known in (("resize", RESIZES), ("value_range", RANGES)):
            if getattr(self, name) not in known:
                raise InputError(f"{name} is {getattr(self, name)!r}, wanted one of {', '.join(known)}")
        if self.dtype not in DTYPES.values():
            raise InputError(f"dtype is {self.dtype}, wanted one of {', '.join(DTYPES)}")
        if self.size is not None and min(self.size) < 1:
            raise InputError(f"size is {_shown(self.size)}, wanted at least 1 x 1")
        if self.size is None and self.resize != "none":
            raise InputError(
                f"resize is {self.resize!r} and size is None, wanted a size to bring images to (--input-size)"
            )
        if self.channels is not None and self.channels < 1:
            raise InputError(f"channels is {self.channels}, wanted at least 1")

    def __str__(self) -> str:
        size = "as they come" if self.size is None else f"{_shown(self.size)}, resize {self.resize}"
        return f"{size}; range {self.value_range}: {RANGES[self.value_range]}; {self._dtype_name()}"

    def to_dict(self) -> dict[str, Any]:
        """Plain values, the dtype by its name."""
        return {
            "size": None if self.size is None else list(self.size),
            "channels": self.channels,
            "resize": self.resize,
            "value_range": self.value_range,
            "dtype": self._dtype_name(),
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Inputs:
        """
        Raises:
            KeyError, TypeError, InputError: it is of no :meth:`to_dict`.
        """
        size = values["size"]
        return cls(**{**values, "size": size and tuple(size), "dtype": DTYPES[values["dtype"]]})

    def __call__(self, images: Tensor | Sequence[Tensor], device: torch.device | str | None = None) -> Tensor:
        """[N, C, H, W] on ``device``, of :attr:`dtype`.

        Computed in float32, in float64 for that dtype, and never rounded to whole pixels.

        Args:
            images: uint8 [N, C, H, W] or a sequence of [C, H, W] of any sizes, or float in [-1, 1] as this package's
                generators make them, whose pixel is u = 128 x + 127.5, clipped to 0..255. Those of the right size for
                range ``amgan`` are passed on as they are.

        Raises:
            InputError: images of another size without ``resize``, of different sizes or channels where the classifier
                names none, or of channels that cannot become those wanted.
            TypeError: another dtype.
            ValueError: another shape, or an empty sequence.
        """
        if not isinstance(images, Tensor):
            return self._from_sequence(images, device)
        if images.ndim != 4:
            raise ValueError(f"images are {list(images.shape)}, wanted [N, C, H, W]")
        if images.dtype != torch.uint8 and not images.is_floating_point():
            raise TypeError(f"images are {images.dtype}, wanted torch.uint8 or a floating point type")
        images = to_device(images, device)
        right_size = self.size in (None, images.shape[2:])
        if images.is_floating_point() and self.value_range == "amgan" and right_size:
            return self._with_channels(images).to(self.dtype)
        pixels = images.to(torch.float64 if self.dtype == torch.float64 else torch.float32)
        if images.is_floating_point():
            pixels = (pixels * 128 + 127.5).clamp(0, 255)
        if self.size is not None and not right_size:
            pixels = self._resized(pixels, self.size)
        return self._scaled(self._with_channels(pixels)).to(self.dtype)

    def _from_sequence(self, images: Sequence[Tensor], device: torch.device | str | None) -> Tensor:
        if not images:
            raise ValueError("images are an empty sequence, wanted at least one")
        sizes = {tuple(image.shape[1:]) for image in images}
        if self.size is None and len(sizes) > 1:
            found = " and ".join(_shown(size) for size in sorted(sizes)[:2])
            raise InputError(f"images are {found}, and the classifier names no size; wanted one size")
        channels = {len(image) for image in images}
        if self.channels is None and len(channels) > 1:
            found = " and ".join(map(str, sorted(channels)))
            raise InputError(f"images have {found} channels, and the classifier names no number; wanted one number")
        on_device, places = all_to_device(images, device), _places_by_shape(images)
        order = to_device(torch.tensor([i for alike in places for i in alike]), on_device[0].device)
        parts = (self(torch.stack([on_device[i] for i in alike])) for alike in places)
        first = next(parts)
        prepared = first.new_empty(len(images), *first.shape[1:])
        for part, rows in zip(chain([first], parts), order.split(list(map(len, places))), strict=True):
            prepared.index_copy_(0, rows, part)
        return prepared

    def _with_channels(self, images: Tensor) -> Tensor:
        found = images.size(1)
        if self.channels in (None, found):
            return images
        if found == 1:
            return images.expand(-1, self.channels, -1, -1)
        raise InputError(f"images have {found} channels, wanted {self.channels} as the classifier takes them")

    def _resized(self, pixels: Tensor, size: tuple[int, int]) -> Tensor:
        if self.resize == "none":
            raise InputError(
                f"images are {_shown(pixels.shape[2:])}, wanted {_shown(size)} as the classifier takes them, or a way "
                f"to resize them (--resize {', '.join(RESIZES[1:])})"
            )
        if self.resize == "nearest":
            return interpolate(pixels, size, mode="nearest-exact")
        # Bicubic weights are negative in part: what they overshoot is no pixel.
        return interpolate(pixels, size, mode=self.resize, antialias=True, align_corners=False).clamp(0, 255)

    def _scaled(self, pixels: Tensor) -> Tensor:
        if self.value_range == "amgan":
            return (pixels - 127.5) / 128
        if self.value_range == "signed":
            return pixels / 127.5 - 1
        if self.value_range == "unit":
            return pixels / 255
        if self.value_range == "byte":
            return pixels
        if pixels.size(1) != 3:
            raise InputError(f"images have {pixels.size(1)} channels, wanted 3 for range imagenet")
        mean, std = (_channels(x, pixels.dtype, pixels.device) for x in (_IMAGENET_MEAN, _IMAGENET_STD))
        return (pixels / 255 - mean) / std

    def _dtype_name(self) -> str:
        return str(self.dtype).removeprefix("torch.")


@cache
def _channels(values: tuple[float, ...], dtype: torch.dtype, device: torch.device) -> Tensor:
    """[C, 1, 1]; kept, since a GPU is waited for when it is made."""
    return torch.tensor(values, dtype=dtype, device=device)[:, None, None]


def _places_by_shape(images: Sequence[Tensor]) -> list[list[int]]:
    """The places of images that have the same shape, and so can be prepared together."""
    places: dict[torch.Size, list[int]] = {}
    for i, image in enumerate(images):
        places.setdefault(image.shape, []).append(i)
    return list(places.values())


def _shown(size: Sequence[int]) -> str:
    return " x ".join(map(str, size))
