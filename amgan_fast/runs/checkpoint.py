"""The last checkpoint of a run, and the one before."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from amgan_fast.errors import InputError
from amgan_fast.files import rename
from amgan_fast.tensor_files import load_tensors, save_tensors


def save_checkpoint(path: Path, state: dict[str, Any]) -> None:
    """As :func:`save_tensors`; the file that is replaced stays as :func:`previous_checkpoint`."""
    save_tensors(path, state, previous=previous_checkpoint(path))


def previous_checkpoint(path: Path) -> Path:
    """Where :func:`save_checkpoint` keeps the one before."""
    return path.with_name(f"{path.stem}.previous{path.suffix}")


def load_last_checkpoint(path: Path) -> tuple[dict[str, Any], str | None]:
    """The checkpoint at ``path``, or the one before where that is missing or damaged: then, also what is wrong.

    Raises:
        InputError: neither can be read.
    """
    try:
        return load_tensors(path), None
    except InputError as error:
        previous = previous_checkpoint(path)
        if not previous.exists():
            raise
        return load_tensors(previous), f"{error}: going on from {previous.name}"


def put_previous_in_place(path: Path) -> None:
    """Give the one before the name of the checkpoint, so that the next :func:`save_checkpoint` keeps it; a damaged
    file that is there stays as NAME.damaged.pt. At every moment :func:`load_last_checkpoint` finds the one before."""
    if path.exists():
        rename(path, path.with_name(f"{path.stem}.damaged{path.suffix}"))
    rename(previous_checkpoint(path), path)
