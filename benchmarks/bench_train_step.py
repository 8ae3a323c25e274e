"""A training step of AM-GAN against the plain eager loop that people write, on the same networks.

    python -m benchmarks.bench_train_step [--device cpu|cuda --network conv|paper --batch-size 100 --rounds 7]
                                         [--precision float32]

The plain loop: layers of torch.nn, float32, a graph through the generator in the discriminator's step, the
discriminator's parameters with gradients in the generator's, F.cross_entropy, one Adam step and one EMA line a
parameter. The same loop with our losses says what these are worth where all else stays as it is. Ours:
``AdversarialStep`` in float32, with bfloat16 autocast, each also with ``share_latents``, which is another algorithm,
and on a GPU as one CUDA graph each, which gathers its batch itself. Interleaved, medians of wall time; on a GPU of so
many steps that the host is ahead. Processors without instructions for bfloat16 take minutes for a step in it:
``--precision float32`` leaves it out.

The time of a step's parts, the data's among them, is that between events on a GPU and wall time on a CPU, of steps that
are not captured. By kind of operation it is read off PyTorch's profiler.

Leaves build/bench_train_step.json and build/bench_train_step.png; some minutes on two cores.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn
from torch.autograd import DeviceType
from torch.profiler import ProfilerActivity, profile

from amgan_fast.data import Batches, to_float
from amgan_fast.drawing import new_figure, save_figure
from amgan_fast.nn import (
    NETWORKS,
    Classifier,
    Discriminator,
    LatentSource,
    Sampler,
    build_discriminator,
    build_generator,
    network_options,
)
from amgan_fast.objectives import AMGAN
from amgan_fast.ops import am_discriminator_loss, am_generator_loss
from amgan_fast.runs import StepOptions
from amgan_fast.runs.step_options import PRECISIONS
from amgan_fast.train import AdversarialStep
from amgan_fast.train.capture import CapturedStep
from benchmarks.machine import add_device, describe_machine
from benchmarks.plain_loop import PlainLoop, of_torch
from benchmarks.reports import write_json
from benchmarks.step_parts import StepParts
from benchmarks.timing import interleaved

FOLDER = Path("build")
CLASSES, LATENT, SHAPE = 10, 100, (3, 32, 32)
IMAGES = 10_000  # of the training set, of random pixels
STEPS_ON_CUDA = 20  # a measurement
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


def networks(network: str, device: str, classes: int = 0, **changes: Any) -> tuple[nn.Module, Discriminator]:
    """``classes``: of predefined labels; ``changes`` are to the network's own options."""
    torch.manual_seed(0)
    options = network_options(network, **changes)
    generator = build_generator(network, LATENT + classes, SHAPE, options, classes=classes).to(device)
    return generator, build_discriminator(network, AMGAN(), CLASSES, SHAPE, options).to(device)


def ours(
    network: str,
    device: str,
    network_changes: dict[str, Any] | None = None,
    guide: Classifier | None = None,
    classes: int = 0,
    **options: Any,
) -> AdversarialStep:
    """With predefined labels where there are ``classes``."""
    settings = StepOptions(generator_lr=4e-4, discriminator_lr=4e-4, ema_decay=0.999, **options)
    random = torch.Generator(device).manual_seed(0)
    generator, discriminator = networks(network, device, classes, **(network_changes or {}))
    sampler = Sampler(generator, LatentSource(LATENT, torch.full((classes,), 1 / classes) if classes else None))
    return AdversarialStep(sampler, discriminator, AMGAN(), random, settings, guide=guide)


def plain(network: str, device: str, **losses: Any) -> PlainLoop:
    return PlainLoop(*map(of_torch, networks(network, device)), latent_size=LATENT, **losses)


def training_set(batch_size: int, device: str) -> Batches:
    images = torch.randint(256, (IMAGES, *SHAPE), dtype=torch.uint8, device=device)
    return Batches(images, torch.randint(CLASSES, (IMAGES,), device=device), batch_size, seed=0)


def captured(step: AdversarialStep, batches: Batches) -> Callable[[Tensor, Tensor], None]:
    """Steps on the batches of a training set, whatever batch is given."""

    def prepare(*taken: Tensor) -> tuple[Tensor, Tensor, None]:
        images, labels = batches.gather(*taken)
        return to_float(images), labels, None

    advance = CapturedStep(step, prepare)
    return lambda images, labels: advance(*batches.take())


def time_of_parts(step: AdversarialStep, batches: Batches, rounds: int) -> dict[str, float]:
    """Milliseconds of each part of a step, and of its batch."""
    parts = StepParts(step)

    def take() -> tuple[Tensor, Tensor]:
        images, labels = next(batches)
        return to_float(images), labels

    data = parts.timed("data", take)
    step(*take())
    return parts.measure(lambda: step(*data()), rounds)


