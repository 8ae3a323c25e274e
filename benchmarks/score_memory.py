"""Memory and rate of ScoreAccumulator over a stream of N x 1,000 float32 logits.

    python -m benchmarks.score_memory [--rows 1000000]

Batches are windows into one random buffer, so that neither making nor keeping logits counts. Memory is what the
process holds (VmRSS, Linux only), and at the end its peak (VmHWM), beyond what it held after the first batch.

Leaves build/score_memory.json and build/score_memory.png.
"""

from __future__ import annotations

import argparse
import math
import time
from pathlib import Path

import torch
from rich.console import Console
from rich.progress import track

from amgan_fast.drawing import new_figure, save_figure
from amgan_fast.metrics import ScoreAccumulator, Scores
from benchmarks.machine import describe_machine, peak_since, resident_mib, start_peak
from benchmarks.reports import write_json

FOLDER = Path("build")
CLASSES, BATCH, BATCHES_BUFFERED, SPREAD = 1000, 1000, 20, 3.0
SAMPLES = 100  # of memory


def stream(rows: int) -> tuple[list[dict[str, float]], float | None, Scores]:
    """Rows, seconds and MiB held along the way; the peak; the scores."""
    buffer = SPREAD * torch.randn(BATCHES_BUFFERED * BATCH, CLASSES, generator=torch.Generator().manual_seed(0))
    accumulator = ScoreAccumulator(CLASSES)
    accumulator.update(buffer[:BATCH])
    start_mib, start = start_peak("cpu"), time.perf_counter()
    along_the_way = []
    batches = rows // BATCH
    for i in track(range(1, batches), "streaming", console=Console(stderr=True)):
        at = 37 * i % ((BATCHES_BUFFERED - 1) * BATCH)
        accumulator.update(buffer[at : at + BATCH])
        if i % max(1, batches // SAMPLES) == 0:
            mib = resident_mib("VmRSS") or math.nan
            seconds = time.perf_counter() - start
            along_the_way.append({"rows": accumulator.samples, "seconds": seconds, "mib": mib})
    return along_the_way, peak_since(start_mib, "cpu"), accumulator.compute()


def draw(path: Path, along_the_way: list[dict[str, float]]) -> None:
    figure = new_figure()
    (axes,) = figure.axes
    million = [one["rows"] / 1e6 for one in along_the_way]
    axes.plot(million, [one["mib"] for one in along_the_way], label="process, torch included")
    axes.plot(million, [one["rows"] * CLASSES * 4 / 2**20 for one in along_the_way], "--", label="all logits")
    axes.set(title="memory [MiB]", xlabel=f"million rows of {CLASSES} logits", yscale="log")
    axes.legend()
    save_figure(path, figure)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000, help=f"a multiple of {BATCH:,}, at least two of it")
    rows = parser.parse_args().rows
    if rows % BATCH or rows < 2 * BATCH:
        parser.error(f"--rows {rows}: wanted a multiple of {BATCH}, at least {2 * BATCH}")
    along_the_way, peak, scores = stream(rows)
    report = {
        "machine": describe_machine("cpu", torch.get_num_threads()),
        "rows": rows,
        "classes": CLASSES,
        "batch": BATCH,
        "peak_mib_beyond_first_batch": peak,
        "rows_per_second": (along_the_way[-1]["rows"] - BATCH) / along_the_way[-1]["seconds"],
        "along_the_way": along_the_way,
    }
    write_json(FOLDER / "score_memory.json", report)
    draw(FOLDER / "score_memory.png", along_the_way)
    held = [one["mib"] for one in along_the_way]
    print(scores)
    print(f"{report['rows_per_second']:,.0f} rows a second; {min(held):.1f} to {max(held):.1f} MiB resident")
    print(f"peak: {peak:.1f} MiB more than after the first batch")


if __name__ == "__main__":
    main()
