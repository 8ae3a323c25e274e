"""Which steps there are, in the order of what they tell about a GPU that has met none of this."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from tools.gpu_check.findings import (
    Findings,
    read_collection,
    read_first_contact,
    read_operations,
    read_peers,
    read_sanitizer,
    read_tests,
    read_training,
)

TESTS = Path(__file__).parents[2] / "python_tests"
# Steps of their own: a profiler and most of the GPU's memory leave no room for others.
ALONE = {"graphs": "test_cuda_graphs.py", "launches": "test_cuda_launches.py", "large-inputs": "test_large_inputs.py"}
SANITIZERS = ("memcheck", "racecheck", "initcheck", "synccheck")
SANITIZED = ("test_placement.py", "test_leaky_dropout.py::test_any_layout")
DTYPES = {"float32": "", "bfloat16": "", "float16": " and not bfloat16", "float64": ""}  # a step each, and pytest's -k
FIRST_CONTACT = ("streams", "exponential", "host", "kernels", "training", "short_run")
NETWORKS = ("conv", "paper")
# bench_ops --only: each operation compiles for minutes.
OPERATIONS = (
    "am_discriminator_loss",
    "am_generator_loss",
    "labelgan_generator_loss",
    "kplus1",
    "class_entropy",
    "score_sums",
    "leaky_dropout",
    "bandwidth",
)


@dataclass
class Step:
    """``read`` makes findings of what the command left."""

    name: str
    command: list[str]
    read: Callable[[], Findings]
    environment: dict[str, str] = field(default_factory=dict)
    missing: str = ""  # why it cannot run


class Steps:
    """
    Args:
        folder: of what they print and leave.
        no_gpu: why none can be used; empty where one can.
        workers: processes of pytest.
    """

    def __init__(self, folder: Path, no_gpu: str, workers: int) -> None:
        self._folder = folder
        self._no_gpu = no_gpu
        self._workers = ["-n", str(workers)] if workers > 1 else []

    def __iter__(self) -> Iterator[Step]:
        yield self._first_contact("facts", "cpu" if self._no_gpu else "cuda", "")
        for part in FIRST_CONTACT:
            yield self._first_contact(part, "cuda", self._no_gpu)
        yield self._collection()
        yield self._tests(
            "tests", [str(TESTS), *(f"--ignore={TESTS / file}" for file in ALONE.values())], parallel=True
        )
        for name, file in ALONE.items():
            yield self._tests(name, [str(TESTS / file)], parallel=name == "graphs")
        found = find_sanitizer()
        for tool in SANITIZERS:
            for dtype in DTYPES:
                yield self._sanitizer(tool, dtype, found)
        profiler = "" if shutil.which("ncu") else "ncu not found"
        yield self._first_contact("counters", "cuda", self._no_gpu or profiler)
        for network in NETWORKS:
            name = f"bench_train_step-{network}"
            yield self._benchmark(name, "bench_train_step", read_training, "--network", network)
        for operation in OPERATIONS:
            yield self._benchmark(f"bench_ops-{operation}", "bench_ops", read_operations, "--only", operation)
        yield self._benchmark("bench_peers", "bench_peers", read_peers)

    def file(self, name: str, suffix: str) -> Path:
        return self._folder / f"{name}{suffix}"

    def _first_contact(self, part: str, device: str, missing: str) -> Step:
        path = self.file(part, ".json")
        command = _module("tools.gpu_check.first_contact", part, "--device", device, "--json", str(path))
        return Step(part, command, lambda: read_first_contact(path), missing=missing)

    def _collection(self) -> Step:
        log = self.file("collect", ".log")
        command = _module("pytest", "-qq", "-rs", "-m", "cuda", "--collect-only", str(TESTS))
        return Step("collect", command, lambda: read_collection(log))

    def _tests(self, name: str, arguments: list[str], parallel: bool) -> Step:
        junit = self.file(name, ".xml")
        workers = self._workers if parallel else []
        command = _module("pytest", "-q", "-m", "cuda", f"--junit-xml={junit}", *workers, *arguments)
        return Step(name, command, lambda: read_tests(junit), missing=self._no_gpu)

    def _sanitizer(self, tool: str, dtype: str, sanitizer: str | None) -> Step:
        step = self._tests(f"{tool}-{dtype}", [str(TESTS / name) for name in SANITIZED], parallel=False)
        # Errors of CUDA calls are torch's to raise: the tool would also report those of asking for what a driver lacks.
        options = ["--tool", tool, "--error-exitcode", "1", "--target-processes", "all", "--report-api-errors", "no"]
        return Step(
            step.name,
            [sanitizer or "", *options, *step.command, "-k", dtype + DTYPES[dtype]],
            lambda: read_sanitizer(self.file(step.name, ".log"), self.file(step.name, ".xml")),
            {
                "PYTORCH_NO_CUDA_MEMORY_CACHING": "1"
            },  # an allocation for each tensor, whose bounds are then the tensor's
            self._no_gpu or ("" if sanitizer else "compute-sanitizer not found"),
        )

    def _benchmark(self, name: str, module: str, read: Callable[[Path], Findings], *arguments: str) -> Step:
        path = self.file(name, ".json")
        command = _module(f"benchmarks.{module}", "--device", "cuda", "--json", str(path), *arguments)
        return Step(name, command, lambda: read(path), missing=self._no_gpu)


def _module(name: str, *arguments: str) -> list[str]:
    return [sys.executable, "-m", name, *arguments]


def find_sanitizer() -> str | None:
    """On PATH, or in the toolkit that CUDA_HOME names."""
    toolkit = Path(os.environ.get("CUDA_HOME", "")) / "bin"
    return shutil.which("compute-sanitizer") or shutil.which("compute-sanitizer", path=str(toolkit))
