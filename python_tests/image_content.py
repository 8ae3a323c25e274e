"""What is in image files, for tests that write them."""

from __future__ import annotations

import io

from PIL import Image


def content(image: Image.Image, file_format: str, **options) -> bytes:
    """Options as of Pillow's ``save``."""
    file = io.BytesIO()
    image.save(file, file_format, **options)
    return file.getvalue()


def cut_short(whole: bytes) -> bytes:
    """The header stays, the pixels do not."""
    return whole[: len(whole) * 3 // 4]
