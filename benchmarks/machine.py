"""The machine that is measured, and the memory of its processes."""

from __future__ import annotations

import argparse
import ctypes
import os
import platform
from pathlib import Path
from typing import Any

import torch

import amgan_fast

MIB = 2**20


def last_level_cache() -> int:
    """Bytes of the largest cache of the first CPU; 32 MiB where the system does not say."""
    sizes = Path("/sys/devices/system/cpu/cpu0/cache").glob("index*/size")
    return max((int(path.read_text().rstrip("K\n")) * 1024 for path in sizes), default=32 * 2**20)


def keep_freed_memory() -> None:
    """Stops glibc from handing freed memory back to the system, which it does or not depending on what was freed
    before: a fresh output of 4 MB then costs 1,000 page faults or none, whoever computes it."""
    trim_threshold, mmap_threshold = -1, -3  # M_TRIM_THRESHOLD and M_MMAP_THRESHOLD of malloc.h
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(trim_threshold, 2**30)
        mallopt(mmap_threshold, 2**25)  # the largest that is taken


def add_device(parser: argparse.ArgumentParser) -> None:
    def usable(device: str) -> str:
        if device == "cuda" and not torch.cuda.is_available():
            raise argparse.ArgumentTypeError("torch sees no GPU")
        return device

    parser.add_argument("--device", type=usable, choices=["cpu", "cuda"], default="cpu")


def describe_machine(device: str, threads: int) -> dict[str, Any]:
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    names = [line.split(":")[1].strip() for line in lines if "model name" in line]
    return {
        "cpu": names[0] if names else platform.processor(),
        "cpus": os.cpu_count(),
        "gpu": torch.cuda.get_device_name() if device == "cuda" else None,
        "threads": threads,
        "torch": torch.__version__,
        "build": amgan_fast.build_info(),
    }


def resident_mib(field: str) -> float | None:
    """Of this process: "VmRSS" now, "VmHWM" at most; None where the system does not tell.

    ru_maxrss will not do: a process starts with that of the one that started it.
    """
    status = Path("/proc/self/status")
    if not status.exists():
        return None
    lines = dict(line.split(":", 1) for line in status.read_text().splitlines())
    return int(lines[field].split()[0]) / 1024


def start_peak(device: str) -> float | None:
    """MiB in use; the peak counts from here."""
    if device == "cuda":
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
        return torch.cuda.memory_allocated() / MIB
    if Path("/proc/self/clear_refs").exists():
        Path("/proc/self/clear_refs").write_text("5")  # VmHWM = VmRSS
    return resident_mib("VmRSS")


def peak_since(start: float | None, device: str) -> float | None:
    peak = torch.cuda.max_memory_allocated() / MIB if device == "cuda" else resident_mib("VmHWM")
    return None if start is None or peak is None else peak - start
