"""A source by what is at a path."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from amgan_fast.errors import InputError
from amgan_fast.evaluate.sources.arrays import LogitsSource, NpzSource
from amgan_fast.evaluate.sources.folder import ImageFolderSource
from amgan_fast.evaluate.sources.source import Source


def open_source(path: str | Path, *, probabilities: bool = False, **folder_options: Any) -> Source:
    """A folder as :class:`ImageFolderSource`, ``.npz`` as :class:`NpzSource`, ``.npy`` as :class:`LogitsSource`.

    Args:
        path: what there is to score.
        probabilities: what an npy file holds instead of logits.
        folder_options: keyword arguments of :class:`ImageFolderSource`, for a folder; files take none.

    Raises:
        InputError: anything else, or what the class refuses.
    """
    path = Path(path)
    if path.is_dir():
        return ImageFolderSource(path, **folder_options)
    suffix = path.suffix.lower()
    if path.exists() and suffix == ".npz":
        return NpzSource(path)
    if path.exists() and suffix == ".npy":
        return LogitsSource(path, probabilities=probabilities)
    found = "is no folder and no file of these" if path.exists() else "does not exist"
    raise InputError(f"{path} {found}, wanted a folder of images, an .npz file of images or an .npy file of logits")
