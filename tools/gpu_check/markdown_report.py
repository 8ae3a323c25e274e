"""The report, of Markdown for people and of JSON for programs."""

from __future__ import annotations

import json
import re
import subprocess
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

import amgan_fast
from benchmarks import gpu, markdown_tables
from tools.gpu_check.first_contact.measurement import Figures
from tools.gpu_check.running import Result
from tools.gpu_check.steps import FIRST_CONTACT

BENCHMARKS = {
    "bench_train_step": ("Training steps", markdown_tables.training),
    "bench_ops": ("Operations", markdown_tables.operations),
    "bench_peers": ("Inception Score in other libraries", markdown_tables.peers),
}


def commit() -> str:
    def git(*arguments: str) -> str:
        command = ["git", "-C", str(Path(__file__).parent), *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()

    try:
        return git("rev-parse", "--short", "HEAD") + (" with changes" if git("status", "--porcelain") else "")
    except (OSError, subprocess.CalledProcessError):  # no git, or no repository
        return "unknown"


def machine() -> dict[str, Any]:
    card = gpu.describe() if torch.cuda.is_available() else None
    return {"gpu": card, "torch": torch.__version__, "build": amgan_fast.build_info(), "commit": commit()}


def without_folders(value: Any) -> Any:
    """The same without the folders of absolute paths, which belong to a machine and its user."""
    if isinstance(value, dict):
        return {key: without_folders(x) for key, x in value.items()}
    if isinstance(value, list):
        return [without_folders(x) for x in value]
    return re.sub(r"(?<![\w.~/:])~?/(?:[^\s/\"':]+/)+", "", value) if isinstance(value, str) else value


def make_report(
    facts: dict[str, Any], results: list[Result], file_of: Callable[[str, str], Path], planned: int
) -> dict[str, Any]:
    """What there is of ``planned`` steps; the JSON of those that have left some, by the parts of a benchmark, but
    operations all together."""
    report: dict[str, Any] = {"machine": facts, "planned": planned, "steps": [asdict(result) for result in results]}
    for result in results:
        path = file_of(result.step, ".json")
        if not path.exists():
            continue
        try:
            left = json.loads(path.read_text())
        except ValueError:  # a step that was killed while it wrote
            continue
        name, _, part = result.step.partition("-")
        if name == "bench_ops" and name in report:
            for key in ("results", "bandwidth"):
                report[name][key] = report[name].get(key, []) + left.get(key, [])
        elif part and name != "bench_ops":
            report.setdefault(name, {})[part] = left
        else:
            report[name] = left
    return without_folders(report)


def describe(facts: dict[str, Any]) -> Iterator[str]:
    device, build = facts["gpu"], facts["build"]
    if device is None:
        yield f"- no GPU, torch {facts['torch']}"
    else:
        clock, bits, peak = device["memory_clock_khz"] / 1000, device["memory_bus_bits"], device["peak_bandwidth"]
        source = f"2 x {clock:,.0f} MHz x {bits:,} bits, from torch.cuda.get_device_properties"
        yield f"- GPU: {device['name']}, compute capability {device['capability']}, {device['multiprocessors']} SMs"
        yield (
            f"- memory: {device['memory_bytes'] / 2**30:.1f} GiB, L2 cache {device['l2_bytes'] / 2**20:.0f} MiB, "
            + (f"peak {peak / 1e9:,.0f} GB/s = {source}" if peak else "peak bandwidth unknown")
        )
        yield f"- driver {device['driver']}, torch {facts['torch']} with CUDA {device['cuda']}"
    kernels = (
        f"nvcc {build['cuda_version']} for {', '.join(build['cuda_architectures'])}"
        if build["cuda"]
        else f"without CUDA kernels ({build['cuda_reason']})"
    )
    yield f"- amgan_fast {build['version']}, commit {facts['commit']}, compiled with {build['compiler']} and {kernels}"


def step_table(steps: list[dict[str, Any]]) -> list[str]:
    rows = [[step["step"], step["status"], f"{step['seconds']:,.0f}", step["figures"]] for step in steps]
    return [*map(markdown_tables.row, [["step", "status", "seconds", "figures"], ["---", "---", "---:", "---"], *rows])]


def _cell(value: Any) -> str:
    """A time with what it is compared with, or any other figure."""
    if isinstance(value, dict):
        share = f", {value['share']:.0%}" if "share" in value else ""
        times = f", {value['of empty']:.1f} x" if "of empty" in value else ""
        return f"{value['us']:,.1f} µs{share}{times}"
    if isinstance(value, list):
        return ", ".join(map(_cell, value))
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def first_contact(results: dict[str, Figures]) -> Iterator[str]:
    """A table of those that have the same figures of several operations, a line of every other."""
    tabled = {name: x for name, x in results.items() if x and all(isinstance(value, dict) for value in x.values())}
    for name, figures in results.items():
        if name not in tabled:
            yield f"- {name}: {'; '.join(f'{key} {_cell(value)}' for key, value in figures.items())}"
    if tabled:
        columns = list(dict.fromkeys(key for figures in tabled.values() for key in figures))
        yield ""
        yield from markdown_tables.header(["", *columns])
        for name, figures in tabled.items():
            yield markdown_tables.row([name, *(_cell(figures[key]) if key in figures else "" for key in columns)])


def _section(title: str, lines: Iterable[str]) -> list[str]:
    return ["", f"## {title}", "", *lines]


def markdown(report: dict[str, Any]) -> str:
    steps = report["steps"]
    counts = Counter(step["status"] for step in steps)
    counts["to come"] = report["planned"] - len(steps)
    order = ("passed", "failed", "not run", "to come")
    verdict = ", ".join(f"{counts[status]} {status}" for status in order if counts[status])
    lines = [f"# GPU check: {verdict}", "", *describe(report["machine"]), "", *step_table(steps)]
    problems = [f"- {step['step']}: {problem}" for step in steps for problem in step["problems"]]
    if problems:
        lines += _section("Failures", problems)
    for step in steps:
        if step["tail"]:
            lines += ["", f"The end of what {step['step']} printed:", "", "```text", *step["tail"], "```"]
    for part in ("facts", *FIRST_CONTACT, "counters"):
        if part in report:
            lines += _section(f"First contact: {part.replace('_', ' ')}", first_contact(report[part]))
    for name, (title, table) in BENCHMARKS.items():
        if report.get(name, {"results": []}).get("results") != []:
            lines += _section(title, table(report[name]))
    return "\n".join(lines) + "\n"
