"""Time every operation against plain PyTorch, torch.compile of it, and the limit of the machine.

    python -m benchmarks.bench_ops [--device cpu|cuda] [--threads 2] [--json build/bench_ops.json]

Plain PyTorch is the fastest of several forms (benchmarks/plain_forms.py), chosen for each shape, eager and compiled
each on its own: one round of all, then some of those that are near the best. What is compiled is chosen among functions
for any shape, and then compiled for its own. The chosen ones are timed anew with ours and the limit, in turn, many
rounds, so that drift of the machine falls on all alike; every measurement begins with calls that are not counted.
Tables show medians, and the quartiles of ours. GB/s are of the bytes that have to move: every logit read once, every
gradient written once. leaky_dropout (of 100 x 64 x 32 x 32 numbers) and batch_norm_leaky_dropout move those of x twice
forward, and five times with backward, which reads the output (or x) and a gradient.

"limit" is what the same bytes cost: copying the logits for a loss with its gradient (or x), summing them for scores;
for loss_and_grad of 100 x 11 an empty operation that allocates the same three tensors, and on CUDA an empty kernel.
"exp", in the JSON, is torch.exp of the same logits, which a softmax needs at the least. Logits that would stay in the
caches from one call to the next are also timed from memory: ours and the limit then take turns through many copies of
them. On CUDA times are between events, each call from a cold cache, and the bytes that have to move are also given as a
share of what a large copy moves in the same time, measured in the same run, and of the data sheet's bandwidth.

Beside the JSON, the same name with .md is the table as docs/operation_times.md holds it, and .png the bandwidth over
the number of classes, which --only bandwidth measures alone.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.progress import track

from benchmarks import bandwidth, gpu
from benchmarks.machine import add_device, describe_machine, keep_freed_memory, last_level_cache
from benchmarks.markdown_tables import operations_page
from benchmarks.op_cases import MAKERS, Case, Maker
from benchmarks.plain_forms import Wrap, as_it_is
from benchmarks.reports import write_json, write_text
from benchmarks.timing import interleaved, taking_turns

NEAR = 1.5  # times the best form of one round: these are timed again


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


@dataclass
class Plain:
    """The fastest form, what each of them takes, and the call of the fastest."""

    name: str
    microseconds: dict[str, float]
    work: Callable[[], object]


def time_forms(case: Case, wrap: Wrap, options: argparse.Namespace) -> dict[str, float]:
    """Microseconds by name: of one round, and of a few more where that does not decide."""
    work = {name: case.work(form, wrap) for name, form in case.plain().items()}

    def medians(names: Iterable[str], rounds: int) -> dict[str, float]:
        times = interleaved({name: work[name] for name in names}, rounds, options.threads, options.device)
        return {name: t["median"] for name, t in times.items()}

    once = medians(work, 1)
    near = [name for name in work if once[name] < NEAR * min(once.values())]
    return once | (medians(near, 5) if len(near) > 1 else {})


def compiler(dynamic: bool) -> Wrap:
    """Without what was compiled before: a function that has been compiled for any shape is not compiled again for its
    own, though dynamic=False asks for it."""
    torch.compiler.reset()
    return partial(torch.compile, dynamic=dynamic)


def plain(case: Case, options: argparse.Namespace) -> dict[str, Plain]:
    """Eager and compiled. torch.compile takes seconds, but little where a file of its cache serves: forms are chosen as
    compiled for any shape, and the chosen one is compiled for its own."""
    forms, found = case.plain(), {}
    times = time_forms(case, as_it_is, options)
    name = min(times, key=times.__getitem__)
    found["eager"] = Plain(name, times, case.work(forms[name]))
    if case.compiles:
        times = time_forms(case, compiler(dynamic=True), options)
        name = min(times, key=times.__getitem__)
        found["compile"] = Plain(name, times, case.work(forms[name], compiler(dynamic=False)))
    return found


def shares(case: Case, microseconds: float, bandwidths: dict[str, float]) -> dict[str, float]:
    """How much of each bandwidth, in bytes a second, the work makes use of."""
    return {f"share of {name}": case.least_bytes / microseconds * 1e6 / rate for name, rate in bandwidths.items()}


def measure(
    case: Case, copies: list[Case], options: argparse.Namespace, bandwidths: dict[str, float]
) -> dict[str, Any]:
    forms = plain(case, options)
    work = {"ours": case.ours(), **{kind: form.work for kind, form in forms.items()}}
    work |= {"limit": case.limit(), "exp": case.exp}
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
        "GB/s": case.least_bytes / median["ours"] / 1000,
        "fastest plain form": {kind: form.name for kind, form in forms.items()},
        "plain forms": {kind: form.microseconds for kind, form in forms.items()},
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
    write_json(options.json, report)
    print(f"written: {options.json}")
    if results:
        page = "\n".join(operations_page(report)) + "\n"
        print(page)
        write_text(options.json.with_suffix(".md"), page)
        print(f"written: {options.json.with_suffix('.md')}")
    if points:
        picture = options.json.with_suffix(".png")
        bandwidth.draw(points, picture)
        print(f"written: {picture}")


if __name__ == "__main__":
    main()
