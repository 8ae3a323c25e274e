"""The identity of a classifier's weights."""

from __future__ import annotations

import hashlib
from pathlib import Path

from torch import Tensor, nn

from amgan_fast.tensor_files import tensor_bytes


def file_sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()


def weights_sha256(network: nn.Module) -> str:
    """SHA-256 of the names and values of all tensors in the state of a network, in the order of their names."""
    digest = hashlib.sha256()
    for name, value in sorted(network.state_dict().items()):
        if isinstance(value, Tensor):  # a module may keep other things there
            digest.update(name.encode())
            digest.update(tensor_bytes(value))
    return digest.hexdigest()
