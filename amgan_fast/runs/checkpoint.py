"""Files of tensors that are there whole or not at all, and that execute nothing when loaded."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from amgan_fast.errors import InputError
from amgan_fast.files import whole_file


def save_checkpoint(path: Path, state: dict[str, Any]) -> None:
    """Write whole or not at all: a reader finds the old file or the new one."""
    with whole_file(path) as temporary:
        torch.save(state, temporary)


def load_checkpoint(path: Path) -> dict[str, Any]:
    """Read to the CPU, tensors and plain values only (``weights_only``).

    Raises:
        InputError: no such file, a damaged one, or one that holds anything else.
    """
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise InputError(f"{path} does not exist, wanted a file that a training run wrote") from None
    except Exception as error:  # a damaged file fails in any way the unpickler can
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise InputError(f"{path} is damaged or no checkpoint ({reason})") from error
    if not isinstance(state, dict):
        raise InputError(f"{path} holds a {type(state).__name__}, wanted a checkpoint's dictionary")
    return state
