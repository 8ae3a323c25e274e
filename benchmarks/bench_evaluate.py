"""A folder of images to its Inception Score: ours, torch-fidelity, torchmetrics and ignite, files and network the same.

    python -m benchmarks.bench_evaluate [--rounds 3] [--only png jpeg] [--json build/bench_evaluate.json]

Each in a process of its own, the way its users run it (benchmarks/evaluation_tools.py), in turn. "wall" is that of the
process, "after imports" what is left without those of the tool. "peak" is what the process and its workers hold at
most, beyond one that imports torch alone; it is of a round of its own, that is not timed. The files are from a seed:

    png        20,000 of 32 x 32 pixels, a network of two small convolutions
    jpeg       1,000 of 256 x 256 pixels, resized to 224, the same network
    imagenet   200 PNG files of 224 x 224, efficientnet_b0 of torchvision, whose weights are random (--only imagenet)

``--against CHECKOUT`` measures that of another checkout, with its extension built, beside. ``--profile`` prints instead
what ours spends its time with (benchmarks/evaluation_parts.py).
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.evaluation_tools import MODULES
from benchmarks.machine import describe_machine
from benchmarks.markdown_tables import evaluations, machine
from benchmarks.process_memory import peak_of
from benchmarks.reports import write_json

HERE = Path(__file__).parent.parent

NETWORKS = """
import torch
from torch import nn

def small():
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(3, 16, 3, 2), nn.ReLU(), nn.Conv2d(16, 32, 3, 2), nn.ReLU(),
                            nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(32, 10))
    with torch.no_grad():
        network[-1].weight *= 50
    return network.eval()

def efficientnet_b0():
    from torchvision.models import efficientnet_b0
    torch.manual_seed(0)
    return efficientnet_b0(weights=None).eval()
