"""The report, of Markdown for people and of JSON for programs."""

from __future__ import annotations

import json
import re
import subprocess
from collections import Counter
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

import amgan_fast
from benchmarks import gpu, markdown_tables
from tools.gpu_check.running import Result
from tools.gpu_check.steps import file_of

BENCHMARKS = {
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
    build = amgan_fast.build_info()
    return {"gpu": gpu.describe(), "torch": torch.__version__, "build": build, "commit": commit()}


def without_folders(value: Any) -> Any:
    """The same without the folders of absolute paths, which belong to a machine and its user."""
    if isinstance(value, dict):
        return {key: without_folders(x) for key, x in value.items()}
    if isinstance(value, list):
        return [without_folders(x) for x in value]
    return re.sub(r"(?<![\w.~/:])~?/(?:[^\s/\"':]+/)+", "", value) if isinstance(value, str) else value


def make_report(facts: dict[str, Any], results: list[Result]) -> dict[str, Any]:
    measured = {name: file_of(name, ".json") for name in BENCHMARKS}
    figures = {name: json.loads(path.read_text()) for name, path in measured.items() if path.exists()}
    return without_folders({"machine": facts, "steps": [asdict(result) for result in results], **figures})


def describe(facts: dict[str, Any]) -> list[str]:
    device, build = facts["gpu"], facts["build"]
    clock, bits, peak = device["memory_clock_khz"] / 1000, device["memory_bus_bits"], device["peak_bandwidth"]
    source = f"2 x {clock:,.0f} MHz x {bits:,} bits, from torch.cuda.get_device_properties"
    return [
        f"- GPU: {device['name']}, compute capability {device['capability']}, {device['multiprocessors']} SMs",
        f"- memory: {device['memory_bytes'] / 2**30:.1f} GiB, "
        + (f"peak {peak / 1e9:,.0f} GB/s = {source}" if peak else "peak bandwidth unknown"),
        f"- driver {device['driver']}, torch {facts['torch']} with CUDA {device['cuda']}",
        f"- amgan_fast {build['version']}, commit {facts['commit']}, compiled with {build['compiler']} and nvcc "
        f"{build['cuda_version']} for {', '.join(build['cuda_architectures'])}",
    ]


def step_table(steps: list[dict[str, Any]]) -> list[str]:
    rows = [[step["step"], step["status"], f"{step['seconds']:,.0f}", step["figures"]] for step in steps]
    return [*map(markdown_tables.row, [["step", "status", "seconds", "figures"], ["---", "---", "---:", "---"], *rows])]


def markdown(report: dict[str, Any]) -> str:
    steps = report["steps"]
    counts = Counter(step["status"] for step in steps)
    verdict = ", ".join(f"{counts[status]} {status}" for status in ("passed", "failed", "not run") if counts[status])
    lines = [f"# GPU check: {verdict}", "", *describe(report["machine"]), "", *step_table(steps)]
    problems = [f"- {step['step']}: {problem}" for step in steps for problem in step["problems"]]
    if problems:
        lines += ["", "## Failures", "", *problems]
    for name, (title, table) in BENCHMARKS.items():
        if name in report:
            lines += ["", f"## {title}", "", *table(report[name])]
    return "\n".join(lines) + "\n"
