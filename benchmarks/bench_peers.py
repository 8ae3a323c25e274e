"""Inception Score of 50,000 x 1,000 logits: ours, torchmetrics, ignite and torch-fidelity.

    python -m benchmarks.bench_peers [--device cpu|cuda] [--threads 2] [--busy 2] [--json build/bench_peers.json]

Each tool runs in a process of its own, on the same logits, as one split, fed the way its users feed it. "peak" is what
it holds at most beyond the imported libraries and the logits (torchmetrics and torch-fidelity need all the logits at
once; for ours and ignite the batch at hand would do). "relative error" is against float64 throughout, with what the
tool's arithmetic allows. Peers: pip install torchmetrics pytorch-ignite torch-fidelity; one that is not installed is
said to be missing, the others are measured.

Meant for an idle machine: where other work takes a core, a tool of several threads waits for the one that lost it.
``--busy 2`` shows that: each tool is measured again while two other processes do nothing but compute.

On the CPU it is also measured what float64 costs: the sums behind our score of the same batches, and of four times as
many rows of 10 classes at once, in float64 and in float32, in turn; and reading those logits (``sum``).
"""

from __future__ import annotations

import argparse
import importlib
import importlib.metadata
import importlib.util
import json
import math
import statistics
import subprocess
import sys
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.progress import track
from torch import Tensor

import amgan_fast
from amgan_fast import ops
from benchmarks.machine import add_device, describe_machine, peak_since, start_peak
from benchmarks.markdown_tables import machine, peers, price_of_precision
from benchmarks.peers import TOOLS, Tool
from benchmarks.reports import write_json
from benchmarks.timing import interleaved

SPREAD = 3.0  # standard deviation of the logits
PATIENCE = 300  # seconds for a tool
BLOCKS = 100  # those of ScoreAccumulator
BUSY = """
import os
parent = os.getppid()
while os.getppid() == parent:  # not for ever, however the benchmark ends
    sum(range(1_000_000))
"""


def make_logits(rows: int, classes: int) -> Tensor:
    """The same in every process."""
    return torch.randn(rows, classes, generator=torch.Generator().manual_seed(0)).mul_(SPREAD)


def exact_score(logits: Tensor, batch: int) -> float:
    """The score in float64 throughout."""
    entropy = 0.0
    prob = torch.zeros(logits.size(1), dtype=torch.float64)
    for part in logits.split(batch):
        log_p = part.double().log_softmax(1)
        p = log_p.exp()
        prob += p.sum(0)
        entropy -= float((p * log_p).sum())
    entropy_of_mean = float(torch.special.entr(prob / len(logits)).sum())
    return math.exp(entropy_of_mean - entropy / len(logits))


def timed(work: Callable[[], float], device: str) -> tuple[float, float]:
    """Seconds, and what ``work`` returns (a Python number, for which a GPU has been waited)."""
    if device == "cuda":
        torch.cuda.synchronize()
    start = time.perf_counter()
    result = work()
    return time.perf_counter() - start, result


def measure(tool: Tool, options: argparse.Namespace) -> dict[str, Any]:
    """In the process of the tool."""
    warnings.simplefilter("ignore")  # torchmetrics warns of its memory, and of the deviation of a single split
    torch.set_num_threads(options.threads)
    library = importlib.import_module(tool.module)
    logits = make_logits(options.rows, options.classes).to(options.device)
    memory = start_peak(options.device)
    tool.score(library, logits[: 2 * options.batch], options.batch)
    seconds, scores, peaks = [], [], []
    for _ in range(options.rounds):
        took, score = timed(lambda: tool.score(library, logits, options.batch), options.device)
        seconds.append(took)
        scores.append(score)
        peaks.append(peak_since(memory, options.device))
    return {
        "seconds": statistics.median(seconds),
        "rounds": seconds,
        "peak_mib": peaks[0],  # later ones hold what the allocator kept
        "scores": scores,
    }


def run_tool(tool: Tool, options: argparse.Namespace) -> None:
    """Print the result, or the error, as the last line."""
    try:
        result = measure(tool, options)
    except Exception as error:  # whatever a peer raises belongs in the table
        result = {"error": " ".join(f"{type(error).__name__}: {error}".split())}
    print("\n" + json.dumps(result))


def installed(tool: Tool) -> bool:
    return importlib.util.find_spec(tool.module.split(".")[0]) is not None


def version(tool: Tool) -> str:
    if tool.package == "amgan-fast":  # need not be installed: PYTHONPATH will do
        return str(amgan_fast.build_info()["version"])
    try:
        return importlib.metadata.version(tool.package)
    except importlib.metadata.PackageNotFoundError:
        return "unknown version"