"""


@dataclass(frozen=True)
class Work:
    """Images to make, and the network to score them with."""

    count: int
    side: int
    suffix: str
    network: str = "small"
    classes: int = 10
    size: int | None = None
    """That they are resized to."""


def works(options: argparse.Namespace) -> dict[str, Work]:
    return {
        "png": Work(options.pngs, 32, "png"),
        "jpeg": Work(options.jpegs, 256, "jpg", size=224),
        "imagenet": Work(options.imagenet, 224, "png", "efficientnet_b0", 1000),
    }


def make_files(folder: Path, work: Work) -> None:
    """Noise over shapes that files can be compressed by, as photographs are."""
    from PIL import Image

    random = np.random.default_rng(0)
    folder.mkdir()
    for i in range(work.count):
        coarse = Image.fromarray(random.integers(256, size=(8, 8, 3), dtype=np.uint8))
        smooth = np.asarray(coarse.resize((work.side, work.side), Image.Resampling.BICUBIC), np.int16)
        noisy = smooth + random.integers(-12, 13, size=smooth.shape, dtype=np.int16)
        image = Image.fromarray(noisy.clip(0, 255).astype(np.uint8))
        image.save(folder / f"{i:05}.{work.suffix}", quality=90)


class Bench:
    """Runs tools over the files in a folder."""

    def __init__(self, folder: Path, threads: int) -> None:
        self._folder = folder
        # Empty: ours is compiled to bytecode once, in the round of memory, as the others were when they were installed.
        self._environment = os.environ | {"OMP_NUM_THREADS": str(threads), "PYTHONDONTWRITEBYTECODE": ""}

    def measure(self, tools: dict[str, Path], name: str, work: Work, rounds: int) -> list[dict[str, Any]]:
        """Of each tool, by its name, in the checkout that it is of."""
        results = [self._memory(label, checkout, name, work) for label, checkout in tools.items()]
        for _ in range(rounds):
            for result in results:
                if "error" not in result:
                    self._time(result, tools[result["tool"]], name, work)
        for result in results:
            if "error" not in result:
                for kind in ("wall", "after_imports"):
                    result[kind] = statistics.median(result["rounds"][kind])
        return results

    def profile(self, name: str, work: Work) -> str:
        """The table of :mod:`benchmarks.evaluation_parts`, of a second run: the first compiles to bytecode."""
        program = [sys.executable, "-m", "benchmarks.evaluation_parts", name, f"scored_networks:{work.network}"]
        resized = ["--size", str(work.size)] if work.size else []
        options: dict[str, Any] = {"cwd": self._folder, "env": self._paths(HERE), "check": True}
        runs = [subprocess.run([*program, *resized], capture_output=True, text=True, **options) for _ in range(2)]
        return runs[-1].stdout

    def _memory(self, label: str, checkout: Path, name: str, work: Work) -> dict[str, Any]:
        result = {"tool": label, "work": name, "rounds": {"wall": [], "after_imports": []}}
        if find_spec(MODULES[_tool(label)]) is None:
            return result | {"error": "not installed"}
        options: dict[str, Any] = {"cwd": self._folder, "env": self._paths(checkout)}
        try:
            peak = peak_of(self._command(label, name, work), **options)
        except subprocess.CalledProcessError as error:
            return result | {"error": f"exit status {error.returncode}"}
        alone = peak_of([sys.executable, "-c", "import torch, time; time.sleep(0.2)"], **options)
        return result | {"peak_mib": peak and alone and peak - alone}

    def _time(self, result: dict[str, Any], checkout: Path, name: str, work: Work) -> None:
        command = self._command(result["tool"], name, work)
        start = time.perf_counter()
        done = subprocess.run(
            command, cwd=self._folder, env=self._paths(checkout), capture_output=True, text=True, check=True
        )
        result["rounds"]["wall"].append(time.perf_counter() - start)
        found = json.loads(done.stdout.splitlines()[-1])
        result["rounds"]["after_imports"].append(found["seconds"])
        result["score"] = found["score"]

    def _command(self, label: str, name: str, work: Work) -> Sequence[str]:
        resized = ["--size", str(work.size)] if work.size else []
        program = [sys.executable, str(HERE / "benchmarks/evaluation_tools.py"), _tool(label)]
        return [*program, name, f"scored_networks:{work.network}", "--classes", str(work.classes), *resized]

    def _paths(self, checkout: Path) -> dict[str, str]:
        return self._environment | {"PYTHONPATH": f"{checkout}:{self._folder}"}


def _tool(label: str) -> str:
    return label.partition(" of ")[0]


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--against", type=Path)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--only", nargs="+", choices=["png", "jpeg", "imagenet"], default=["png", "jpeg"])
    parser.add_argument("--tools", nargs="+", choices=list(MODULES), default=list(MODULES))
    parser.add_argument("--pngs", type=int, default=20_000)
    parser.add_argument("--jpegs", type=int, default=1_000)
    parser.add_argument("--imagenet", type=int, default=200)
    parser.add_argument("--profile", action="store_true")
    parser.add_argument("--json", type=Path, default=Path("build/bench_evaluate.json"))
    return parser.parse_args()


def main() -> None:
    options = parse()
    tools = dict.fromkeys(options.tools, HERE)
    if options.against:
        tools[f"ours of {options.against}"] = options.against.resolve()
    results: list[dict[str, Any]] = []
    asked = {name: work for name, work in works(options).items() if name in options.only}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "scored_networks.py").write_text(NETWORKS)
        bench = Bench(folder, options.threads)
        for what, work in asked.items():
            make_files(folder / what, work)
            if options.profile:
                print(f"{what}:", bench.profile(what, work), sep="\n\n")
                continue
            results += bench.measure(tools, what, work, options.rounds)
    if options.profile:
        return
    report = {
        "machine": describe_machine("cpu", options.threads),
        "work": {name: vars(work) for name, work in asked.items()},
        "results": results,
    }
    print(machine(report), "", *evaluations(report), "", sep="\n")
    write_json(options.json, report)
    print(f"written: {options.json}")


if __name__ == "__main__":
    main()
