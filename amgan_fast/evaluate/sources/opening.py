"""A source by what is at a path."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from amgan_fast.errors import InputError
from amgan_fast.evaluate.sources.arrays import LogitsSource, NpzSource
from amgan_fast.evaluate.sources.folder import ImageFolderSource
from amgan_fast.evaluate.sources.kinds import kind_of
from amgan_fast.evaluate.sources.source import Source


def open_source(path: str | Path, *, probabilities: bool = False, **folder_options: Any) -> Source:
    """A folder as :class:`ImageFolderSource`, ``.npz`` as :class:`NpzSource`, ``.npy`` as :class:`LogitsSource`: by
    content, and by name only what is damaged.

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
    kind = (kind_of(path) or path.suffix.lower().removeprefix(".")) if path.exists() else None
    if kind == "npz":
        return NpzSource(path)
    if kind == "npy":
        return LogitsSource(path, probabilities=probabilities)
    found = "is no folder and no file of these" if path.exists() else "does not exist"
    raise InputError(f"{path} {found}, wanted a folder of images, an .npz file of images or an .npy file of logits")
