"""Time every operation against plain PyTorch, torch.compile of it, and the limit of the machine.

    python benchmarks/bench_ops.py [--device cpu|cuda] [--threads 2] [--json build/bench_ops.json]

The four are run in turn, many rounds, so that drift of the machine falls on all alike; tables show medians and the
quartiles of ours. Plain PyTorch is amgan_fast.reference (score_sums: the same formulas in float32, since the reference
works in float64). "limit" is what the same bytes cost: copying the logits for a loss with its gradient, summing them
for the scores; for loss_and_grad of 100 x 11 an empty operation that allocates the same three tensors. On CUDA times
are between events, each call from a cold cache. Also draws the bandwidth over the number of classes.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib
import torch
from common import interleaved, machine, write_json
from rich.console import Console
from rich.progress import track
from rich.table import Table
from torch import Tensor
from torch.utils.cpp_extension import load

from amgan_fast import ops, reference

matplotlib.use("Agg")
import matplotlib.pyplot as plt  # after the choice of a backend that needs no display

LOSS_SHAPES = [(100, 11), (4096, 11), (1024, 101), (128, 201), (1024, 1001), (128, 21_842)]
SCORE_SHAPES = [(200_000, 10), (50_000, 101), (50_000, 1000), (2000, 21_842)]
HALF_SHAPES = [(200_000, 10), (50_000, 1000)]
BANDWIDTH_CLASSES = [2, 5, 10, 16, 24, 32, 48, 64, 65, 101, 201, 501, 1001, 4001, 10_001, 21_842]
BANDWIDTH_ELEMENTS = 8_000_000

# Compiled for their very shape; all others with symbolic sizes, once per operation.
STATIC = {
    ("am_discriminator_loss", (100, 11)),
    ("am_discriminator_loss", (4096, 11)),
    ("am_discriminator_loss", (128, 201)),
    ("am_generator_loss", (1024, 1001)),
    ("score_sums", (200_000, 10)),
    ("score_sums", (50_000, 1000)),
}


@dataclass
class Case:
    """``run(function)`` does the work with the operation, or with the plain function of the same arguments."""

    name: str
    op: str
    shape: tuple[int, int]
    dtype: str
    run: Callable[[Callable[..., Any]], object]
    limit: Callable[[], object]
    limit_is: str
    fused: Callable[..., Any] | None = None  # instead of run(operation)
    make_limit: Callable[[], Callable[[], object]] | None = None  # compiled only where it is measured

    @property
    def key(self) -> str:
        return f"{self.name} {self.shape[0]}x{self.shape[1]} {self.dtype}"


def plain_score_sums(logits: Tensor) -> tuple[Tensor, ...]:
    log_prob = logits.float().log_softmax(1)
    prob = log_prob.exp()
    return -(prob * log_prob).sum(), prob.sum(0), (prob * prob).sum(0), log_prob.sum(0)


def plain(op: str) -> Callable[..., Any]:
    return plain_score_sums if op == "score_sums" else getattr(reference, op)


def empty_op(real: Tensor, labels: Tensor, generated: Tensor) -> Callable[[], object]:
    """An operation that only allocates what am_discriminator_loss_and_grad returns."""
    folder = Path("build/empty_op").resolve()
    folder.mkdir(parents=True, exist_ok=True)
    source = Path(__file__).with_name("empty_op.cpp")
    load("amgan_bench", [str(source)], build_directory=str(folder), is_python_module=False, extra_cflags=["-O2"])
    operation = torch.ops.amgan_bench.empty_three.default
    return lambda: operation(real, labels, generated)


def loss_cases(rows: int, columns: int, device: str) -> list[Case]:
    real = torch.randn(rows, columns, device=device, requires_grad=True)
    generated = torch.randn(rows, columns, device=device, requires_grad=True)
    real_values, generated_values = real.detach(), generated.detach()
    labels = torch.randint(columns - 1, (rows,), device=device)
    out = torch.empty_like(real_values)
    shape = (rows, columns)

    def copy() -> object:
        return out.copy_(generated_values)

    def copy_both() -> object:
        return out.copy_(real_values), out.copy_(generated_values)

    def case(name: str, op: str, run: Callable[[Callable[..., Any]], object], limit=copy, fused=None) -> Case:
        limit_is = "copy" if limit in (copy, copy_both) else "sum"
        return Case(name, op, shape, "float32", run, limit, limit_is, fused)

    def trained(*inputs: Tensor, differentiate: tuple[Tensor, ...]) -> Callable[[Callable[..., Any]], object]:
        return lambda function: torch.autograd.grad(function(*inputs), differentiate)

    discriminator = trained(real, labels, generated, differentiate=(real, generated))
    generator = trained(generated, differentiate=(generated,))
    and_grad = case(
        "am_discriminator_loss_and_grad",
        "am_discriminator_loss",
        discriminator,  # what an eager user does instead
        copy_both,
        lambda: ops.am_discriminator_loss_and_grad(real_values, labels, generated_values),
    )
    if shape == LOSS_SHAPES[0]:
        and_grad.limit_is = "empty op"
        and_grad.make_limit = lambda: empty_op(real_values, labels, generated_values)
    return [
        case("am_discriminator_loss fwd+bwd", "am_discriminator_loss", discriminator, copy_both),
        and_grad,
        case("am_generator_loss fwd+bwd", "am_generator_loss", generator),
        case(
            "am_generator_loss_and_grad",
            "am_generator_loss",
            generator,
            fused=lambda: ops.am_generator_loss_and_grad(generated_values),
        ),
        case("am_generator_loss fwd", "am_generator_loss", lambda f: f(generated_values), generated_values.sum),
        case("labelgan_generator_loss fwd+bwd", "labelgan_generator_loss", generator),
        case(
            "kplus1_cross_entropy fwd+bwd",
            "kplus1_cross_entropy",
            trained(real, labels, differentiate=(real,)),
        ),
        case("class_entropy fwd+bwd", "class_entropy", generator),
        case("kplus1_terms", "kplus1_terms", lambda f: f(generated_values), generated_values.sum),
    ]


def score_case(rows: int, classes: int, dtype: torch.dtype, device: str) -> Case:
    logits = torch.randn(rows, classes, device=device).to(dtype)
    name = str(dtype).removeprefix("torch.")
    return Case("score_sums", "score_sums", (rows, classes), name, lambda f: f(logits), logits.sum, "sum")


def compiled(case: Case) -> Callable[..., Any]:
    return torch.compile(plain(case.op), dynamic=(case.op, case.shape) not in STATIC)


def measure(case: Case, options: argparse.Namespace) -> dict[str, Any]:
    operation, eager, compiled_eager = getattr(ops, case.op), plain(case.op), compiled(case)
    work = {
        "ours": case.fused or (lambda: case.run(operation)),
        "eager": lambda: case.run(eager),
        "compile": lambda: case.run(compiled_eager),
        "limit": case.make_limit() if case.make_limit else case.limit,
    }
    large = case.shape[0] * case.shape[1] > 10_000_000
    times = interleaved(work, options.rounds // 2 if large else options.rounds, options.threads, options.device)
    median = {name: t["median"] for name, t in times.items()}
    return {
        "key": case.key,
        "op": case.name,
        "shape": list(case.shape),
        "dtype": case.dtype,
        "limit": case.limit_is,
        "microseconds": times,
        "ratios": {
            "eager/ours": median["eager"] / median["ours"],
            "compile/ours": median["compile"] / median["ours"],
            "ours/limit": median["ours"] / median["limit"],
        },
    }


def show(results: list[dict[str, Any]], console: Console) -> None:
    table = Table(title="microseconds, median (quartiles); ratios of medians")
    table.add_column("operation")
    columns = ("shape", "ours", "eager", "compile", "limit", "eager/ours", "compile/ours", "ours/limit")
    for column in columns:
        table.add_column(column, justify="right")
    for result in results:
        times, ratios = result["microseconds"], result["ratios"]
        low, high = times["ours"]["quartiles"]
        half = "" if result["dtype"] == "float32" else f" {result['dtype']}"
        table.add_row(
            result["op"] + half,
            "x".join(map(str, result["shape"])),
            f"{times['ours']['median']:.1f} ({low:.1f}-{high:.1f})",
            *(f"{times[name]['median']:.1f}" for name in ("eager", "compile")),
            f"{times['limit']['median']:.1f} {result['limit']}",
            *(f"{ratios[name]:.1f}" for name in columns[-3:]),
        )
    console.print(table)


def bandwidth(classes: int, options: argparse.Namespace) -> dict[str, Any]:
    """GB/s of reading (scores), and of reading and writing (loss with gradient), BANDWIDTH_ELEMENTS logits."""
    logits = torch.randn(BANDWIDTH_ELEMENTS // classes, classes, device=options.device)
    out = torch.empty_like(logits)
    work = {
        "score_sums": lambda: ops.score_sums(logits),
        "sum": logits.sum,
        "am_generator_loss_and_grad": lambda: ops.am_generator_loss_and_grad(logits),
        "copy": lambda: out.copy_(logits),
    }
    times = interleaved(work, 5, options.threads, options.device)
    size = logits.numel() * logits.element_size()
    reads = {"score_sums": 1, "sum": 1, "am_generator_loss_and_grad": 2, "copy": 2}
    return {"classes": classes} | {name: reads[name] * size / t["median"] / 1000 for name, t in times.items()}


def draw(points: list[dict[str, Any]], path: Path) -> None:
    figure, axes = plt.subplots(1, 2, figsize=(11, 4), sharex=True)
    for axis, ours, limit in zip(axes, ("score_sums", "am_generator_loss_and_grad"), ("sum", "copy"), strict=True):
        classes = [point["classes"] for point in points]
        axis.plot(classes, [point[limit] for point in points], "--", color="gray", label=f"limit: {limit}")
        axis.plot(classes, [point[ours] for point in points], "o-", label=ours)
        axis.set(xscale="log", xlabel="columns", ylabel="GB/s", ylim=(0, None))
        axis.grid(alpha=0.3)
        axis.legend()
    figure.suptitle(f"Bandwidth over the number of columns, {BANDWIDTH_ELEMENTS:,} float32 logits")
    figure.tight_layout()
    figure.savefig(path, dpi=80)
    plt.close(figure)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--only", default="", help="cases whose name, shape and dtype contain this")
    parser.add_argument("--json", type=Path, default=Path("build/bench_ops.json"))
    options = parser.parse_args()

    torch.manual_seed(0)
    torch.set_num_threads(options.threads)
    console, progress = Console(width=150), Console(stderr=True)
    cases = [case for shape in LOSS_SHAPES for case in loss_cases(*shape, options.device)]
    cases += [score_case(*shape, torch.float32, options.device) for shape in SCORE_SHAPES]
    cases += [score_case(*shape, torch.bfloat16, options.device) for shape in HALF_SHAPES]
    cases = [case for case in cases if options.only in case.key]
    results = [measure(case, options) for case in track(cases, "operations", console=progress)]
    show(results, console)
    points = (
        []
        if options.only
        else [bandwidth(classes, options) for classes in track(BANDWIDTH_CLASSES, "bandwidth", console=progress)]
    )
    write_json(
        options.json,
        {"machine": machine(options.device, options.threads), "results": results, "bandwidth": points},
    )
    console.print(f"written: {options.json}")
    if points:
        picture = options.json.with_suffix(".png")
        draw(points, picture)
        console.print(f"written: {picture}")


if __name__ == "__main__":
    main()