def measure_apart(tool: Tool, options: argparse.Namespace) -> dict[str, Any]:
    """:func:`measure` in a new process."""
    result: dict[str, Any] = {"tool": tool.name, "package": tool.package, "fed": tool.fed}
    if not installed(tool):
        return {**result, "error": f"not installed: pip install {tool.package}"}
    numbers = ("rows", "classes", "batch", "rounds", "threads", "device")
    arguments = [f"--{name}={getattr(options, name)}" for name in numbers]
    result["version"] = version(tool)
    try:
        done = subprocess.run(
            [sys.executable, "-m", "benchmarks.bench_peers", f"--tool={tool.name}", *arguments],
            capture_output=True,
            text=True,
            check=False,
            timeout=PATIENCE,
        )
    except subprocess.TimeoutExpired:
        return {**result, "error": f"took more than {PATIENCE} s"}
    if done.returncode:
        said = done.stderr.strip().splitlines() or [""]
        return {**result, "error": f"exit status {done.returncode} {said[-1]}".strip()}
    return {**result, **json.loads(done.stdout.strip().splitlines()[-1])}


@contextmanager
def busy(processes: int) -> Iterator[None]:
    """So many processes compute meanwhile."""
    others = [subprocess.Popen([sys.executable, "-c", BUSY]) for _ in range(processes)]
    try:
        yield
    finally:
        for other in others:
            other.kill()
            other.wait()


def measure_quiet_and_busy(tool: Tool, options: argparse.Namespace) -> dict[str, Any]:
    """:func:`measure_apart`, with ``busy_seconds`` where that was asked for."""
    result = measure_apart(tool, options)
    if options.busy and "error" not in result:
        with busy(options.busy):
            result["busy_seconds"] = measure_apart(tool, options).get("seconds")
    return result


def price_of_float64(options: argparse.Namespace) -> list[dict[str, Any]]:
    """Microseconds of our sums in either precision, and of reading the logits."""

    def sums(batches: Sequence[Tensor], dtype: torch.dtype | None) -> ops.ScoreSums | None:
        total = None
        for batch in batches:
            total = ops.score_sums(batch, blocks=BLOCKS, dtype=dtype, initial=total)
        return total

    results = []
    for rows, classes, batch in (
        (options.rows, options.classes, options.batch),
        (4 * options.rows, 10, 4 * options.rows),
    ):
        batches = make_logits(rows, classes).split(batch)
        work: dict[str, Callable[[], object]] = {
            "float64": partial(sums, batches, torch.float64),
            "float32": partial(sums, batches, None),
            "reading": partial(lambda batches: [batch.sum() for batch in batches], batches),
        }
        times = interleaved(work, max(2, 3 * options.rounds), options.threads, "cpu")
        results.append({"rows": rows, "classes": classes, "batch": batch, "microseconds": times})
    return results


def judge(results: list[dict[str, Any]], exact: float) -> None:
    """Add to each measured result the worst of its scores, its relative error, and whether that is allowed.

    torchmetrics shuffles: its float32 sums, and so its scores, vary from round to round.
    """
    for result in results:
        if "error" not in result:
            result["inception_score"] = max(result["scores"], key=lambda score: abs(score - exact))
            result["relative_error"] = abs(result["inception_score"] / exact - 1)
            result["same"] = result["relative_error"] <= TOOLS[result["tool"]].allowed


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_device(parser)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--rows", type=int, default=50_000)
    parser.add_argument("--classes", type=int, default=1000)
    parser.add_argument("--batch", type=int, default=1000)
    parser.add_argument("--busy", type=int, default=0, metavar="N", help="measure again beside N busy processes")
    parser.add_argument("--json", type=Path, default=Path("build/bench_peers.json"))
    parser.add_argument("--tool", choices=list(TOOLS), help=argparse.SUPPRESS)  # set in the process of one tool
    return parser.parse_args()


def main() -> None:
    options = parse()
    if options.tool:
        run_tool(TOOLS[options.tool], options)
        return
    torch.set_num_threads(options.threads)
    results = [
        measure_quiet_and_busy(tool, options)
        for tool in track(TOOLS.values(), "measuring", console=Console(stderr=True))
    ]
    exact = exact_score(make_logits(options.rows, options.classes), options.batch)
    judge(results, exact)
    report: dict[str, Any] = {
        "machine": describe_machine(options.device, options.threads),
        "logits": {"rows": options.rows, "classes": options.classes, "batch": options.batch, "dtype": "float32"},
        "exact": exact,
        "results": results,
    }
    if options.device == "cpu":
        report["sums"] = price_of_float64(options)
    print(machine(report), "", *peers(report), "", sep="\n")
    if options.device == "cpu":
        print(*price_of_precision(report["sums"]), "", sep="\n")
    write_json(options.json, report)
    print(f"written: {options.json}")


if __name__ == "__main__":
    main()
