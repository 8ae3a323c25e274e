"""What the kernels take beside a copy of the same bytes, from cold caches and at full clocks."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from functools import partial

import torch
from torch import Tensor

from amgan_fast import ops
from benchmarks import gpu
from benchmarks.timing import interleaved
from tools.gpu_check.first_contact.measurement import Figures, Measurement

SHAPES = [
    (1_000_000, 1001),
    (50_000, 4000),
    (4096, 32_001),
    (128, 21_842),
    (8192, 1001),
    (1024, 1001),
    (1024, 101),
    (1_000_000, 11),
    (4096, 11),
]
DTYPES = (torch.float32, torch.bfloat16)
SMALL = (100, 11)
CPU_ELEMENTS = 2**20  # more take too long there
# The operation, and how often the bytes of the logits are read or written at the least.
OPERATIONS: dict[str, tuple[Callable[[Tensor], object], int]] = {
    "am_generator_loss_and_grad": (ops.am_generator_loss_and_grad, 2),
    "class_entropy_and_grad": (ops.class_entropy_and_grad, 2),
    "kplus1_hinge_loss_and_grad": (ops.kplus1_hinge_loss_and_grad, 2),
    "am_generator_loss": (ops.am_generator_loss, 1),
    "score_sums": (ops.score_sums, 1),
    "score_sums, 100 blocks": (partial(ops.score_sums, blocks=100), 1),
}


@functools.cache
def _copy_bandwidth(device: torch.device) -> float:
    return gpu.copy_bandwidth(device.type, gpu.COPIED_BYTES if device.type == "cuda" else 2**22)


def _copy(device: torch.device) -> Figures:
    found: Figures = {"GB/s": _copy_bandwidth(device) / 1e9}
    return found | gpu.clocks() if device.type == "cuda" else found


def _at_shape(shape: tuple[int, int], dtype: torch.dtype, device: torch.device) -> Figures:
    """Microseconds of each operation, and its share of what a copy moves in that time."""
    size = shape[0] * shape[1] * dtype.itemsize
    if device.type == "cuda" and torch.cuda.mem_get_info()[0] < 3 * size:
        return {"not run": f"needs {3 * size / 2**30:.0f} GiB of free GPU memory"}
    x = torch.empty(shape, dtype=dtype, device=device).normal_()
    copy = partial(torch.empty_like(x).copy_, x)
    work = {name: partial(operation, x) for name, (operation, _) in OPERATIONS.items()}
    times = interleaved(work | {"copy": copy}, 9, torch.get_num_threads(), device.type)
    moved = {name: passes for name, (_, passes) in OPERATIONS.items()} | {"copy": 2}
    rate = _copy_bandwidth(device) / 1e6  # bytes a microsecond
    return {
        name: {"us": t["median"], "quartiles": t["quartiles"], "share": moved[name] * size / t["median"] / rate}
        for name, t in times.items()
    }


def _small(device: torch.device) -> Figures:
    """Microseconds of launches that move next to nothing, and how many empty kernels each is worth."""
    real, generated = (torch.randn(SMALL, device=device) for _ in range(2))
    labels = torch.randint(SMALL[1] - 1, SMALL[:1], device=device)
    work: dict[str, Callable[[], object]] = {
        "am_discriminator_loss_and_grad": partial(ops.am_discriminator_loss_and_grad, real, labels, generated),
        "am_generator_loss_and_grad": partial(ops.am_generator_loss_and_grad, generated),
        "score_sums": partial(ops.score_sums, generated),
        "torch.exp": partial(torch.exp, generated),
    }
    empty = {"empty kernel": gpu.empty_kernel()} if device.type == "cuda" else {}
    times = interleaved(empty | work, 51, torch.get_num_threads(), device.type)
    least = times["empty kernel"]["median"] if empty else None
    return {
        name: {"us": t["median"], "quartiles": t["quartiles"]} | ({"of empty": t["median"] / least} if least else {})
        for name, t in times.items()
    }


def kernels(device: torch.device) -> Iterator[Measurement]:
    yield Measurement("copy of 512 MiB" if device.type == "cuda" else "copy", partial(_copy, device))
    yield Measurement("100x11 float32", partial(_small, device))
    for dtype in DTYPES:
        for shape in SHAPES:
            if device.type == "cuda" or shape[0] * shape[1] <= CPU_ELEMENTS:
                name = f"{shape[0]}x{shape[1]} {str(dtype).removeprefix('torch.')}"
                yield Measurement(name, partial(_at_shape, shape, dtype, device))
