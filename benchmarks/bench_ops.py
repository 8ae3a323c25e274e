"""Time every operation against plain PyTorch, torch.compile of it, and the limit of the machine.

    python benchmarks/bench_ops.py [--device cpu|cuda] [--threads 2] [--json build/bench_ops.json]

All are run in turn, many rounds, so that drift of the machine falls on all alike; tables show medians and the quartiles
of ours. Plain PyTorch is amgan_fast.reference (score_sums: the same formulas in float32, since the reference works in
float64; batch_norm_leaky_dropout: the layers of a network, without the statistics). "limit" is what the same bytes
cost: copying the logits for a loss with its gradient, summing them for the scores; for loss_and_grad of 100 x 11 an
empty operation that allocates the same three tensors. "exp" is torch.exp of the same logits, which a softmax needs at
the least. Logits that would stay in the caches from one call to the next are also timed from memory: ours and the limit
then take turns through many copies of them. On CUDA times are between events, each call from a cold cache, and the
least that an operation has to move (every logit read once, every gradient written once) is given as a share of what a
large copy moves in the same time, measured in the same run, and of the data sheet's bandwidth. leaky_dropout (of 100 x
64 x 32 x 32 numbers) and batch_norm_leaky_dropout have a copy as their limit; at the least they move the bytes of x
twice forward, and five times with backward, which reads the output (or x) and a gradient. Also draws the bandwidth over
the number of classes.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import cycle
from pathlib import Path
from typing import Any

import gpu
import matplotlib
import torch
from common import SHARES, interleaved, keep_freed_memory, last_level_cache, machine, write_json
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
DROPOUT_SHAPE = (100 * 64, 32 * 32)  # a discriminator's first layer on 100 images of 32 pixels
# The widest images of a generator, those of a discriminator, and the rows of a small network's layer.
NORM_SHAPES = [(100, 32, 32, 32), (100, 128, 8, 8), (100, 256)]
BANDWIDTH_CLASSES = [2, 5, 10, 16, 24, 32, 48, 64, 65, 101, 201, 501, 1001, 4001, 10_001, 21_842]
BANDWIDTH_ELEMENTS = 4_000_000

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
    logits: tuple[Tensor, ...]
    out: Tensor  # like each of the logits
    run: Callable[[Callable[..., Any]], object]
    limit_is: str = "copy"
    moved: int = 2  # how often the logits' bytes have to be read or written at the least
    fused: Callable[[], object] | None = None  # instead of run(operation)
    empty: Callable[[], Callable[[], object]] | None = None  # the limit instead, compiled only where it is measured

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(self.out.shape)

    @property
    def dtype(self) -> str:
        return str(self.out.dtype).removeprefix("torch.")

    @property
    def least_bytes(self) -> int:
        """Of the logits, read once, and of their gradients, written once; labels and losses are too few to count."""
        return sum(x.nbytes for x in self.logits) * (1 if self.limit_is == "sum" else self.moved)

    @property
    def key(self) -> str:
        return f"{self.name} {'x'.join(map(str, self.shape))} {self.dtype}"

    # Functions without a layer of Python around what is measured, which for 100 x 11 would show.

    def ours(self) -> Callable[[], object]:
        return self.fused or partial(self.run, getattr(ops, self.op))

    def limit(self) -> Callable[[], object]:
        if self.empty:
            return self.empty()
        if self.limit_is == "sum":
            return self.logits[0].sum
        if len(self.logits) == 1:
            return partial(self.out.copy_, self.logits[0])
        return lambda: [self.out.copy_(x) for x in self.logits]

    def exp(self) -> object:
        return [torch.exp(x, out=self.out) for x in self.logits]


def plain_score_sums(logits: Tensor) -> tuple[Tensor, ...]:
    log_prob = logits.float().log_softmax(1)
    prob = log_prob.exp()
    return -(prob * log_prob).sum(), prob.sum(0), (prob * prob).sum(0), log_prob.sum(0)


def plain_batch_norm(x: Tensor, weight: Tensor, bias: Tensor, p: float) -> tuple[Tensor]:
    """As a network's layers: torch's batch norm hands out no statistics, and the reference computes them again."""
    z = torch.nn.functional.batch_norm(x, None, None, weight, bias, training=True)
    return (reference.leaky_dropout(z, p),)


PLAIN = {"score_sums": plain_score_sums, "batch_norm_leaky_dropout": plain_batch_norm}


def plain(op: str) -> Callable[..., Any]:
    return PLAIN.get(op) or getattr(reference, op)


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
    both, one = (real_values, generated_values), (generated_values,)

    def trained(*inputs: Tensor, differentiate: tuple[Tensor, ...]) -> Callable[[Callable[..., Any]], object]:
        return lambda function: torch.autograd.grad(function(*inputs), differentiate)

    discriminator = trained(real, labels, generated, differentiate=(real, generated))
    generator = trained(generated, differentiate=(generated,))
    and_grad = Case(
        "am_discriminator_loss_and_grad",
        "am_discriminator_loss",
        both,
        out,
        discriminator,  # what an eager user does instead
        fused=lambda: ops.am_discriminator_loss_and_grad(real_values, labels, generated_values),
    )
    if (rows, columns) == LOSS_SHAPES[0]:
        and_grad.limit_is = "empty op"
        and_grad.empty = lambda: empty_op(real_values, labels, generated_values)
    return [
        Case("am_discriminator_loss fwd+bwd", "am_discriminator_loss", both, out, discriminator),
        and_grad,
        Case("am_generator_loss fwd+bwd", "am_generator_loss", one, out, generator),
        Case(
            "am_generator_loss_and_grad",
            "am_generator_loss",
            one,
            out,
            generator,
            fused=lambda: ops.am_generator_loss_and_grad(generated_values),
        ),
        Case("am_generator_loss fwd", "am_generator_loss", one, out, lambda f: f(generated_values), "sum"),
        Case("labelgan_generator_loss fwd+bwd", "labelgan_generator_loss", one, out, generator),
        Case(
            "kplus1_cross_entropy fwd+bwd",
            "kplus1_cross_entropy",
            (real_values,),
            out,
            trained(real, labels, differentiate=(real,)),
        ),
        Case("class_entropy fwd+bwd", "class_entropy", one, out, generator),
        Case("kplus1_terms", "kplus1_terms", one, out, lambda f: f(generated_values), "sum"),
    ]


def score_cases(rows: int, classes: int, dtype: torch.dtype, device: str) -> list[Case]:
    logits = torch.randn(rows, classes, device=device).to(dtype)
    return [Case("score_sums", "score_sums", (logits,), torch.empty_like(logits), lambda f: f(logits), "sum")]


def dropout_cases(rows: int, columns: int, dtype: torch.dtype, device: str) -> list[Case]:
    x = torch.randn(rows, columns, device=device).to(dtype).requires_grad_()
    values, out = x.detach(), torch.empty_like(x, requires_grad=False)

    def train(function: Callable[..., Any]) -> object:
        return torch.autograd.grad(function(x, 0.3), x, values)

    return [
        Case("leaky_dropout fwd", "leaky_dropout", (values,), out, lambda f: f(values, 0.3)),
        Case("leaky_dropout fwd+bwd", "leaky_dropout", (values,), out, train, moved=5),
    ]


def norm_cases(shape: tuple[int, ...], p: float, dtype: torch.dtype, device: str) -> list[Case]:
    """Of rows, or of channels_last images."""
    x = torch.randn(shape, device=device).to(dtype)
    x = (x.contiguous(memory_format=torch.channels_last) if len(shape) == 4 else x).requires_grad_()
    values, out = x.detach(), torch.empty_like(x, requires_grad=False)
    weight, bias = (torch.ones(shape[1], device=device, requires_grad=True) for _ in range(2))

    def train(function: Callable[..., Any]) -> object:
        return torch.autograd.grad(function(x, weight, bias, p)[0], (x, weight, bias), values)

    def forward(function: Callable[..., Any]) -> object:
        return function(values, weight.detach(), bias.detach(), p)

    op = "batch_norm_leaky_dropout"
    return [
        Case(f"{op} fwd, p={p}", op, (values,), out, forward),
        Case(f"{op} fwd+bwd, p={p}", op, (values,), out, train, moved=5),
    ]


Maker = Callable[[str], list[Case]]  # of the cases of a shape, on a device
MAKERS: list[Maker] = [
    *(partial(loss_cases, *shape) for shape in LOSS_SHAPES),
    *(partial(score_cases, *shape, torch.float32) for shape in SCORE_SHAPES),
    *(partial(score_cases, *shape, torch.bfloat16) for shape in HALF_SHAPES),
    *(partial(dropout_cases, *DROPOUT_SHAPE, dtype) for dtype in (torch.float32, torch.bfloat16)),
    *(
        partial(norm_cases, shape, p, dtype)
        for shape, p in zip(NORM_SHAPES, (0.0, 0.3, 0.3), strict=True)
        for dtype in (torch.float32, torch.bfloat16)
    ),
]


def chosen(make: Maker, device: str, options: argparse.Namespace) -> list[Case]:
    return [case for case in make(device) if options.only in case.key]


def cases_with_copies(options: argparse.Namespace) -> Iterator[tuple[Case, list[Case]]]:
    """Every case, with so many copies that a turn through all of them starts from memory again."""
    for make in MAKERS:
        cases = chosen(make, options.device, options)
        if not cases:
            continue
        size = cases[0].out.nbytes
        # Smaller ones live in the caches wherever they are used; larger ones come from memory anyway.
        copied = options.device == "cpu" and 2**20 <= size <= 2 * last_level_cache()
        copies = [chosen(make, options.device, options) for _ in range(4 * last_level_cache() // size if copied else 0)]
        yield from zip(cases, map(list, zip(*copies, strict=True)) if copies else [[]] * len(cases), strict=True)


def compiled(case: Case) -> Callable[..., Any]:
    return torch.compile(plain(case.op), dynamic=(case.op, case.shape) not in STATIC)


def call_next(turn: Iterator[Callable[[], object]]) -> object:
    return next(turn)()


def shares(case: Case, microseconds: float, bandwidths: dict[str, float]) -> dict[str, float]:
    """How much of each bandwidth, in bytes a second, the work makes use of."""
    return {f"share of {name}": case.least_bytes / microseconds * 1e6 / rate for name, rate in bandwidths.items()}


def measure(
    case: Case, copies: list[Case], options: argparse.Namespace, bandwidths: dict[str, float]
) -> dict[str, Any]:
    eager, compiled_eager = plain(case.op), compiled(case)
    work = {
        "ours": case.ours(),
        "eager": partial(case.run, eager),
        "compile": partial(case.run, compiled_eager),
        "limit": case.limit(),
        "exp": case.exp,
    }
    if copies:
        work["ours from memory"] = partial(call_next, cycle([copy.ours() for copy in copies]))
        work["limit from memory"] = partial(call_next, cycle([copy.limit() for copy in copies]))
    large = case.out.numel() > 10_000_000
    times = interleaved(work, options.rounds // 2 if large else options.rounds, options.threads, options.device)
    median = {name: t["median"] for name, t in times.items()}
    ratios = {name: median[name] / median["ours"] for name in ("eager", "compile", "exp")}
    return {
        "key": case.key,
        "op": case.name,
        "shape": list(case.shape),
        "dtype": case.dtype,
        "limit": case.limit_is,
        "microseconds": times,
        "ratios": {f"{name}/ours": ratio for name, ratio in ratios.items()}
        | {"ours/limit": median["ours"] / median["limit"]}
        | ({"ours/limit from memory": median["ours from memory"] / median["limit from memory"]} if copies else {})
        | shares(case, median["ours"], bandwidths),
    }


def show(results: list[dict[str, Any]], console: Console) -> None:
    table = Table(title="microseconds, median (quartiles); ratios of medians")
    table.add_column("operation")
    ratio_names = ("eager/ours", "compile/ours", "exp/ours", "ours/limit", "ours/limit from memory")
    share_names = [name for name in SHARES if any(name in result["ratios"] for result in results)]
    columns = ("shape", "ours", "eager", "compile", "limit", *ratio_names, *share_names)
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
            *(f"{ratios[name]:.1f}" if name in ratios else "" for name in ratio_names),
            *(f"{ratios[name]:.0%}" for name in share_names),
        )
    console.print(table)


def bandwidth(classes: int, options: argparse.Namespace) -> dict[str, Any]:
    """GB/s of reading (scores), and of reading and writing (loss with gradient), from memory: each call takes the next
    of so many arrays that the first has left the caches when its turn comes again."""
    shape = (BANDWIDTH_ELEMENTS // classes, classes)
    size = 4 * shape[0] * classes
    arrays = 4 * last_level_cache() // size + 1 if options.device == "cpu" else 1
    logits = [torch.randn(shape, device=options.device) for _ in range(arrays)]
    outs = [torch.empty_like(x) for x in logits]
    work = {
        "score_sums": [partial(ops.score_sums, x) for x in logits],
        "sum": [x.sum for x in logits],
        "am_generator_loss_and_grad": [partial(ops.am_generator_loss_and_grad, x) for x in logits],
        "copy": [partial(out.copy_, x) for x, out in zip(logits, outs, strict=True)],
    }
    turns = {name: cycle(calls) for name, calls in work.items()}
    times = interleaved(
        {name: partial(call_next, turn) for name, turn in turns.items()}, 5, options.threads, options.device
    )
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
    figure.suptitle(f"Bandwidth over the number of columns, {BANDWIDTH_ELEMENTS:,} float32 logits from memory")
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

    keep_freed_memory()
    torch.manual_seed(0)
    torch.set_num_threads(options.threads)
    console, progress = Console(width=210), Console(stderr=True)
    bandwidths = gpu.bandwidths() if options.device == "cuda" else {}
    total = sum(len(chosen(make, "meta", options)) for make in MAKERS)
    cases = track(cases_with_copies(options), "operations", total=total, console=progress)
    results = [measure(case, copies, options, bandwidths) for case, copies in cases]
    show(results, console)
    points = (
        []
        if options.only
        else [bandwidth(classes, options) for classes in track(BANDWIDTH_CLASSES, "bandwidth", console=progress)]
    )
    write_json(
        options.json,
        {
            "machine": machine(options.device, options.threads),
            "bandwidths": bandwidths,
            "results": results,
            "bandwidth": points,
        },
    )
    console.print(f"written: {options.json}")
    if points:
        picture = options.json.with_suffix(".png")
        draw(points, picture)
        console.print(f"written: {picture}")


if __name__ == "__main__":
    main()
