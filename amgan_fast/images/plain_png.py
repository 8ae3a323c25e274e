"""PNG files as programs write arrays of pixels: grey or RGB of 8 bits, the pixels right behind the header.

Most images that are scored are such files, and small: for one of 32 x 32 Pillow, most of it Python, takes twice
as long as torchvision's libpng, and keeps other threads from running Python meanwhile. Nothing in such a file can be
read in two ways (no palette, transparency, gamma or comment comes before the pixels), so both give the same. What
libpng does not take, Pillow is asked about.
"""

from __future__ import annotations

import importlib.util
import struct
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image
from torch import Tensor

import amgan_fast.ops  # noqa: F401, whose library has first_bytes and decode_pngs

START = 41
"""Bytes of a file that tell."""
_LENGTH = slice(33, 37)  # of these: how many bytes the pixels take
_BEFORE_SIZE = b"\x89PNG\r\n\x1a\n\x00\x00\x00\x0dIHDR"
_BEFORE_PIXELS = b"IDAT"
_CHANNELS = {0: 1, 2: 3}  # by colour type


class PlainPng(NamedTuple):
    """Its header."""

    height: int
    width: int
    channels: int
    """1 or 3."""


def plain_png(start: bytes) -> PlainPng | None:
    """What the first :data:`START` bytes of a file say; None: it is no such file, or one whose size Pillow refuses or
    warns of.

    >>> import io
    >>> from PIL import Image
    >>> from amgan_fast.images.plain_png import START, plain_png
    >>> file = io.BytesIO()
    >>> Image.new("L", (8, 6)).save(file, "PNG")
    >>> plain_png(file.getvalue()[:START])
    PlainPng(height=6, width=8, channels=1)
    """
    if len(start) < START or not start.startswith(_BEFORE_SIZE) or start[37:] != _BEFORE_PIXELS:
        return None
    width, height, bits, colour_type, *_ = struct.unpack_from(">IIBBBBB", start, len(_BEFORE_SIZE))
    most = Image.MAX_IMAGE_PIXELS
    if bits != 8 or colour_type not in _CHANNELS or not width * height or (most and width * height > most):
        return None
    return PlainPng(height, width, _CHANNELS[colour_type])


def plain_pngs(paths: Tensor) -> list[PlainPng | None]:
    """:func:`plain_png` of N files; None, too, for those that cannot be read.

    Args:
        paths: uint8 [N, W], each with zeros behind it.
    """
    starts = torch.ops.amgan_fast_images.first_bytes(paths, START).numpy()
    starts[:, _LENGTH] = 0
    known: dict[bytes, PlainPng | None] = {}
    for start in (rows := [start.tobytes() for start in starts]):
        if start not in known:
            known[start] = plain_png(start)
    return [known[start] for start in rows]


def decode_files(paths: Tensor, channels: int) -> list[np.ndarray | None]:
    """:func:`decode` of N files, without Python; None, too, for those that cannot be read, or are not plain with a
    header as the first one has.

    Args:
        paths: as of :func:`plain_pngs`.
    """
    start = torch.ops.amgan_fast_images.first_bytes(paths[:1], START)[0]
    png = plain_png(start.numpy().tobytes())
    if png is None or png.channels > channels or _decoder() is None:
        return [None] * len(paths)
    images, decoded = torch.ops.amgan_fast_images.decode_pngs(paths, start, channels, png.height, png.width)
    return [image if good else None for image, good in zip(images.numpy(), decoded.tolist(), strict=True)]


def decode(data: bytes, channels: int) -> np.ndarray | None:
    """uint8 [C, H, W] of a whole file that is plain; None: it is damaged, or torchvision is another.

    Args:
        channels: 3, or 1 for a grey one.
    """
    operation = _decoder()
    if operation is None:
        return None
    try:
        # The mode of torchvision is the number of channels: 1 grey, 3 RGB.
        image = operation(torch.frombuffer(bytearray(data), dtype=torch.uint8), channels, False)
    except RuntimeError:
        return None
    # Left as libpng has them, channels innermost, a stack of images is channels_last: other bits of every logit.
    return np.ascontiguousarray(image.numpy())


@cache
def _decoder() -> Callable[..., torch.Tensor] | None:
    """torchvision's operation, without the rest of torchvision, whose import takes longer than thousands of images."""
    found = importlib.util.find_spec("torchvision")
    try:
        for folder in (found and found.submodule_search_locations) or ():
            for library in sorted(Path(folder).glob("image*.so")):
                torch.ops.load_library(str(library))
        return torch.ops.image.decode_png.default
    except (OSError, AttributeError):
        return None
