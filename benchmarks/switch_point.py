"""Time both ways through short rows, and so where one should give way to the other (kLaneColumns in csrc/cpu/lanes.h).

    python -m benchmarks.switch_point [--threads 2]

Builds the module twice, with every row across its columns and with a row a lane up to WIDEST classes, and times both in
turn, each in a process of its own. Prints nanoseconds per logit, the lowest of all rounds, for docs/design.md. Builds
for two minutes the first time.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path

import torch
from torch.utils.benchmark import Timer

ROOT = Path(__file__).parent.parent
WIDEST = 160
CLASSES = [8, 11, 16, 32, 48, 64, 80, 96, 128]
ELEMENTS = 2_000_000
ROUNDS = 5
WAYS = {"across columns": 0, "a row a lane": WIDEST}


def build(lane_columns: int) -> Path:
    folder = Path(f"build/switch_point/{lane_columns}").resolve()
    environment = os.environ | {"AMGAN_CUDA": "0"}
    options = [f"-DPython_EXECUTABLE={sys.executable}", "-DCMAKE_BUILD_TYPE=Release"]
    options += [f"-DCMAKE_CXX_FLAGS=-DAMGAN_LANE_COLUMNS={lane_columns}"]
    for command in (
        ["cmake", "-G", "Ninja", "-S", str(ROOT), "-B", str(folder), *options],
        ["cmake", "--build", str(folder)],
    ):
        subprocess.run(command, env=environment, check=True, stdout=sys.stderr)
    return folder / "libamgan_fast.so"


def measure(module: str, threads: int) -> dict[str, list[float]]:
    torch.ops.load_library(module)
    torch.set_num_threads(threads)
    times: dict[str, list[float]] = {}
    for name in ("score_sums", "class_entropy"):
        operation = getattr(torch.ops.amgan_fast, name).default
        for classes in CLASSES:
            logits = torch.randn(ELEMENTS // classes, classes)
            timer = Timer("operation(logits)", globals={"operation": operation, "logits": logits}, num_threads=threads)
            times.setdefault(name, []).append(timer.timeit(20).median * 1e9 / logits.numel())
    return times


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--measure", metavar="MODULE", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        print(json.dumps(measure(options.measure, options.threads)))
        return

    modules = {way: build(lane_columns) for way, lane_columns in WAYS.items()}
    best: dict[tuple[str, str], list[float]] = {}
    for _ in range(ROUNDS):
        for way, module in modules.items():
            command = [
                sys.executable,
                "-m",
                "benchmarks.switch_point",
                "--measure",
                str(module),
                "--threads",
                str(options.threads),
            ]
            output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
            for name, times in json.loads(output).items():
                best[name, way] = [min(pair) for pair in zip(times, best.get((name, way), times), strict=True)]
    print("| classes | " + " | ".join(map(str, CLASSES)) + " |\n|" + "---|" * (len(CLASSES) + 1))
    for (name, way), times in sorted(best.items(), reverse=True):
        print(f"| {name}, {way} | " + " | ".join(f"{time:.2f}" for time in times) + " |")


if __name__ == "__main__":
    main()
