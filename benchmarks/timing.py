"""Interleaved timing on CPU and GPU."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence
from itertools import cycle
from typing import Any

import torch
from torch.utils.benchmark import Timer

ROUND_SECONDS = 0.01  # of repetitions that one measurement averages over
FLUSH_BYTES = 256 * 2**20  # more than the second-level cache of any GPU


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


def taking_turns(calls: Sequence[Callable[[], object]]) -> Callable[[], object]:
    """Each call of the result is the next of them, again and again."""
    turn = cycle(calls)
    return lambda: next(turn)()
