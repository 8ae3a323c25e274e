"""A training step of AM-GAN against the plain eager loop that people write, on the same networks.

    python -m benchmarks.bench_train_step [--network conv|paper --batch-size 100 --rounds 7]

The plain loop: layers of torch.nn, float32, a graph through the generator in the discriminator's step, the
discriminator's parameters with gradients in the generator's, F.cross_entropy, one Adam step and one EMA line a
parameter. Ours: ``AdversarialStep`` in float32, and with bfloat16 autocast. Interleaved, medians. Where the time of a
step goes is read off PyTorch's profiler, by operation.

Leaves build/bench_train_step.json and build/bench_train_step.png; some minutes on two cores.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn
from torch.profiler import ProfilerActivity, profile

from amgan_fast.drawing import new_figure, save_figure
from amgan_fast.nn import (
    Discriminator,
    LatentSource,
    Sampler,
    build_discriminator,
    build_generator,
)
from amgan_fast.objectives import AMGAN
from amgan_fast.runs import StepOptions
from amgan_fast.train import AdversarialStep
from benchmarks.machine import describe_machine
from benchmarks.plain_loop import PlainLoop, of_torch
from benchmarks.reports import write_json
from benchmarks.timing import interleaved

FOLDER = Path("build")
CLASSES, LATENT, SHAPE = 10, 100, (3, 32, 32)
KINDS = {
    "convolution": ("conv",),
    "batch norm, leaky ReLU, dropout": ("batch_norm_leaky_dropout", "batchnormleaky", "native_leaky_dropout", "lerp"),
    "batch norm": ("batch_norm", "batchnorm"),
    "leaky ReLU": ("leaky_relu", "leakyrelu"),
    "dropout": ("dropout", "bernoulli", "aten::div_"),
    "noise": ("randn", "normal"),
    "copies": ("copy", "clone", "contiguous", "_to_copy", "aten::to", "cat"),
    "optimiser": ("adam", "foreach", "addcdiv", "addcmul", "aten::sqrt"),
    "linear": ("mm", "linear", "addmm"),
}


def networks(network: str) -> tuple[nn.Module, Discriminator]:
    torch.manual_seed(0)
    return build_generator(network, LATENT, SHAPE), build_discriminator(network, CLASSES + 1, SHAPE)


def ours(network: str, **options: Any) -> AdversarialStep:
    settings = StepOptions(generator_lr=4e-4, discriminator_lr=4e-4, ema_decay=0.999, **options)
    random = torch.Generator().manual_seed(0)
    generator, discriminator = networks(network)
    return AdversarialStep(Sampler(generator, LatentSource(LATENT)), discriminator, AMGAN(), random, settings)


def where_time_goes(step: Callable[[Tensor, Tensor], None], images: Tensor, labels: Tensor) -> dict[str, float]:
    """Milliseconds of a step by kind of operation, each operation's own time."""
    step(images, labels)
    with profile(activities=[ProfilerActivity.CPU]) as profiler:
        step(images, labels)
    times = dict.fromkeys([*KINDS, "everything else"], 0.0)
    for event in profiler.key_averages():
        kind = next((k for k, words in KINDS.items() if any(w in event.key.lower() for w in words)), "everything else")
        times[kind] += event.self_cpu_time_total / 1000
    return times


def draw(path: Path, times: dict[str, dict[str, float]]) -> None:
    figure = new_figure()
    (axes,) = figure.axes
    start = dict.fromkeys(times, 0.0)
    for kind in next(iter(times.values())):
        widths = [one[kind] for one in times.values()]
        axes.barh(list(times), widths, left=list(start.values()), label=kind)
        start = {name: start[name] + width for name, width in zip(times, widths, strict=True)}
    axes.set(title="Where a step's time goes", xlabel="ms, by PyTorch's profiler")
    axes.invert_yaxis()
    axes.legend(fontsize=7)
    save_figure(path, figure)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--network", default="conv")
    parser.add_argument("--batch-size", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--compile", action="store_true", help="our steps under torch.compile too")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    images, labels = torch.randn(options.batch_size, *SHAPE).clamp(-1, 1), torch.randint(CLASSES, (options.batch_size,))
    steps: dict[str, Callable[[Tensor, Tensor], None]] = {
        "plain eager": PlainLoop(*map(of_torch, networks(options.network)), classes=CLASSES, latent_size=LATENT),
        "ours, float32": ours(options.network),
        "ours, bfloat16": ours(options.network, precision="bfloat16"),
    }
    if options.compile:
        steps["float32, compiled"] = ours(options.network, compile=True)
        steps["bfloat16, compiled"] = ours(options.network, precision="bfloat16", compile=True)
    work = {name: lambda step=step: step(images, labels) for name, step in steps.items()}
    times = interleaved(work, options.rounds, options.threads, "cpu")
    kinds = {name: where_time_goes(step, images, labels) for name, step in steps.items()}
    write_json(
        FOLDER / "bench_train_step.json",
        {
            "machine": describe_machine("cpu", options.threads),
            "network": options.network,
            "batch_size": options.batch_size,
            "microseconds": times,
            "milliseconds_by_kind": kinds,
        },
    )
    draw(FOLDER / "bench_train_step.png", kinds)
    table = Table(title=f"{options.network}, batch of {options.batch_size}, {options.threads} threads")
    for column in ("step", "ms", "images/s", "plain / this"):
        table.add_column(column, justify="left" if column == "step" else "right")
    for name, one in times.items():
        ratio = times["plain eager"]["median"] / one["median"]
        rate = options.batch_size / one["median"] * 1e6
        table.add_row(name, f"{one['median'] / 1000:.1f}", f"{rate:,.0f}", f"{ratio:.2f}")
    Console(width=100).print(table)


if __name__ == "__main__":
    main()
