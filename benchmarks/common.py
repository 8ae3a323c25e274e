"""What the benchmarks share: the machine, interleaved timing on CPU and GPU, and their files."""

from __future__ import annotations

import ctypes
import json
import os
import platform
import statistics
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch.utils.benchmark import Timer

import amgan_fast
from amgan_fast import files

ROUND_SECONDS = 0.01  # of repetitions that one measurement averages over
FLUSH_BYTES = 256 * 2**20  # more than the second-level cache of any GPU
SHARES = ("share of copy", "share of peak")  # of a GPU's bandwidth, among the ratios of bench_ops.py


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


def machine(device: str, threads: int) -> dict[str, Any]:
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


def _once_on_cpu(work: Callable[[], object], threads: int) -> Callable[[], float]:
    """Seconds of one call, averaged over as many as take ROUND_SECONDS."""
    timer = Timer("work()", globals={"work": work}, num_threads=threads)
    repeats = max(1, int(ROUND_SECONDS / timer.timeit(3).median))
    return lambda: timer.timeit(repeats).median


def _once_on_cuda(work: Callable[[], object]) -> Callable[[], float]:
    """Seconds of one call between events, from a cold second-level cache."""
    flush = torch.empty(FLUSH_BYTES, dtype=torch.int8, device="cuda")
    start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    work()

    def once() -> float:
        flush.zero_()
        start.record()
        work()
        end.record()
        end.synchronize()
        return start.elapsed_time(end) / 1000

    return once


def interleaved(
    work: Mapping[str, Callable[[], object]], rounds: int, threads: int, device: str
) -> dict[str, dict[str, Any]]:
    """Microseconds of each kind of work, taken in turn, so that drift of the machine falls on all alike."""
    once = {name: _once_on_cuda(run) if device == "cuda" else _once_on_cpu(run, threads) for name, run in work.items()}
    times: dict[str, list[float]] = {name: [] for name in work}
    for _ in range(rounds):
        for name, measure in once.items():
            times[name].append(measure() * 1e6)
    return {name: {"median": statistics.median(t), "quartiles": _quartiles(t)} for name, t in times.items()}


def _quartiles(values: list[float]) -> list[float]:
    """Python before 3.13 refuses one value alone."""
    return statistics.quantiles(values, n=4)[::2] if len(values) > 1 else 2 * values


def write_text(path: Path, text: str) -> None:
    """Whole or not at all; the folder is made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    files.write_text(path, text)


def write_json(path: Path, report: dict[str, Any]) -> None:
    """Writes the report; the one it replaces stays beside it, for compare.py."""
    text = json.dumps(report, indent=1)
    if path.exists():
        path.replace(path.with_suffix(".previous.json"))
    write_text(path, text)
