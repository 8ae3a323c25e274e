"""Classification in float32 as it is meant, whatever faster precision PyTorch is set to.

TF32 keeps 11 of the 24 bits of what it multiplies: logits err by 1e-3 of themselves and borderline images change
class, so that scores of a GPU would be no other's. PyTorch uses it for convolutions on CUDA by default, and for matrix
products where asked to.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch

_FASTER = ("tf32", "bf16")


@contextmanager
def full_precision() -> Iterator[None]:
    """Convolutions and matrix products of float32 in float32; afterwards PyTorch is set as before. Other dtypes are
    left alone. What convolutions have because nothing was ever set is set then, as by ``torch.backends.cudnn.flags``:
    who changes ``torch.backends.fp32_precision`` later changes that of ``torch.backends.cudnn.conv``, too.

    >>> import torch
    >>> from amgan_fast.evaluate.full_precision import full_precision
    >>> with full_precision():
    ...     torch.backends.cudnn.allow_tf32
    False
    >>> torch.backends.cudnn.allow_tf32
    True
    """
    backends: Any = torch.backends
    cudnn, older_matmul = backends.cudnn, torch.get_float32_matmul_precision
    with (
        _without_faster(
            (cudnn.conv, cudnn.rnn, backends.mkldnn.conv),
            lambda: cudnn.allow_tf32,
            lambda on: setattr(cudnn, "allow_tf32", on),
            False,
        ),
        _without_faster(
            (backends.cuda.matmul, backends.mkldnn.matmul), older_matmul, torch.set_float32_matmul_precision, "highest"
        ),
    ):
        yield


@contextmanager
def _without_faster(
    parts: Sequence[Any], get: Callable[[], Any], put: Callable[[Any], None], full: Any
) -> Iterator[None]:
    """PyTorch has two interfaces to this, and raises where one is asked that does not know what the other was told:
    both are told, the older one as long as it can be asked.

    Args:
        parts: of ``torch.backends``, each with its ``fp32_precision``.
        get, put: the older interface to all of them.
        full: what that calls float32.
    """
    before = [part.fp32_precision for part in parts]
    if not set(_FASTER) & set(before):
        yield
        return
    try:
        older = get()
    except RuntimeError:
        older = None
    try:
        if older is not None:
            put(full)
        for part in parts:
            if part.fp32_precision in _FASTER:  # it has that from what it is a part of
                part.fp32_precision = "ieee"
        yield
    finally:
        if older is not None:
            put(older)
        for part, precision in zip(parts, before, strict=True):
            part.fp32_precision = "none"  # that of what it is a part of, which the user may change later
            if part.fp32_precision != precision:
                part.fp32_precision = precision
