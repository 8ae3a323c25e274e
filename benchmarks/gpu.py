"""The GPU: what it is, and how fast its memory is by its data sheet and by measurement."""

from __future__ import annotations

import shutil
import subprocess
from functools import partial
from typing import Any

import torch

from benchmarks.timing import interleaved

COPIED_BYTES = 512 * 2**20  # several times the second-level cache of any GPU


def driver_version() -> str:
    """The driver's release; torch knows only the CUDA version that it supports."""
    if shutil.which("nvidia-smi") is None:
        return "unknown"
    command = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
    answer = subprocess.run(command, capture_output=True, text=True, check=False)
    return answer.stdout.split()[0] if answer.returncode == 0 and answer.stdout.strip() else "unknown"


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
        "memory_clock_khz": clock,
        "memory_bus_bits": bits,
        "peak_bandwidth": peak_bandwidth(clock, bits),
        "driver": driver_version(),
        "cuda": torch.version.cuda,
    }


def copy_bandwidth() -> float:
    """Bytes a second, read and written, of a copy too large for the caches: what can be had of the peak."""
    source = torch.zeros(COPIED_BYTES, dtype=torch.uint8, device="cuda")
    copy = partial(torch.empty_like(source).copy_, source)
    microseconds = interleaved({"copy": copy}, rounds=15, threads=1, device="cuda")["copy"]["median"]
    return 2 * COPIED_BYTES / microseconds * 1e6


def bandwidths() -> dict[str, float]:
    """Bytes a second of a copy and, where it is known, of the data sheet."""
    peak = describe()["peak_bandwidth"]
    return {"copy": copy_bandwidth()} | ({"peak": peak} if peak else {})
