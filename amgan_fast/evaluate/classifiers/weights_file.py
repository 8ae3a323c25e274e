"""Weights of known networks from files that others wrote; reading them executes nothing."""

from __future__ import annotations

import zipfile
from pathlib import Path

import torch
from torch import Tensor

from amgan_fast.errors import InputError, in_one_line
from amgan_fast.tensor_files import load_tensors


def read_weights(path: Path, wanted: str) -> dict[str, Tensor]:
    """A state_dict, on the CPU.

    Args:
        path: of :func:`torch.save`, in the form that it has had since PyTorch 1.6 or the one before, or of safetensors
            (suffix .safetensors).
        wanted: the end of a message.

    Raises:
        InputError: no such file, a damaged one, or one that holds something else than tensors by name.

    >>> from pathlib import Path
    >>> import torch
    >>> from amgan_fast.evaluate.classifiers.weights_file import read_weights
    >>> torch.save(torch.nn.Linear(1, 2).state_dict(), "linear.pth")
    >>> list(read_weights(Path("linear.pth"), "wanted a layer"))
    ['weight', 'bias']
    """
    if not path.is_file():
        raise InputError(f"{path} {'is a folder' if path.is_dir() else 'does not exist'}, {wanted}")
    if path.suffix == ".safetensors":
        return _read_safetensors(path, wanted)
    state = load_tensors(path) if zipfile.is_zipfile(path) else _read_earlier(path, wanted)
    if other := [name for name, value in state.items() if not isinstance(name, str) or not isinstance(value, Tensor)]:
        raise InputError(f"{path} holds {other[0]!r}, which is no tensor; {wanted}")
    return dict(state)


def _read_earlier(path: Path, wanted: str) -> dict[str, Tensor]:
    """Weights that have been published for longer are often in the form without checksums."""
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged file fails in any way the unpickler can
        raise InputError(f"{path} is damaged or no checkpoint ({in_one_line(error)}), {wanted}") from None
    if not isinstance(state, dict):
        raise InputError(f"{path} holds a {type(state).__name__}, {wanted}")
    return state


def _read_safetensors(path: Path, wanted: str) -> dict[str, Tensor]:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return load_file(path)
    except (SafetensorError, OSError) as error:
        raise InputError(f"{path} is damaged or no safetensors file ({in_one_line(error)}), {wanted}") from None
