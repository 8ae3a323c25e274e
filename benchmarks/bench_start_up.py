"""How long a command takes before it does anything, by the command that a user types.

    python -m benchmarks.bench_start_up [--against CHECKOUT] [--rounds 9]

Each in a process of its own, in turn, beside those that no command of the kind can beat: Python, Typer's help alone and
``import torch``. With ``--against`` those of another built checkout, too. Modules are compiled to bytecode in a first
round, which is not counted: an installed package is.
"""

from __future__ import annotations

import argparse
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from benchmarks.markdown_tables import header, row

HERE = Path(__file__).parent.parent

COMMAND = ["-m", "amgan_fast"]
SAMPLES = """
from pathlib import Path
import torch
from amgan_fast.drawing import save_sheet
save_sheet(Path("sheet.png"), torch.zeros(2, 3, 1, 8, 8, dtype=torch.uint8))
"""
WORK: dict[str, list[str]] = {
    "python -c pass": ["-c", "pass"],
    "Typer's help": ["-c", "import typer, typer.rich_utils"],
    "amgan-fast --help": [*COMMAND, "--help"],
    "amgan-fast train --help": [*COMMAND, "train", "--help"],
    "amgan-fast evaluate, a bad option": [*COMMAND, "evaluate", "--nothing"],
    "amgan-fast train --model, a bad name": [*COMMAND, "train", "--model", "vae"],
    "import torch": ["-c", "import torch"],
    "import amgan_fast.metrics": ["-c", "import amgan_fast.metrics"],
    "amgan-fast info": [*COMMAND, "info"],
    "amgan-fast evaluate, 100 x 4 logits": [*COMMAND, "evaluate", "--logits", "logits.npy", "--json"],
    "a sheet of samples": ["-c", SAMPLES],
}
"""What is timed -> arguments of Python."""


def once(checkout: Path, folder: Path, arguments: Sequence[str]) -> tuple[float, float]:
    """Seconds, and those of a CPU, which neighbours change less. A bad option's exit status, 2, is as good as 0."""
    environment = os.environ | {"PYTHONPATH": str(checkout)}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    start, cpu = time.perf_counter(), cpu_seconds()
    done = subprocess.run([sys.executable, *arguments], cwd=folder, env=environment, capture_output=True, text=True)
    seconds = time.perf_counter() - start, cpu_seconds() - cpu
    if done.returncode not in (0, 2):
        raise SystemExit(f"{' '.join(arguments)} in {checkout}: {done.stderr}")
    return seconds


def cpu_seconds() -> float:
    """Of all processes that have ended."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--against", type=Path, help="a checkout with its extension built")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--only", default="", help="part of the names of what is to be measured")
    options = parser.parse_args()
    checkouts = {"here": HERE} | ({"there": options.against.resolve()} if options.against else {})
    work = {what: arguments for what, arguments in WORK.items() if options.only in what}
    found: dict[tuple[str, str], list[tuple[float, float]]] = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        np.save(folder / "logits.npy", 9 * np.eye(4, dtype=np.float32).repeat(25, axis=0))
        for done in range(-1, options.rounds):
            for what, arguments in work.items():
                for place, checkout in checkouts.items():
                    seconds = once(checkout, folder, arguments)
                    if done >= 0:
                        found.setdefault((what, place), []).append(seconds)
    print(*header(["what", *(f"{place}, {of}" for place in checkouts for of in ("s", "CPU s"))]), sep="\n")
    for what in work:
        times = (statistics.median(x) for place in checkouts for x in zip(*found[what, place], strict=True))
        print(row([what, *(f"{seconds:.3f}" for seconds in times)]))


if __name__ == "__main__":
    main()
