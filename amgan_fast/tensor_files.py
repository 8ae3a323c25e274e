"""Files of tensors that are there whole or not at all, and that execute nothing when loaded."""

from __future__ import annotations

import hashlib
import os
import shutil
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

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
    return _load(path, mapped=False)


def load_mapped(path: Path) -> dict[str, Any]:
    """:func:`load_tensors` for plain values beside large tensors: these stay in the file until they are looked at, and
    checksums are not tested.

    Raises:
        InputError: as there.
    """
    return _load(path, mapped=True)


def save_safetensors(path: Path, what: str, values: str, tensors: Mapping[str, Tensor]) -> None:
    """A safetensors file, with ``values``, JSON, in its metadata under ``what``, beside a SHA-256 of everything:
    safetensors has none, and a flipped bit of a number is another number.

    Args:
        tensors: on any device; several may share memory.

    Raises:
        OSError: the file cannot be written; what was there is as it was.

    >>> from pathlib import Path
    >>> import torch
    >>> from amgan_fast.tensor_files import load_safetensors, save_safetensors
    >>> save_safetensors(Path("ones.safetensors"), "numbers", '{"steps": 7}', {"ones": torch.ones(2)})
    >>> load_safetensors(Path("ones.safetensors"), "numbers", wanted="wanted numbers")
    ('{"steps": 7}', {'ones': tensor([1., 1.])})
    """
    from safetensors.torch import save

    own = {name: value.detach().cpu().contiguous().clone() for name, value in tensors.items()}
    with whole_file(path) as temporary:  # save_file makes files that no one else may read
        temporary.write_bytes(save(own, {what: values, "sha256": _digest(values, own)}))


def load_safetensors(path: Path, what: str, *, wanted: str) -> tuple[str, dict[str, Tensor]]:
    """What :func:`save_safetensors` wrote: the JSON, and tensors on the CPU.

    Args:
        wanted: the end of a message.

    Raises:
        InputError: no such file, a damaged one, or one of anything else.
    """
    from safetensors import SafetensorError, safe_open

    if not path.is_file():
        raise InputError(f"{path} {'is no file' if path.exists() else 'does not exist'}, {wanted}")
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            names = file.keys()
            tensors = {name: file.get_tensor(name) for name in names}
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror or error}), {wanted}") from None
    except SafetensorError as error:
        raise InputError(f"{path} is damaged or no safetensors file ({in_one_line(error)}), {wanted}") from None
    if not {what, "sha256"} <= metadata.keys():
        raise InputError(f"{path} is a safetensors file of something else, {wanted}")
    if metadata["sha256"] != _digest(metadata[what], tensors):
        raise InputError(f"{path} is damaged (it has another checksum than when written)")
    return metadata[what], tensors


def tensor_bytes(values: Tensor) -> bytes:
    """In the order of their places, whatever the type."""
    return values.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes()


def _load(path: Path, *, mapped: bool) -> dict[str, Any]:
    try:
        # torch.load takes what it finds: a flipped bit of a weight is another weight.
        with zipfile.ZipFile(path) as file:
            if not mapped and (damaged := file.testzip()):
                raise InputError(f"{path} is damaged (its part {damaged} has another checksum than when written)")
        state = torch.load(path, map_location="cpu", weights_only=True, mmap=mapped)
    except InputError:
        raise
    except FileNotFoundError:
        raise InputError(f"{path} does not exist, wanted a file that torch.save wrote") from None
    except Exception as error:  # a damaged file fails in any way the unpickler can
        raise InputError(f"{path} is damaged or no checkpoint ({in_one_line(error)})") from error
    if not isinstance(state, dict):
        raise InputError(f"{path} holds a {type(state).__name__}, wanted a dictionary of tensors")
    return state


def _digest(values: str, tensors: Mapping[str, Tensor]) -> str:
    digest = hashlib.sha256(values.encode())
    for name, tensor in sorted(tensors.items()):
        digest.update(f"{name} {tensor.dtype} {list(tensor.shape)}".encode())
        digest.update(tensor_bytes(tensor))
    return digest.hexdigest()


def _name_again(path: Path, second: Path) -> None:
    """A second name for a file, so that there is one at ``path`` at every moment."""
    with whole_file(second) as temporary:
        try:
            os.link(path, temporary)
        except OSError:  # a file system without hard links
            shutil.copyfile(path, temporary)
