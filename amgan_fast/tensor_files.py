"""Files of tensors that are there whole or not at all, and that execute nothing when loaded."""

from __future__ import annotations

import os
import shutil
import zipfile
from pathlib import Path
from typing import Any

import torch

from amgan_fast.errors import InputError, in_one_line
from amgan_fast.files import whole_file


def save_tensors(path: Path, state: dict[str, Any], *, previous: Path | None = None) -> None:
    """Write to a temporary file beside ``path``, then rename: a reader finds the old file or the new one.

    Args:
        state: tensors and plain values by name.
        previous: the name that the file that is replaced keeps, in the same folder; None: it is gone.

    Raises:
        InputError: no space, or no permission; what was there is as it was.
    """
    try:
        with whole_file(path) as temporary:
            torch.save(state, temporary)
            if previous is not None and path.exists():
                _name_again(path, previous)
    except (OSError, RuntimeError) as error:  # RuntimeError: torch's writer of zip files could not go on
        reason = error.strerror if isinstance(error, OSError) else in_one_line(error)
        raise InputError(f"{path} cannot be written ({reason}); earlier files are as they were") from error


def load_tensors(path: Path) -> dict[str, Any]:
    """Read to the CPU, tensors and plain values only (``weights_only``), once their checksums are right.

    Raises:
        InputError: no such file, a damaged one, or one that holds anything else.

    >>> from pathlib import Path
    >>> import torch
    >>> from amgan_fast.tensor_files import load_tensors, save_tensors
    >>> save_tensors(Path("file.pt"), {"weights": torch.zeros(2), "steps": 7})
    >>> load_tensors(Path("file.pt"))
    {'weights': tensor([0., 0.]), 'steps': 7}
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
        raise InputError(f"{path} does not exist, wanted a file that torch.save wrote") from None
    except Exception as error:  # a damaged file fails in any way the unpickler can
        raise InputError(f"{path} is damaged or no checkpoint ({in_one_line(error)})") from error
    if not isinstance(state, dict):
        raise InputError(f"{path} holds a {type(state).__name__}, wanted a dictionary of tensors")
    return state


def _name_again(path: Path, second: Path) -> None:
    """A second name for a file, so that there is one at ``path`` at every moment."""
    with whole_file(second) as temporary:
        try:
            os.link(path, temporary)
        except OSError:  # a file system without hard links
            shutil.copyfile(path, temporary)
