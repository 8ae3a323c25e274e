"""Files of tensors that are there whole or not at all, and that execute nothing when loaded."""

from __future__ import annotations

import os
import shutil
import zipfile
from pathlib import Path
from typing import Any

import torch

from amgan_fast.errors import InputError, in_one_line
from amgan_fast.files import rename, whole_file


def save_checkpoint(path: Path, state: dict[str, Any], *, keep_previous: bool = False) -> None:
    """Write to a temporary file beside ``path``, then rename: a reader finds the old file or the new one.

    Args:
        keep_previous: the file that is replaced stays as :func:`previous_checkpoint`.

    Raises:
        InputError: no space, or no permission; what was there is as it was.
    """
    try:
        with whole_file(path) as temporary:
            torch.save(state, temporary)
            if keep_previous and path.exists():
                _keep(path)
    except (OSError, RuntimeError) as error:  # RuntimeError: torch's writer of zip files could not go on
        reason = error.strerror if isinstance(error, OSError) else in_one_line(error)
        raise InputError(f"{path} cannot be written ({reason}); earlier files are as they were") from error


def previous_checkpoint(path: Path) -> Path:
    """Where :func:`save_checkpoint` keeps the one before."""
    return path.with_name(f"{path.stem}.previous{path.suffix}")


def load_checkpoint(path: Path) -> dict[str, Any]:
    """Read to the CPU, tensors and plain values only (``weights_only``), once their checksums are right.

    Raises:
        InputError: no such file, a damaged one, or one that holds anything else.
    """
    try:
        # torch.load takes what it finds: a flipped bit of a weight is another weight.
        with zipfile.ZipFile(path) as file:
            if damaged := file.testzip():
                raise InputError(f"{path} is damaged (its part {damaged} has another checksum than when written)")
        state = torch.load(path, map_location="cpu", weights_only=True)
    except InputError:
        raise
    except FileNotFoundError:
        raise InputError(f"{path} does not exist, wanted a file that a training run wrote") from None
    except Exception as error:  # a damaged file fails in any way the unpickler can
        raise InputError(f"{path} is damaged or no checkpoint ({in_one_line(error)})") from error
    if not isinstance(state, dict):
        raise InputError(f"{path} holds a {type(state).__name__}, wanted a checkpoint's dictionary")
    return state


def load_last_checkpoint(path: Path) -> tuple[dict[str, Any], str | None]:
    """The checkpoint at ``path``, or the one before where that is missing or damaged: then, also what is wrong.

    Raises:
        InputError: neither can be read.
    """
    try:
        return load_checkpoint(path), None
    except InputError as error:
        previous = previous_checkpoint(path)
        if not previous.exists():
            raise
        return load_checkpoint(previous), f"{error}: going on from {previous.name}"


def put_previous_in_place(path: Path) -> None:
    """Give the one before the name of the checkpoint, so that the next :func:`save_checkpoint` keeps it; a damaged
    file that is there stays as NAME.damaged.pt. At every moment :func:`load_last_checkpoint` finds the one before."""
    if path.exists():
        rename(path, path.with_name(f"{path.stem}.damaged{path.suffix}"))
    rename(previous_checkpoint(path), path)


def _keep(path: Path) -> None:
    """A second name for the file, so that there is one at ``path`` at every moment."""
    with whole_file(previous_checkpoint(path)) as second:
        try:
            os.link(path, second)
        except OSError:  # a file system without hard links
            shutil.copyfile(path, second)
