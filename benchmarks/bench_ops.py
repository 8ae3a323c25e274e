"""Time every operation against plain PyTorch (amgan_fast.reference) and torch.compile of it.

    python benchmarks/bench_ops.py [--device cpu|cuda] [--threads 2] [--json build/bench_ops.json]

The three are run in turn, many rounds, so that drift of the machine falls on all alike; the table shows medians and
the quartiles of ours. "limit" is the time of copying (losses) or summing (scores) the same bytes with torch.
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from rich.console import Console
from rich.progress import track
from rich.table import Table
from torch.utils.benchmark import Timer

import amgan_fast
from amgan_fast import ops, reference

LOSS_SHAPES = [(100, 11), (4096, 11), (128, 201), (1024, 1001)]
SCORE_SHAPES = [(200_000, 10), (50_000, 1000)]


@dataclass
class Case:
    """``run(api)`` does the work with the operations of ``api``: ops, reference, or the compiled reference."""

    name: str
    shape: tuple[int, int]
    run: Callable[[object], object]
    limit: Callable[[], object]


class Compiled:
    """The reference with each function compiled."""

    def __init__(self, names: list[str]) -> None:
        for name in names:
            setattr(self, name, torch.compile(getattr(reference, name)))


def loss_cases(rows: int, columns: int, device: str) -> list[Case]:
    real = torch.randn(rows, columns, device=device, requires_grad=True)
    generated = torch.randn(rows, columns, device=device, requires_grad=True)
    labels = torch.randint(columns - 1, (rows,), device=device)
    out = torch.empty_like(real)

    def trained(loss: Callable[[object], torch.Tensor], *inputs: torch.Tensor) -> Callable[[object], object]:
        return lambda api: torch.autograd.grad(loss(api), inputs)

    def copy() -> object:
        return out.copy_(real.detach())

    def copy_both() -> object:
        return out.copy_(real.detach()), out.copy_(generated.detach())

    shape = (rows, columns)
    return [
        Case(
            "am_discriminator_loss fwd+bwd",
            shape,
            trained(lambda api: api.am_discriminator_loss(real, labels, generated), real, generated),
            copy_both,
        ),
        Case(
            "am_discriminator_loss_and_grad",
            shape,
            # What an eager user does instead is the forward and the backward.
            lambda api: (
                ops.am_discriminator_loss_and_grad(real, labels, generated)
                if api is ops
                else torch.autograd.grad(api.am_discriminator_loss(real, labels, generated), (real, generated))
            ),
            copy_both,
        ),
        Case(
            "am_generator_loss fwd+bwd", shape, trained(lambda api: api.am_generator_loss(generated), generated), copy
        ),
        Case(
            "kplus1_cross_entropy fwd+bwd",
            shape,
            trained(lambda api: api.kplus1_cross_entropy(real, labels), real),
            copy,
        ),
        Case(
            "labelgan_generator_loss fwd+bwd",
            shape,
            trained(lambda api: api.labelgan_generator_loss(generated), generated),
            copy,
        ),
        Case("class_entropy fwd+bwd", shape, trained(lambda api: api.class_entropy(generated), generated), copy),
        Case("kplus1_terms", shape, lambda api: api.kplus1_terms(generated), generated.detach().sum),
    ]


def score_cases(rows: int, classes: int, device: str) -> list[Case]:
    logits = torch.randn(rows, classes, device=device)
    return [Case("score_sums", (rows, classes), lambda api: api.score_sums(logits), logits.sum)]


def measure(case: Case, compiled: Compiled, rounds: int, threads: int) -> dict[str, object]:
    work = {
        "ours": lambda: case.run(ops),
        "eager": lambda: case.run(reference),
        "compile": lambda: case.run(compiled),
        "limit": case.limit,
    }
    timers = {name: Timer("f()", globals={"f": f}, num_threads=threads) for name, f in work.items()}
    # One call each to compile and warm up, then as many a round as take about 10 ms.
    repeats = {name: max(1, int(0.01 / timer.timeit(3).median)) for name, timer in timers.items()}
    times: dict[str, list[float]] = {name: [] for name in timers}
    for _ in range(rounds):
        for name, timer in timers.items():
            times[name].append(timer.timeit(repeats[name]).median)
    return {
        "op": case.name,
        "shape": list(case.shape),
        "microseconds": {
            name: {
                "median": statistics.median(t) * 1e6,
                "quartiles": [q * 1e6 for q in statistics.quantiles(t, n=4)[::2]],
            }
            for name, t in times.items()
        },
    }


def show(results: list[dict], console: Console) -> None:
    table = Table(title="microseconds, median (quartiles); ratios of medians")
    for column in (
        "operation",
        "shape",
        "ours",
        "eager",
        "compile",
        "limit",
        "eager/ours",
        "compile/ours",
        "ours/limit",
    ):
        table.add_column(column, justify="left" if column == "operation" else "right")
    for result in results:
        times = result["microseconds"]
        median = {name: t["median"] for name, t in times.items()}
        low, high = times["ours"]["quartiles"]
        table.add_row(
            result["op"],
            "x".join(map(str, result["shape"])),
            f"{median['ours']:.1f} ({low:.1f}-{high:.1f})",
            *(f"{median[name]:.1f}" for name in ("eager", "compile", "limit")),
            *(f"{median[name] / median['ours']:.1f}" for name in ("eager", "compile")),
            f"{median['ours'] / median['limit']:.1f}",
        )
    console.print(table)


def machine(device: str, threads: int) -> dict[str, object]:
    cpuinfo = Path("/proc/cpuinfo")
    names = (
        [line.split(":")[1].strip() for line in cpuinfo.read_text().splitlines() if "model name" in line]
        if (cpuinfo.exists())
        else [platform.processor()]
    )
    return {
        "cpu": names[0],
        "gpu": torch.cuda.get_device_name() if device == "cuda" else None,
        "threads": threads,
        "torch": torch.__version__,
        "build": amgan_fast.build_info(),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--json", type=Path, default=Path("build/bench_ops.json"))
    options = parser.parse_args()

    torch.manual_seed(0)
    console = Console(width=150)
    cases = [case for shape in LOSS_SHAPES for case in loss_cases(*shape, options.device)]
    cases += [case for shape in SCORE_SHAPES for case in score_cases(*shape, options.device)]
    names = [name for name in ops.__all__ if hasattr(reference, name) and not name[0].isupper()]
    compiled = Compiled(names)
    results = [
        measure(case, compiled, options.rounds, options.threads)
        for case in track(cases, "measuring", console=Console(stderr=True))
    ]
    show(results, console)
    options.json.parent.mkdir(parents=True, exist_ok=True)
    options.json.write_text(
        json.dumps({"machine": machine(options.device, options.threads), "results": results}, indent=1)
    )
    console.print(f"written: {options.json}")


if __name__ == "__main__":
    main()