def where_time_goes(step: Callable[[Tensor, Tensor], None], images: Tensor, labels: Tensor) -> dict[str, float]:
    """Milliseconds of a step by kind of operation, each operation's own time; on a GPU that of its kernels."""
    on_cuda = images.is_cuda
    step(images, labels)
    with profile(activities=[ProfilerActivity.CPU, *([ProfilerActivity.CUDA] * on_cuda)]) as profiler:
        step(images, labels)
    times = dict.fromkeys([*KINDS, "everything else"], 0.0)
    for event in profiler.key_averages():
        if event.device_type != DeviceType.CPU:  # a kernel, which the operation has that launched it
            continue
        kind = next((k for k, words in KINDS.items() if any(w in event.key.lower() for w in words)), "everything else")
        times[kind] += (event.self_device_time_total if on_cuda else event.self_cpu_time_total) / 1000
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


def time_of_steps(
    steps: Mapping[str, Callable[[Tensor, Tensor], None]],
    images: Tensor,
    labels: Tensor,
    rounds: int,
    threads: int,
    count: int,
) -> dict[str, dict[str, Any]]:
    """Microseconds of a step, of ``count`` at a time, by wall time until the device has done them."""

    def run(step: Callable[[Tensor, Tensor], None]) -> None:
        for _ in range(count):
            step(images, labels)

    work = {name: partial(run, step) for name, step in steps.items()}
    times = interleaved(work, rounds, threads, "cpu")  # its clock waits for a GPU before it is read
    return {name: {what: _divided(value, count) for what, value in one.items()} for name, one in times.items()}


def rates_of(times: dict[str, dict[str, Any]], batch_size: int) -> dict[str, float]:
    """Images a second."""
    return {name: batch_size / one["median"] * 1e6 for name, one in times.items()}


def print_rates(title: str, times: dict[str, dict[str, Any]], rates: dict[str, float], ratio: str) -> None:
    """``ratio``: the heading of how much longer the first takes than each."""
    first = next(iter(times.values()))["median"]
    table = Table(title=title)
    for column in ("step", "ms", "images/s", ratio):
        table.add_column(column, justify="left" if column == "step" else "right")
    for name, one in times.items():
        table.add_row(name, f"{one['median'] / 1000:.2f}", f"{rates[name]:,.0f}", f"{first / one['median']:.2f}")
    Console(width=100).print(table)


def _divided(value: Any, count: int) -> Any:
    return [x / count for x in value] if isinstance(value, list) else value / count


def parser_of_steps(description: str | None, name: str) -> argparse.ArgumentParser:
    """What every benchmark of steps asks; its JSON is ``name``."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_device(parser)
    parser.add_argument("--network", choices=list(NETWORKS), default="conv")
    parser.add_argument("--batch-size", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--json", type=Path, default=FOLDER / f"{name}.json")
    return parser


def main() -> None:
    parser = parser_of_steps(__doc__, "bench_train_step")
    parser.add_argument("--precision", nargs="+", choices=PRECISIONS, default=PRECISIONS)
    parser.add_argument("--compile", action="store_true", help="our steps under torch.compile too")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    device, network = options.device, options.network
    batches = training_set(options.batch_size, device)
    images, labels = next(batches)
    images = to_float(images)
    steps: dict[str, Callable[[Tensor, Tensor], None]] = {
        "plain eager": plain(network, device),
        "plain, our losses": plain(
            network, device, discriminator_loss=am_discriminator_loss, generator_loss=am_generator_loss
        ),
    }
    for precision in options.precision:
        steps[f"ours, {precision}"] = ours(network, device, precision=precision)
        steps[f"{precision}, shared latents"] = ours(network, device, precision=precision, share_latents=True)
    eager = dict(steps)
    for precision in options.precision:
        if options.compile:
            steps[f"{precision}, compiled"] = ours(network, device, precision=precision, compile=True)
        if device == "cuda":
            steps[f"{precision}, captured"] = captured(ours(network, device, precision=precision), batches)
    count = STEPS_ON_CUDA if device == "cuda" else 1
    times = time_of_steps(steps, images, labels, options.rounds, options.threads, count)
    kinds = {name: where_time_goes(step, images, labels) for name, step in eager.items()}
    parts = {
        name: time_of_parts(step, batches, options.rounds)
        for name, step in eager.items()
        if isinstance(step, AdversarialStep)
    }
    rates = rates_of(times, options.batch_size)
    write_json(
        options.json,
        {
            "machine": describe_machine(device, options.threads),
            "network": network,
            "batch_size": options.batch_size,
            "microseconds": times,
            "images_per_second": rates,
            "milliseconds_by_part": parts,
            "milliseconds_by_kind": kinds,
        },
    )
    draw(options.json.with_suffix(".png"), kinds)
    title = f"{network}, batch of {options.batch_size}, {device}, {options.threads} threads"
    print_rates(title, times, rates, "plain / this")
    table = Table("part", *parts, title="ms by part, where not captured")
    for part in next(iter(parts.values())):
        table.add_row(part, *(f"{one[part]:.2f}" for one in parts.values()))
    Console(width=100).print(table)


if __name__ == "__main__":
    main()
