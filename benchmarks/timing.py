"""Interleaved timing on CPU and GPU."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from itertools import cycle
from typing import Any

import torch
from torch.utils.benchmark import Timer

ROUND_SECONDS = 0.01  # of repetitions that one measurement averages over
FLUSHED_CACHES = 5  # what is read to empty a GPU's second-level cache, in times its size
WARM_SECONDS = 0.3  # until a GPU that was idle runs at its full clock
CYCLES_A_SECOND = 2e9  # of a GPU; a slower one is kept busy for longer, which does no harm


def _once_on_cpu(work: Callable[[], object], threads: int) -> Callable[[], float]:
    """Seconds of one call, averaged over as many as take ROUND_SECONDS."""
    timer = Timer("work()", globals={"work": work}, num_threads=threads)
    repeats = max(1, int(ROUND_SECONDS / timer.timeit(3).median))
    return lambda: timer.timeit(repeats).median


def flush_of_caches() -> Callable[[], object]:
    """Reads through so much memory that nothing else is left in the second-level cache, and nothing that has to be
    written back: writing instead would leave the next kernel to do that."""
    size = FLUSHED_CACHES * torch.cuda.get_device_properties().L2_cache_size
    return torch.zeros(size // 4, device="cuda").sum


def host_seconds(work: Callable[[], object]) -> float:
    """What the host takes to hand a call to the GPU."""
    torch.cuda.synchronize()
    start = time.perf_counter()
    work()
    seconds = time.perf_counter() - start
    torch.cuda.synchronize()
    return seconds


def _once_on_cuda(work: Callable[[], object], flush: Callable[[], object]) -> Callable[[], float]:
    """Seconds of one call between events, from a cold second-level cache. The GPU waits before the first event until
    the host has handed it everything: else the gap between two launches would count, too."""
    start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    work()
    head_start = int(CYCLES_A_SECOND * (1e-4 + 2 * host_seconds(work)))

    def once() -> float:
        flush()
        torch.cuda._sleep(head_start)
        start.record()
        work()
        end.record()
        end.synchronize()
        return start.elapsed_time(end) / 1000

    return once


def _warm_up(flush: Callable[[], object]) -> None:
    """Clocks fall while a GPU waits for its host, as it does while something compiles."""
    end = time.perf_counter() + WARM_SECONDS
    while time.perf_counter() < end:
        flush()
        torch.cuda.synchronize()


def interleaved(
    work: Mapping[str, Callable[[], object]], rounds: int, threads: int, device: str
) -> dict[str, dict[str, Any]]:
    """Microseconds of each kind of work, taken in turn, so that drift of the machine falls on all alike."""
    if device == "cuda":
        flush = flush_of_caches()
        once = {name: _once_on_cuda(run, flush) for name, run in work.items()}
        _warm_up(flush)
    else:
        once = {name: _once_on_cpu(run, threads) for name, run in work.items()}
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
