"""Bandwidth over the number of columns: of scores, and of a loss with its gradient, beside sums and copies."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch

from amgan_fast import ops
from amgan_fast.drawing import new_figure, save_figure
from benchmarks.machine import last_level_cache
from benchmarks.timing import interleaved, taking_turns

CLASSES = [2, 5, 10, 16, 24, 32, 48, 64, 65, 101, 201, 501, 1001, 4001, 10_001, 21_842]
ELEMENTS = 4_000_000


def measure(classes: int, threads: int, device: str) -> dict[str, Any]:
    """GB/s of reading (scores), and of reading and writing (loss with gradient), from memory: each call takes the next
    of so many arrays that the first has left the caches when its turn comes again."""
    shape = (ELEMENTS // classes, classes)
    size = 4 * shape[0] * classes
    arrays = 4 * last_level_cache() // size + 1 if device == "cpu" else 1
    logits = [torch.randn(shape, device=device) for _ in range(arrays)]
    outs = [torch.empty_like(x) for x in logits]
    work: dict[str, list[Callable[[], object]]] = {
        "score_sums": [partial(ops.score_sums, x) for x in logits],
        "sum": [x.sum for x in logits],
        "am_generator_loss_and_grad": [partial(ops.am_generator_loss_and_grad, x) for x in logits],
        "copy": [partial(out.copy_, x) for x, out in zip(logits, outs, strict=True)],
    }
    times = interleaved({name: taking_turns(calls) for name, calls in work.items()}, 5, threads, device)
    reads = {"score_sums": 1, "sum": 1, "am_generator_loss_and_grad": 2, "copy": 2}
    return {"classes": classes} | {name: reads[name] * size / t["median"] / 1000 for name, t in times.items()}


def draw(points: list[dict[str, Any]], path: Path) -> None:
    figure = new_figure(panels=2)
    pairs = ("score_sums", "sum"), ("am_generator_loss_and_grad", "copy")
    for axes, (ours, limit) in zip(figure.axes, pairs, strict=True):
        classes = [point["classes"] for point in points]
        axes.plot(classes, [point[limit] for point in points], "--", color="gray", label=f"limit: {limit}")
        axes.plot(classes, [point[ours] for point in points], "o-", label=ours)
        axes.set(xscale="log", xlabel="columns", ylabel="GB/s", ylim=(0, None))
        axes.legend()
    figure.suptitle(f"Bandwidth over the number of columns, {ELEMENTS:,} float32 logits from memory")
    save_figure(path, figure)
