"""What is in an image file, by Pillow; docs/image_files.md says what is read and what becomes of it, and why.

Only formats that say what they are in their first bytes are read, and by their content, not their suffix: formats
without such a mark would take any file for an image, and Pillow hands EPS to a program of its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from io import BufferedReader, FileIO
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np
from PIL import Image, UnidentifiedImageError
from torch import Tensor

from amgan_fast.images import plain_png

Image.init()
_KNOWN = ("AVIF", "BMP", "GIF", "JPEG", "JPEG2000", "PNG", "PPM", "QOI", "TIFF", "WEBP")
IMAGE_FORMATS: list[str] = [name for name in _KNOWN if name in Image.OPEN]
"""By Pillow's names: those of them that it was built with."""
IMAGE_SUFFIXES = frozenset(suffix for suffix, name in Image.registered_extensions().items() if name in IMAGE_FORMATS)
"""In lower case, with the dot: files with another are no images."""

_DEEP_GREY = ("I;16", "I;16B", "I;16L", "I;16N")
_GREY = ("1", "L", "LA")
_COLOURED = ("P", "PA", "RGB", "RGBA", "RGBX", "CMYK", "YCbCr")


class ImageHeader(NamedTuple):
    """What an image file says of itself."""

    size: tuple[int, int]
    """(H, W) in pixels."""
    grey: bool


def open_image(file: Path | BinaryIO, formats: Sequence[str] = IMAGE_FORMATS) -> Image.Image:
    """A Pillow image, whose pixels are not decoded yet.

    Args:
        file: one that is open is read from its beginning, and stays open.
        formats: by Pillow's names; files of others are no images.

    Raises:
        Exception: of any kind, when the file cannot be read: :func:`why_unreadable` says why.
    """
    return Image.open(file, formats=list(formats))


def read_header(path: Path) -> ImageHeader:
    """Without decoding the pixels.

    >>> import tempfile
    >>> from pathlib import Path
    >>> from PIL import Image
    >>> from amgan_fast.images import read_header
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = Path(folder, "a.png")
    ...     Image.new("L", (8, 6)).save(path)
    ...     read_header(path)
    ImageHeader(size=(6, 8), grey=True)

    Raises:
        Exception: as :func:`open_image`; ValueError: pixels that cannot become grey or RGB of 8 bits.
    """
    with FileIO(path) as raw, BufferedReader(raw) as file:
        if (png := plain_png.plain_png(raw.read(plain_png.START))) is not None:
            return _header_of(png)
        image = open_image(file)
        grey = image.mode in _GREY or _is_deep_grey(image)
        if not grey and image.mode not in _COLOURED:
            raise ValueError(f"pixels of mode {image.mode}, wanted grey or RGB of 8 or 16 bits")
        return ImageHeader((image.height, image.width), grey)


def read_many_headers(paths: Tensor) -> list[ImageHeader | None]:
    """:func:`read_header` of N files without Python, of those that it can be done for; None for the others.

    Args:
        paths: uint8 [N, W], each with zeros behind it.
    """
    return [png and _header_of(png) for png in plain_png.plain_pngs(paths)]


def _header_of(png: plain_png.PlainPng) -> ImageHeader:
    return ImageHeader((png.height, png.width), png.channels == 1)


def read_pixels(path: Path, channels: int, square: int | None = None) -> np.ndarray:
    """uint8 [C, H, W].

    >>> import tempfile
    >>> from pathlib import Path
    >>> from PIL import Image
    >>> from amgan_fast.images import read_pixels
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = Path(folder, "a.png")
    ...     Image.new("RGB", (8, 6), (1, 2, 3)).save(path)
    ...     read_pixels(path, channels=3).shape, read_pixels(path, channels=1, square=4).shape
    ((3, 6, 8), (1, 4, 4))

    Args:
        channels: 1 or 3.
        square: crop to the square in the middle and resize that to so many pixels a side, antialiased (Lanczos);
            None: the image as it is.

    Raises:
        Exception: as :func:`read_header`.
    """
    with FileIO(path) as raw, BufferedReader(raw) as file:
        start = raw.read(plain_png.START)
        if square is None and (png := plain_png.plain_png(start)) is not None and png.channels <= channels:
            pixels = plain_png.decode(start + raw.readall(), channels)
            if pixels is not None:
                return pixels
        image = _decoded(open_image(file), "L" if channels == 1 else "RGB")
        if square is not None:
            # Cropped first: resized from a box of the whole, edges would be averaged with what lies outside of it.
            image = _middle(image).resize((square, square), Image.Resampling.LANCZOS)
        return to_pixels(image)


def read_many_pixels(paths: Tensor, channels: int) -> list[np.ndarray | None]:
    """:func:`read_pixels` of N files, as :func:`read_many_headers`: other threads can run Python meanwhile."""
    return plain_png.decode_files(paths, channels)


def _decoded(image: Image.Image, mode: str) -> Image.Image:
    image.load()
    image.info.pop("transparency", None)  # Pillow warns when it drops that of a palette
    if _is_deep_grey(image):  # which convert() clips at 255
        image = Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
    return image if image.mode == mode else image.convert(mode)  # which would copy it


def to_pixels(image: Image.Image) -> np.ndarray:
    """uint8 [C, H, W] of an image of mode ``L`` or ``RGB``."""
    return np.atleast_3d(np.asarray(image)).transpose(2, 0, 1).copy()  # those of Pillow are read-only


def _middle(image: Image.Image) -> Image.Image:
    """torchvision's center_crop to the shorter side; importing that takes each worker seconds."""
    side = min(image.size)
    left, top = (round((length - side) / 2) for length in image.size)
    return image.crop((left, top, left + side, top + side))


def _is_deep_grey(image: Image.Image) -> bool:
    """Whether it is grey of 16 bits, which Pillow has in 32 for PGM; other formats have no more to say of a mode I."""
    return image.mode in _DEEP_GREY or (image.mode == "I" and image.format == "PPM")


def why_unreadable(error: Exception) -> str:
    if isinstance(error, UnidentifiedImageError):
        return "no image that can be read"  # Pillow's message is the path again
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return (str(error) or type(error).__name__).splitlines()[0]
