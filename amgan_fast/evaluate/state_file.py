"""Tensors and plain values in one file, which is there whole or not at all, and is checked when it is read.

Tensors are safetensors'. What else there is, is JSON in the metadata of the file, with a SHA-256 of everything:
safetensors has none, and a flipped bit of a sum is another sum. Nothing that is read can execute code.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from amgan_fast.errors import InputError, in_one_line
from amgan_fast.evaluate.classifiers.weights_digest import tensor_bytes
from amgan_fast.files import contents_of, whole_file

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
    from safetensors.torch import save

    tensors: dict[str, Tensor] = {}
    values = json.dumps(_without_tensors(dict(state), "", tensors))
    metadata = {"state": values, "sha256": _digest(values, tensors)}
    try:
        with whole_file(path) as temporary:
            temporary.write_bytes(save(tensors, metadata))  # save_file makes files that no one else may read
    except OSError as error:
        raise InputError(f"{path} cannot be written ({error.strerror}), wanted a place for --state") from None


def read_state(path: Path) -> dict[str, Any]:
    """What :func:`write_state` wrote, tensors on the CPU.

    Raises:
        InputError: no such file, a damaged one, or one of anything else.
    """
    from safetensors import SafetensorError, safe_open

    if not path.is_file():
        found = "is no file" if path.exists() else "does not exist"
        raise InputError(f"{path} {found}, {_WANTED}")
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            names = file.keys()
            tensors = {name: file.get_tensor(name) for name in names}
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror or error}), {_WANTED}") from None
    except SafetensorError as error:
        raise InputError(f"{path} is damaged or no safetensors file ({in_one_line(error)}), {_WANTED}") from None
    if not {"state", "sha256"} <= metadata.keys():
        raise InputError(f"{path} is a safetensors file of something else, {_WANTED}")
    if metadata["sha256"] != _digest(metadata["state"], tensors):
        raise InputError(f"{path} is damaged (it has another checksum than when written)")
    with contents_of(path):
        return dict(_with_tensors(json.loads(metadata["state"]), tensors))


def _without_tensors(value: Any, name: str, tensors: dict[str, Tensor]) -> Any:
    """``value`` as JSON has it, and the names of tensors in the place of these, which go to ``tensors``."""
    if isinstance(value, Tensor):
        tensors[name] = value.detach().cpu().contiguous().clone()  # a file takes no two that share memory
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


def _digest(values: str, tensors: Mapping[str, Tensor]) -> str:
    digest = hashlib.sha256(values.encode())
    for name, tensor in sorted(tensors.items()):
        digest.update(f"{name} {tensor.dtype} {list(tensor.shape)}".encode())
        digest.update(tensor_bytes(tensor))
    return digest.hexdigest()
