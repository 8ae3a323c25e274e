"""The GPU: what it is, how fast its memory is by its data sheet and by measurement, and what a launch takes."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from functools import partial
from typing import Any

import torch

from benchmarks.timing import interleaved

COPIED_BYTES = 512 * 2**20  # several times the second-level cache of any GPU
EMPTY = 'extern "C" __global__ void nothing() {}'


def driver_says(*fields: str) -> list[str]:
    """What nvidia-smi answers of the first GPU, with units; "unknown" where there is none, or none that answers."""
    unknown = ["unknown"] * len(fields)
    if shutil.which("nvidia-smi") is None:
        return unknown
    command = ["nvidia-smi", f"--query-gpu={','.join(fields)}", "--format=csv,noheader"]
    answer = subprocess.run(command, capture_output=True, text=True, check=False)
    lines = answer.stdout.splitlines()
    return [field.strip() for field in lines[0].split(",")] if answer.returncode == 0 and lines else unknown


def clocks() -> dict[str, str]:
    """Of multiprocessors and memory, now and at most. A GPU without work has low ones."""
    fields = ("clocks.sm", "clocks.max.sm", "clocks.mem", "clocks.max.mem")
    return dict(zip(fields, driver_says(*fields), strict=True))


def peak_bandwidth(memory_clock_khz: int, bus_bits: int) -> float | None:
    """Bytes a second of memory that moves two words a cycle; None where the driver does not tell."""
    return 2 * memory_clock_khz * 1000 * bus_bits / 8 or None


def describe() -> dict[str, Any]:
    properties = torch.cuda.get_device_properties()
    clock, bits = (
        getattr(properties, name, 0) for name in ("memory_clock_rate", "memory_bus_width")
    )  # not in every torch
    return {
        "name": properties.name,
        "capability": f"{properties.major}.{properties.minor}",
        "multiprocessors": properties.multi_processor_count,
        "memory_bytes": properties.total_memory,
        "l2_bytes": properties.L2_cache_size,
        "memory_clock_khz": clock,
        "memory_bus_bits": bits,
        "peak_bandwidth": peak_bandwidth(clock, bits),
        "driver": driver_says("driver_version")[0],  # torch knows only the CUDA version that it supports
        "cuda": torch.version.cuda,
    }


def copy_bandwidth(device: str = "cuda", size: int = COPIED_BYTES) -> float:
    """Bytes a second, read and written, of a copy too large for the caches: what can be had of the peak."""
    source = torch.zeros(size, dtype=torch.uint8, device=device)
    copy = partial(torch.empty_like(source).copy_, source)
    microseconds = interleaved({"copy": copy}, rounds=15, threads=1, device=device)["copy"]["median"]
    return 2 * size / microseconds * 1e6


def bandwidths() -> dict[str, float]:
    """Bytes a second of a copy and, where it is known, of the data sheet."""
    peak = describe()["peak_bandwidth"]
    return {"copy": copy_bandwidth()} | ({"peak": peak} if peak else {})


def empty_kernel() -> Callable[[], object]:
    """A launch that does nothing: no operation takes less."""
    kernel = torch.cuda._compile_kernel(EMPTY, "nothing")
    return partial(kernel, grid=(1, 1, 1), block=(32, 1, 1))
