"""Tensors and plain values in one file, which is there whole or not at all, and is checked when it is read.

Tensors are safetensors', and what else there is, is JSON in the metadata of the file. Nothing that is read can execute
code.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from amgan_fast.errors import InputError
from amgan_fast.files import contents_of
from amgan_fast.tensor_files import load_safetensors, save_safetensors

_STATE = "state"
_TENSOR, _TUPLE = "tensor of this file", "tuple"
_WANTED = "wanted a file of amgan-fast evaluate --state"


def write_state(path: Path, state: Mapping[str, Any]) -> None:
    """
    Args:
        state: tensors on any device, texts, numbers, None, and lists, tuples and dicts of these by name.

    Raises:
        InputError: the file cannot be written; an old one of its name is as it was.

    >>> from pathlib import Path
    >>> import torch
    >>> from amgan_fast.evaluate.state_file import read_state, write_state
    >>> write_state(Path("sums.safetensors"), {"samples": 7, "sums": {"prob": torch.ones(2)}})
    >>> read_state(Path("sums.safetensors"))
    {'samples': 7, 'sums': {'prob': tensor([1., 1.])}}
    """
    tensors: dict[str, Tensor] = {}
    values = json.dumps(_without_tensors(dict(state), "", tensors))
    try:
        save_safetensors(path, _STATE, values, tensors)
    except OSError as error:
        raise InputError(f"{path} cannot be written ({error.strerror}), wanted a place for --state") from None


def read_state(path: Path) -> dict[str, Any]:
    """What :func:`write_state` wrote, tensors on the CPU.

    Raises:
        InputError: no such file, a damaged one, or one of anything else.
    """
    values, tensors = load_safetensors(path, _STATE, wanted=_WANTED)
    with contents_of(path):
        return dict(_with_tensors(json.loads(values), tensors))


def _without_tensors(value: Any, name: str, tensors: dict[str, Tensor]) -> Any:
    """``value`` as JSON has it, and the names of tensors in the place of these, which go to ``tensors``."""
    if isinstance(value, Tensor):
        tensors[name] = value
        return {_TENSOR: name}
    if isinstance(value, Mapping):
        return {key: _without_tensors(part, f"{name}.{key}".lstrip("."), tensors) for key, part in value.items()}
    if isinstance(value, list | tuple):
        parts = [_without_tensors(part, f"{name}.{place}", tensors) for place, part in enumerate(value)]
        return {_TUPLE: parts} if isinstance(value, tuple) else parts
    return value


def _with_tensors(value: Any, tensors: Mapping[str, Tensor]) -> Any:
    if isinstance(value, list):
        return [_with_tensors(part, tensors) for part in value]
    if not isinstance(value, dict):
        return value
    if value.keys() == {_TENSOR}:
        return tensors[value[_TENSOR]]
    if value.keys() == {_TUPLE}:
        return tuple(_with_tensors(part, tensors) for part in value[_TUPLE])
    return {key: _with_tensors(part, tensors) for key, part in value.items()}
