"""Everything that takes a GPU, step by step, in one report: report.md, and report.json for programs.

    python -m tools.gpu_check [--only STEP ...] [--out build/gpu_check] [-n 8]

The first contact (facts, the error of 2^x, launches on many streams, times of the host, of kernels and of training
steps, short runs), the tests marked cuda, those of CUDA graphs, compute-sanitizer over the tests of memory, and the
benchmarks with their share of the GPU's bandwidth. Each step is a process of its own: one that fails, or leaves the
GPU's context unusable, keeps no other from running. What it prints goes to the screen and to a file beside the report,
which is written anew after every step. A step that lacks a GPU or a tool says so and is no failure. Fails where a step
failed.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import sys
from pathlib import Path
from typing import Any

import torch

import amgan_fast
from benchmarks.reports import write_text
from tools.gpu_check.markdown_report import machine, make_report, markdown, step_table, without_folders
from tools.gpu_check.running import LIMIT, Result, run
from tools.gpu_check.steps import Step, Steps

FOLDER = Path("build/gpu_check")
MOST_WORKERS = 8  # of pytest: each has a context of its own on the GPU


def why_not() -> str:
    """Why the GPU's steps cannot run; empty where they can."""
    if not torch.cuda.is_available():
        return "no GPU"
    info = amgan_fast.build_info()
    return "" if info["cuda"] else f"built without CUDA kernels ({info['cuda_reason']})"


def default_workers() -> int:
    return min(MOST_WORKERS, os.cpu_count() or 1) if has_xdist() else 1


def has_xdist() -> bool:
    return importlib.util.find_spec("xdist") is not None


def parse(parser: argparse.ArgumentParser) -> argparse.Namespace:
    parser.add_argument(
        "--only",
        nargs="+",
        metavar="STEP",
        help="these steps, and those whose names begin so: memcheck, bench_ops-score",
    )
    parser.add_argument("--list", action="store_true", help="print the steps, and run none")
    parser.add_argument("--out", type=Path, default=FOLDER, metavar="DIR", help=f"default: {FOLDER}")
    parser.add_argument("--resume", action="store_true", help="leave out what has passed, as the report in DIR says")
    parser.add_argument("-n", "--workers", type=int, default=default_workers(), help="processes of pytest, by xdist")
    parser.add_argument("--limit", type=float, default=LIMIT, metavar="SECONDS", help=f"of a step; default: {LIMIT}")
    options = parser.parse_args()
    if options.workers > 1 and not has_xdist():
        parser.error(f"-n is {options.workers}, wanted 1: pytest-xdist is not installed")
    return options


def chosen(steps: list[Step], only: list[str] | None) -> list[Step]:
    """
    Raises:
        ValueError: no step's name begins with one of these.
    """
    if only is None:
        return steps
    names = [step.name for step in steps]
    wanted: set[str] = set()
    for word in only:
        # A name stands for itself alone, though others begin with it.
        found = [word] if word in names else [name for name in names if name.startswith(word)]
        if not found:
            raise ValueError(f"--only is {word}, wanted the name of a step, or its beginning: {', '.join(names)}")
        wanted.update(found)
    return [step for step in steps if step.name in wanted]


def results_before(path: Path, facts: dict[str, Any]) -> list[Result]:
    """Those in the report of an earlier run of the same commit on the same machine."""
    if not path.exists():
        return []
    report = json.loads(path.read_text())
    if report["machine"] != without_folders(facts):
        return []
    return [Result(**step) for step in report["steps"]]


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m tools.gpu_check", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    options = parse(parser)
    plan = Steps(options.out, why_not(), options.workers)
    try:
        steps = chosen(list(plan), options.only)
    except ValueError as error:
        parser.error(str(error))
    if options.list:
        print(*(f"{step.name}{f': {step.missing}' if step.missing else ''}" for step in steps), sep="\n")
        return
    options.out.mkdir(parents=True, exist_ok=True)
    path, facts = options.out / "report.md", machine()
    before = results_before(path.with_suffix(".json"), facts) if options.resume else []
    passed = {result.step for result in before if result.status == "passed"}
    to_run = [step for step in steps if step.name not in passed]
    again = {step.name for step in to_run}
    results = [result for result in before if result.step not in again]
    planned = len(results) + len(to_run)
    for step in to_run:
        if not options.resume:  # nothing of an earlier run gets into the report
            for suffix in (".log", ".xml", ".json"):
                plan.file(step.name, suffix).unlink(missing_ok=True)
        results.append(run(step, plan.file(step.name, ".log"), options.limit))
        report = make_report(facts, results, plan.file, planned)
        write_text(path.with_suffix(".json"), json.dumps(report, indent=1) + "\n")
        write_text(path, markdown(report))
    if not to_run:
        print(f"nothing to run: {path} has it")
        return
    print("", *step_table(report["steps"]), "", f"written: {path}", sep="\n")
    failed = [result.step for result in results if result.status == "failed"]
    if failed:
        sys.exit(f"gpu-check failed: {', '.join(failed)}")


if __name__ == "__main__":
    main()
