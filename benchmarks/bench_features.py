"""Features to a Fréchet distance: ours, torchmetrics and torch-fidelity, given the same features in the same batches.

    python -m benchmarks.bench_features [--samples 50000] [--dim 2048] [--rounds 3] [--memory]

Two sets of float32 features, max(0, W x) of normal x whose variances fall from 1 to 1e-6, in batches of 256, in turn.
Seconds are those of the processor, so that what else a machine does counts little (with ``--threads 1``):

    accumulate   ours: FeatureMoments; torchmetrics: update; torch-fidelity keeps all features in a list
    compute      ours: the distance alone, of exact moments; torchmetrics: compute; torch-fidelity: its functions for
                 statistics and for the metric
    interval     ours: frechet_distance, with the corrected distance and its interval, which no other tool has

``--memory`` measures instead what a process holds at most that accumulates both sets and takes their means and
covariances, for several numbers of samples, and draws it: build/feature_memory.png.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn

from amgan_fast.drawing import drawable, new_figure, save_figure
from amgan_fast.metrics import FeatureMoments, FrechetDistance, GaussianMoments, frechet_distance
from benchmarks.feature_score_study import Population
from benchmarks.machine import describe_machine
from benchmarks.process_memory import peak_of
from benchmarks.reports import write_json

BATCH = 256
SIZES = (1_000, 5_000, 10_000, 20_000, 50_000)
LEAST_VARIANCE = -6  # its logarithm to base 10


def sources(dim: int) -> list[Population]:
    """Of both sets."""
    rotation = torch.linalg.qr(torch.randn(dim, dim, generator=torch.Generator().manual_seed(0)))[0].double()
    scale = torch.logspace(0, LEAST_VARIANCE / 2, dim).double()
    growths = (torch.linspace(1.2, 1, dim).double(), torch.ones(dim).double())
    return [Population((scale * growth).square(), rotation) for growth in growths]


def make_features(samples: int, dim: int) -> list[Tensor]:
    """Two sets [N, D], float32."""
    generator = torch.Generator().manual_seed(1)
    parts = [len(part) for part in torch.empty(samples, 0).split(4096)]
    return [torch.cat([source.draw(part, generator).float() for part in parts]) for source in sources(dim)]


class Ours:
    def __init__(self, dim: int) -> None:
        self.sides = [FeatureMoments(dim) for _ in range(2)]

    def add(self, number: int, batches: Sequence[Tensor]) -> None:
        for batch in batches:
            self.sides[number].update(batch)
        assert sum(self.sides[number].block_samples)  # nothing waits to be added then

    def moments(self) -> list[GaussianMoments]:
        return [GaussianMoments(side.mean, side.covariance) for side in self.sides]

    def compute(self) -> float:
        return frechet_distance(*self.moments()).value

    def interval(self) -> FrechetDistance:
        return frechet_distance(*self.sides)


class Torchmetrics:
    def __init__(self, dim: int) -> None:
        from torchmetrics.image.fid import FrechetInceptionDistance

        class Identity(nn.Module):
            num_features = dim

            def forward(self, images: Tensor) -> Tensor:
                return images.flatten(1)

        self.metric = FrechetInceptionDistance(feature=Identity())

    def add(self, number: int, batches: Sequence[Tensor]) -> None:
        for batch in batches:
            self.metric.update(batch[:, :, None, None], real=bool(number))

    def moments(self) -> object:
        """Within compute; no method has them alone."""
        return None

    def compute(self) -> float:
        return float(self.metric.compute())


class TorchFidelity:
    def __init__(self, dim: int) -> None:
        del dim
        self.kept: list[list[Tensor]] = [[], []]

    def add(self, number: int, batches: Sequence[Tensor]) -> None:
        self.kept[number] += [batch.clone() for batch in batches]

    def moments(self) -> list[Any]:
        from torch_fidelity.metric_fid import fid_features_to_statistics

        return [fid_features_to_statistics(torch.cat(batches)) for batches in self.kept]

    def compute(self) -> float:
        from torch_fidelity.metric_fid import fid_statistics_to_metric

        return float(fid_statistics_to_metric(*self.moments(), verbose=False)["frechet_inception_distance"])


TOOLS: dict[str, tuple[str, Callable[[int], Any]]] = {
    "ours": ("amgan_fast", Ours),
    "torchmetrics": ("torchmetrics", Torchmetrics),
    "torch-fidelity": ("torch_fidelity", TorchFidelity),
}


def accumulate(tool: Any, sets: Sequence[Tensor]) -> None:
    for number, rows in enumerate(sets):
        tool.add(number, rows.split(BATCH))


def measure(tools: Sequence[str], sets: Sequence[Tensor], rounds: int) -> dict[str, dict[str, Any]]:
    """Seconds of each step, and what came out."""
    results: dict[str, dict[str, Any]] = {name: {} for name in tools}
    for _ in range(rounds):
        for name in tools:
            tool = TOOLS[name][1](sets[0].size(1))
            seconds, values = results[name].setdefault("seconds", {}), results[name]
            taken, _ = timed(partial(accumulate, tool, sets))
            seconds.setdefault("accumulate", []).append(taken)
            taken, values["value"] = timed(tool.compute)
            seconds.setdefault("compute", []).append(taken)
            if isinstance(tool, Ours):
                taken, found = timed(tool.interval)
                seconds.setdefault("interval", []).append(taken)
                values["distance"] = found.to_dict()
    return results


def hold(name: str, samples: int, dim: int) -> None:
    """What :func:`memory` measures; features are windows into one buffer, so that theirs does not count."""
    buffer = torch.randn(2 * BATCH, dim, generator=torch.Generator().manual_seed(0))
    windows = [buffer[(37 * i) % BATCH :][: min(BATCH, samples - i)] for i in range(0, samples, BATCH)]
    tool = TOOLS[name][1](dim)
    for number in range(2):
        tool.add(number, windows)
    tool.moments()


def memory(tools: Sequence[str], dim: int) -> dict[str, list[float | None]]:
    """MiB at most, for each number of samples."""
    command = [sys.executable, "-m", "benchmarks.bench_features", "--dim", str(dim), "--hold"]
    return {name: [peak_of([*command, name, "--samples", str(samples)]) for samples in SIZES] for name in tools}


def draw(path: Path, found: dict[str, list[float | None]], dim: int) -> None:
    figure = new_figure()
    (axes,) = figure.axes
    for name, mib in found.items():
        axes.plot(SIZES, drawable(mib), "o-", label=name)
    title = "memory of a process, torch included [MiB]"
    axes.set(title=title, xlabel=f"samples of {dim:,} features, of two sets each", ylim=(0, None))
    axes.legend()
    save_figure(path, figure)


def timed(work: Callable[[], Any]) -> tuple[float, Any]:
    """Seconds that the process had the processor for, its threads added up."""
    start = time.process_time()
    result = work()
    return time.process_time() - start, result


def show(results: dict[str, dict[str, Any]]) -> None:
    table = Table(title="seconds of the processor, median")
    for column in ("tool", "accumulate", "compute", "both", "times ours to accumulate", "interval", "distance"):
        table.add_column(column, justify="right")
    medians = {
        name: {step: statistics.median(taken) for step, taken in one["seconds"].items()}
        for name, one in results.items()
    }
    for name, one in medians.items():
        both = one["accumulate"] + one["compute"]
        ratio = f"{both / medians['ours']['accumulate']:.1f}" if "ours" in medians else ""
        cells = [f"{one['accumulate']:.2f}", f"{one['compute']:.2f}", f"{both:.2f}", ratio]
        interval = f"{one['interval']:.2f}" if "interval" in one else ""
        table.add_row(name, *cells, interval, f"{results[name]['value']:.9g}")
    Console(width=120).print(table)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--samples", type=int, default=50_000)
    parser.add_argument("--dim", type=int, default=2048)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--tools", nargs="+", choices=list(TOOLS), default=list(TOOLS))
    parser.add_argument("--json", type=Path, default=Path("build/bench_features.json"))
    parser.add_argument("--memory", action="store_true")
    parser.add_argument("--hold", choices=list(TOOLS), help=argparse.SUPPRESS)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    if options.hold:
        hold(options.hold, options.samples, options.dim)
        return
    tools = [name for name in options.tools if find_spec(TOOLS[name][0]) is not None]
    if options.memory:
        found = memory(tools, options.dim)
        write_json(options.json.with_name("feature_memory.json"), {"dim": options.dim, "samples": SIZES, "mib": found})
        draw(options.json.with_name("feature_memory.png"), found, options.dim)
        return
    results = measure(tools, make_features(options.samples, options.dim), options.rounds)
    report = {
        "machine": describe_machine("cpu", options.threads),
        "samples": options.samples,
        "dim": options.dim,
        "batch": BATCH,
        "results": results,
        "exact": frechet_distance(*(source.moments() for source in sources(options.dim))).value,
    }
    write_json(options.json, report)
    show(results)
    print(f"of infinitely many samples: {report['exact']:.9g}")


if __name__ == "__main__":
    main()
