"""Time every operation against plain PyTorch, torch.compile of it, and the limit of the machine.

    python -m benchmarks.bench_ops [--device cpu|cuda] [--threads 2] [--json build/bench_ops.json]

All are run in turn, many rounds, so that drift of the machine falls on all alike; tables show medians and the quartiles
of ours. Plain PyTorch is amgan_fast.reference or what a user would write (AM-GAN's losses: F.cross_entropy; score_sums:
the same formulas in float32, since the reference works in float64; batch_norm_leaky_dropout: the layers of a network,
without the statistics), for each shape whichever is quicker there, eager and compiled each on its own.
"limit" is what the same bytes cost: copying the logits for a loss with its gradient, summing them for the scores; for
loss_and_grad of 100 x 11 an empty operation that allocates the same three tensors, and on CUDA an empty kernel. "exp"
is torch.exp of the same logits, which a softmax needs at the least. Logits that would stay in the caches from one call
to the next are also timed from memory: ours and the limit then take turns through many copies of them. On CUDA times
are between events, each call from a cold cache, and the least that an operation has to move (every logit read once,
every gradient written once) is given as a share of what a large copy moves in the same time, measured in the same run,
and of the data sheet's bandwidth. leaky_dropout (of 100 x 64 x 32 x 32 numbers) and batch_norm_leaky_dropout have a
copy as their limit; at the least they move the bytes of x twice forward, and five times with backward, which reads the
output (or x) and a gradient. Also draws the bandwidth over the number of classes, which --only bandwidth does alone.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.progress import track

from benchmarks import bandwidth, gpu
from benchmarks.machine import add_device, describe_machine, keep_freed_memory, last_level_cache
from benchmarks.markdown_tables import machine, operations
from benchmarks.op_cases import MAKERS, Case, Maker, plain_forms
from benchmarks.reports import write_json
from benchmarks.timing import interleaved, taking_turns

# Compiled for their very shape; all others with symbolic sizes, once per operation.
STATIC = {
    ("am_discriminator_loss", (100, 11)),
    ("am_discriminator_loss", (4096, 11)),
    ("am_discriminator_loss", (128, 201)),
    ("am_generator_loss", (1024, 1001)),
    ("score_sums", (200_000, 10)),
    ("score_sums", (50_000, 1000)),
}


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


def quickest(case: Case, forms: list[Callable[..., Any]], options: argparse.Namespace) -> Callable[..., Any]:
    """Of several that do the same as the operation, by a few rounds of each in turn."""
    if len(forms) == 1:
        return forms[0]
    work = {str(i): partial(case.run, form) for i, form in enumerate(forms)}
    times = interleaved(work, 5, options.threads, options.device)
    return forms[min(range(len(forms)), key=lambda i: times[str(i)]["median"])]


# Of one function, for its shapes and dtypes; beyond this torch falls back to eager without a word.
torch._dynamo.config.recompile_limit = 64


def compiled(case: Case, form: Callable[..., Any]) -> Callable[..., Any]:
    return torch.compile(form, dynamic=(case.op, case.shape) not in STATIC)


def shares(case: Case, microseconds: float, bandwidths: dict[str, float]) -> dict[str, float]:
    """How much of each bandwidth, in bytes a second, the work makes use of."""
    return {f"share of {name}": case.least_bytes / microseconds * 1e6 / rate for name, rate in bandwidths.items()}


def measure(
    case: Case, copies: list[Case], options: argparse.Namespace, bandwidths: dict[str, float]
) -> dict[str, Any]:
    forms = plain_forms(case.op)
    eager = quickest(case, forms, options)
    work: dict[str, Callable[[], object]] = {
        "ours": case.ours(),
        "eager": partial(case.run, eager),
        "limit": case.limit(),
        "exp": case.exp,
    }
    if case.compiles:
        compiled_eager = quickest(case, [compiled(case, form) for form in forms], options)
        work["compile"] = partial(case.run, compiled_eager)
    if copies:
        work["ours from memory"] = taking_turns([copy.ours() for copy in copies])
        work["limit from memory"] = taking_turns([copy.limit() for copy in copies])
    large = case.out.numel() > 10_000_000
    times = interleaved(work, options.rounds // 2 if large else options.rounds, options.threads, options.device)
    median = {name: t["median"] for name, t in times.items()}
    ratios = {name: median[name] / median["ours"] for name in ("eager", "compile", "exp") if name in median}
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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_device(parser)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--only", default="", help="cases whose name, shape and dtype contain this")
    parser.add_argument("--json", type=Path, default=Path("build/bench_ops.json"))
    options = parser.parse_args()

    keep_freed_memory()
    torch.manual_seed(0)
    torch.set_num_threads(options.threads)
    progress = Console(stderr=True)
    bandwidths = gpu.bandwidths() if options.device == "cuda" else {}
    total = sum(len(chosen(make, "meta", options)) for make in MAKERS)
    sweep = bandwidth.CLASSES if options.only in ("", "bandwidth") else []
    if not total and not sweep:
        parser.error(f"--only {options.only}: no case has that in its name, shape and dtype")
    cases = track(cases_with_copies(options), "operations", total=total, console=progress)
    results = [measure(case, copies, options, bandwidths) for case, copies in cases]
    classes = track(sweep, "bandwidth", console=progress) if sweep else []
    points = [bandwidth.measure(columns, options.threads, options.device) for columns in classes]
    report = {
        "machine": describe_machine(options.device, options.threads),
        "bandwidths": bandwidths,
        "results": results,
        "bandwidth": points,
    }
    print(machine(report), "", *(operations(report) if results else []), "", sep="\n")
    write_json(options.json, report)
    print(f"written: {options.json}")
    if points:
        picture = options.json.with_suffix(".png")
        bandwidth.draw(points, picture)
        print(f"written: {picture}")


if __name__ == "__main__":
    main()
