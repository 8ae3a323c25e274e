"""Everything that takes a GPU, in one report: build/gpu_check.md, and build/gpu_check.json for programs.

    python benchmarks/gpu_check.py

Runs the tests marked cuda, those of CUDA graphs, compute-sanitizer over the tests of memory, and both benchmarks with
their share of the GPU's bandwidth. Each step is a process of its own: one that fails, or leaves the GPU's context
unusable, keeps no other from running. What it prints goes to the screen and to build/gpu_check/. A step whose tool is
missing is reported as not run. Fails where a step failed.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from threading import Timer
from typing import Any
from xml.etree import ElementTree

import gpu
import tables
import torch
from common import write_json, write_text

import amgan_fast

HERE = Path(__file__).parent
TESTS = HERE.parent / "python_tests"
REPORT = Path("build/gpu_check.md")
FOLDER = REPORT.with_suffix("")  # of what the steps print and leave
LIMIT = 3600  # seconds of a step
SANITIZERS = ("memcheck", "racecheck", "initcheck", "synccheck")
BENCHMARKS = {
    "bench_ops": ("Operations", tables.operations),
    "bench_peers": ("Inception Score in other libraries", tables.peers),
}


@dataclass
class Findings:
    figures: str
    problems: list[str] = field(default_factory=list)


@dataclass
class Step:
    """``read`` makes findings of what the command left."""

    name: str
    command: list[str]
    read: Callable[[], Findings]
    environment: dict[str, str] = field(default_factory=dict)
    missing: str = ""  # why it cannot run


@dataclass
class Result:
    step: str
    status: str  # passed, failed or not run
    seconds: float
    figures: str
    problems: list[str]


def file_of(name: str, suffix: str) -> Path:
    return FOLDER / f"{name.replace(' ', '_')}{suffix}"


# --- What the steps leave


def read_tests(junit: Path) -> Findings:
    """Tests that were all skipped prove nothing."""
    counts: Counter[str] = Counter()
    failed = []
    for case in ElementTree.parse(junit).iter("testcase"):
        tags = {child.tag for child in case}
        outcome = "failed" if tags & {"failure", "error"} else "skipped" if "skipped" in tags else "passed"
        counts[outcome] += 1
        if outcome == "failed":
            failed.append(f"{case.get('classname')}::{case.get('name')}")
    figures = ", ".join(f"{counts[outcome]:,} {outcome}" for outcome in ("passed", "failed", "skipped"))
    return Findings(figures, failed if counts["passed"] else [*failed, "no test passed"])


def read_sanitizer(log: Path, junit: Path) -> Findings:
    """The tool's own summary, and the tests that it watched."""
    summaries = re.findall(r"(?:ERROR|RACECHECK) SUMMARY: (.*)", log.read_text())
    tests = read_tests(junit)
    unclean = [text for text in summaries or ["no summary"] if not re.match(r"0 (?:errors|hazards)", text)]
    return Findings("; ".join([*summaries, f"tests: {tests.figures}"]), unclean + tests.problems)


def read_operations(path: Path) -> Findings:
    report = json.loads(path.read_text())
    measured = [f"{name} {rate / 1e9:,.0f} GB/s" for name, rate in report["bandwidths"].items()]
    best = max(report["results"], key=lambda result: result["ratios"]["share of copy"])
    share = f"{best['key']} reaches {best['ratios']['share of copy']:.0%} of the copy"
    return Findings("; ".join([f"{len(report['results'])} cases", *measured, share]))


def read_peers(path: Path) -> Findings:
    results = json.loads(path.read_text())["results"]
    times = [f"{result['tool']} {result['seconds']:.3f} s" for result in results if "error" not in result]
    (ours,) = (result for result in results if result["tool"] == "ours")
    problem = ours.get("error") or ("" if ours["same"] else f"relative error {ours['relative_error']:.1e}")
    return Findings("; ".join(times), [f"ours: {problem}"] if problem else [])


# --- The steps


def pytest_step(name: str, *arguments: str) -> Step:
    junit = file_of(name, ".xml")
    command = [sys.executable, "-m", "pytest", "-q", "-m", "cuda", f"--junit-xml={junit}", *arguments]
    return Step(name, command, lambda: read_tests(junit))


