"""The device and the threads that a run computes with."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

import torch

from amgan_fast import build_info
from amgan_fast.errors import InputError, as_input_error
from amgan_fast.option_checks import check_range

MOST_THREADS = 1024
"""Of a CPU that a run may ask for: PyTorch starts as many as it is told."""


def resolve_device(name: str) -> torch.device:
    """``"auto"`` is CUDA where PyTorch sees a GPU and this build has CUDA kernels, else the CPU.

    Raises:
        InputError: ``"cuda"``, and one of the two is missing.

    >>> from amgan_fast.device import resolve_device
    >>> resolve_device("cpu")
    device(type='cpu')
    """
    info = build_info()
    available = torch.cuda.is_available()
    if name == "cuda" and not available:
        raise InputError("device is cuda and PyTorch sees no CUDA GPU here, wanted --device cpu or auto")
    if name == "cuda" and not info["cuda"]:
        raise InputError(f"device is cuda and no CUDA kernels were built ({info['cuda_reason']}), wanted --device cpu")
    return torch.device("cuda" if available and info["cuda"] and name != "cpu" else "cpu")


def current_gpu(device: torch.device) -> AbstractContextManager:
    """Within it ``device`` is what CUDA uses where none is named: streams, events, pinned memory. Nothing on a CPU."""
    return torch.cuda.device(device) if device.type == "cuda" else nullcontext()


@contextmanager
def cpu_threads(count: int) -> Iterator[None]:
    """Let PyTorch use ``count`` CPU threads, 0 for what it uses now, and restore the number at the end.

    Raises:
        InputError: more than :data:`MOST_THREADS`.
    """
    with as_input_error():
        check_range("threads", count, 0, MOST_THREADS)
    before = torch.get_num_threads()
    torch.set_num_threads(count or before)
    try:
        yield
    finally:
        torch.set_num_threads(before)
