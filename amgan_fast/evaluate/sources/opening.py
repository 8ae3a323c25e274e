"""A source by what is at a path, which is told by content, and which option takes what."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

from amgan_fast.errors import InputError
from amgan_fast.evaluate.sources.folder_source import ImageFolderSource
from amgan_fast.evaluate.sources.logits_source import LogitsSource
from amgan_fast.evaluate.sources.npz_source import NpzSource
from amgan_fast.evaluate.sources.source import Source
from amgan_fast.images import read_header

_NPY_MAGIC = b"\x93NUMPY"

_KINDS = {
    "run": ("the folder of a training run", "--run takes it"),
    "folder": ("a folder", "--images takes a folder of images"),
    "npz": ("an archive of arrays (.npz)", "--npz takes one of images"),
    "npy": ("one array (.npy)", "--logits takes one of logits, --probabilities one of probabilities"),
    "weights": ("a file of PyTorch", "--classifier takes one of train-classifier"),
    "image": ("one image", "--images takes the folder it is in"),
}
_TAKEN = {
    "--run": ("run", "folder"),  # a folder that is no run says what it lacks
    "--images": ("folder",),
    "--npz": ("npz",),
    "--logits": ("npy",),
    "--probabilities": ("npy",),
}


def open_source(path: str | Path, *, probabilities: bool = False, **folder_options: Any) -> Source:
    """A folder as :class:`ImageFolderSource`, ``.npz`` as :class:`NpzSource`, ``.npy`` as :class:`LogitsSource`: by
    content, and by name only what is damaged.

    Args:
        path: what there is to score.
        probabilities: what an npy file holds instead of logits.
        folder_options: keyword arguments of :class:`ImageFolderSource`, for a folder; files take none.

    Raises:
        InputError: anything else, or what the class refuses.

    >>> import tempfile
    >>> from pathlib import Path
    >>> import numpy as np
    >>> from amgan_fast.evaluate.sources import open_source
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     np.save(Path(folder) / "p.npy", np.full((20, 10), 0.1, np.float32))
    ...     print(open_source(Path(folder) / "p.npy", probabilities=True).kind)
    probabilities
    """
    path = Path(path)
    if path.is_dir():
        return ImageFolderSource(path, **folder_options)
    kind = (_kind_of(path) or path.suffix.lower().removeprefix(".")) if path.exists() else None
    if kind == "npz":
        return NpzSource(path)
    if kind == "npy":
        return LogitsSource(path, probabilities=probabilities)
    found = "is no folder and no file of these" if path.exists() else "does not exist"
    raise InputError(f"{path} {found}, wanted a folder of images, an .npz file of images or an .npy file of logits")


def refuse_another_kind(option: str, path: Path) -> None:
    """
    Args:
        option: that was given, one of ``--run``, ``--images``, ``--npz``, ``--logits`` and ``--probabilities``.
        path: what was given to it.

    Raises:
        InputError: what is there is of a kind that another option takes.
    """
    kind = _kind_of(path)
    if kind is not None and kind not in _TAKEN[option]:
        found, advice = _KINDS[kind]
        raise InputError(f"{option} is {path}, {found}, wanted {_KINDS[_TAKEN[option][0]][0]}: {advice}")


def _kind_of(path: Path) -> str | None:
    """``"run"``, ``"folder"``, ``"npz"``, ``"npy"``, ``"weights"`` or ``"image"``; None: nothing, or something else."""
    if path.is_dir():
        return "run" if _is_run(path) else "folder"
    if path.match("checkpoint*.pt") and path.is_file() and _is_run(path.parent):
        return "run"
    try:
        with path.open("rb") as file:
            if file.read(len(_NPY_MAGIC)) == _NPY_MAGIC:
                return "npy"
        if zipfile.is_zipfile(path):
            return _kind_of_archive(path)
        read_header(path)
    except Exception:  # no file, or one that is damaged in any way: whoever opens it has more to say of it
        return None
    return "image"


def _is_run(folder: Path) -> bool:
    return (folder / "config.toml").is_file() and (folder / "classifier.pt").is_file()


def _kind_of_archive(path: Path) -> str | None:
    with zipfile.ZipFile(path) as archive:
        names = archive.namelist()
    if any(name.endswith(".npy") for name in names):
        return "npz"
    return "weights" if any(name.endswith("data.pkl") for name in names) else None