def sanitizer_step(tool: str, sanitizer: str | None) -> Step:
    name = f"compute-sanitizer {tool}"
    # Errors of CUDA calls are torch's to raise: the tool would also report those of asking for what a driver lacks.
    options = ["--tool", tool, "--error-exitcode", "1", "--target-processes", "all", "--report-api-errors", "no"]
    tests = [str(TESTS / name) for name in ("test_placement.py", "test_leaky_dropout.py::test_any_layout")]
    return Step(
        name,
        [sanitizer or "", *options, *pytest_step(name, *tests).command],
        lambda: read_sanitizer(file_of(name, ".log"), file_of(name, ".xml")),
        {"PYTORCH_NO_CUDA_MEMORY_CACHING": "1"},  # an allocation for each tensor, whose bounds are then the tensor's
        "" if sanitizer else "compute-sanitizer not found",
    )


def benchmark_step(name: str, read: Callable[[Path], Findings]) -> Step:
    path = file_of(name, ".json")
    command = [sys.executable, str(HERE / f"{name}.py"), "--device", "cuda", "--json", str(path)]
    return Step(name, command, lambda: read(path))


def find_sanitizer() -> str | None:
    """On PATH, or in the toolkit that CUDA_HOME names."""
    toolkit = Path(os.environ.get("CUDA_HOME", "")) / "bin"
    return shutil.which("compute-sanitizer") or shutil.which("compute-sanitizer", path=str(toolkit))


def all_steps() -> list[Step]:
    graphs, sanitizer = str(TESTS / "test_cuda_graphs.py"), find_sanitizer()
    return [
        pytest_step("tests", str(TESTS), f"--ignore={graphs}"),
        pytest_step("CUDA graphs", graphs),
        *(sanitizer_step(tool, sanitizer) for tool in SANITIZERS),
        benchmark_step("bench_ops", read_operations),
        benchmark_step("bench_peers", read_peers),
    ]


# --- Running them


def stop(process: subprocess.Popen[str]) -> None:
    """With all that it has started."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)


def execute(step: Step) -> int:
    """The exit status. What the step prints goes to its log and, as it comes, to the screen."""
    options = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True, "errors": "replace"}
    environment = os.environ | {"PYTHONUNBUFFERED": "1"} | step.environment
    with (
        file_of(step.name, ".log").open("w") as log,
        subprocess.Popen(step.command, env=environment, start_new_session=True, **options) as process,
    ):
        limit = Timer(LIMIT, stop, [process])
        limit.start()
        try:
            for line in process.stdout:
                log.write(line)
                print(line, end="", flush=True)
            return process.wait()
        except BaseException:
            stop(process)
            raise
        finally:
            limit.cancel()


def run(step: Step) -> Result:
    print(f"\n== {step.name}", flush=True)
    if step.missing:
        print(step.missing)
        return Result(step.name, "not run", 0.0, step.missing, [])
    start = time.monotonic()
    status = execute(step)
    seconds = time.monotonic() - start
    try:
        found = step.read()
    except Exception as error:  # whatever is wrong with what a step left is a problem of that step
        found = Findings("no result", [] if status else [f"{type(error).__name__}: {error}"])
    if status:
        ended = f"stopped after {LIMIT} s" if seconds >= LIMIT else f"exit status {status}"
        found.problems.append(f"{ended}; its output is in {file_of(step.name, '.log')}")
    return Result(step.name, "failed" if found.problems else "passed", seconds, found.figures, found.problems)


# --- The report


def commit() -> str:
    def git(*arguments: str) -> str:
        return subprocess.run(["git", *arguments], cwd=HERE, capture_output=True, text=True, check=True).stdout.strip()

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
    return [*map(tables.row, [["step", "status", "seconds", "figures"], ["---", "---", "---:", "---"], *rows])]


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


def why_not() -> str | None:
    if not torch.cuda.is_available():
        return "torch sees no CUDA GPU here"
    if not amgan_fast.build_info()["cuda"]:
        return f"amgan_fast was built without CUDA kernels ({amgan_fast.build_info()['cuda_reason']})"
    return None


def main() -> None:
    reason = why_not()
    if reason:
        sys.exit(f"gpu-check: {reason}; nothing was run")
    shutil.rmtree(FOLDER, ignore_errors=True)  # nothing of an earlier run gets into the report
    FOLDER.mkdir(parents=True)
    report = make_report(machine(), [run(step) for step in all_steps()])
    write_json(REPORT.with_suffix(".json"), report)
    write_text(REPORT, markdown(report))
    print("", *step_table(report["steps"]), "", f"written: {REPORT}", sep="\n")
    failed = [step["step"] for step in report["steps"] if step["status"] == "failed"]
    if failed:
        sys.exit(f"gpu-check failed: {', '.join(failed)}")


if __name__ == "__main__":
    main()
