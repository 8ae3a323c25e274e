"""Which steps there are."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from tools.gpu_check.findings import Findings, read_operations, read_peers, read_sanitizer, read_tests

TESTS = Path(__file__).parents[2] / "python_tests"
FOLDER = Path("build/gpu_check")  # of what the steps print and leave
SANITIZERS = ("memcheck", "racecheck", "initcheck", "synccheck")


@dataclass
class Step:
    """``read`` makes findings of what the command left."""

    name: str
    command: list[str]
    read: Callable[[], Findings]
    environment: dict[str, str] = field(default_factory=dict)
    missing: str = ""  # why it cannot run


def file_of(name: str, suffix: str) -> Path:
    return FOLDER / f"{name.replace(' ', '_')}{suffix}"


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
    command = [sys.executable, "-m", f"benchmarks.{name}", "--device", "cuda", "--json", str(path)]
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
