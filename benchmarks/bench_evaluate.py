"""How long everything that is measured of a set takes, and how much memory, by the command that a user types.

    python -m benchmarks.bench_evaluate [--against CHECKOUT] [--rounds 5] [--only logits]

Logits of 50,000 x 1,000 and 200,000 x 10, the same through ScoreAccumulator alone, and 20,000 images of 32 x 32 through
a small network, from an .npz and from a folder of .png. Each in a process of its own; with ``--against`` those of
another built checkout in turn.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from benchmarks.markdown_tables import row

HERE = Path(__file__).parent.parent

# Runs what it is given; prints seconds without imports, and the most memory.
COMMAND = """
import contextlib, io, json, sys, time
import torch
from amgan_fast.cli import main
torch.set_num_threads(1)
start = time.perf_counter()
with contextlib.redirect_stdout(io.StringIO()), contextlib.suppress(SystemExit):
    main()
"""
ACCUMULATOR = """
import json, sys, time
import numpy as np
import torch
from amgan_fast.metrics import ScoreAccumulator
torch.set_num_threads(1)
logits = torch.from_numpy(np.load(sys.argv[1]))
ScoreAccumulator(logits.size(1)).update(logits[:1000])
start = time.perf_counter()
accumulator = ScoreAccumulator(logits.size(1))
for batch in logits.split(5000):
    accumulator.update(batch)
"""
REPORT = """
lines = dict(line.split(":", 1) for line in open("/proc/self/status"))
print(json.dumps([time.perf_counter() - start, int(lines["VmHWM"].split()[0]) / 1024]))
"""
NETWORK = """
from torch import nn
def small():
    return nn.Sequential(nn.Conv2d(3, 16, 3, 2), nn.ReLU(), nn.Conv2d(16, 32, 3, 2), nn.ReLU(), nn.AdaptiveAvgPool2d(1),
                         nn.Flatten(), nn.Linear(32, 10)).eval()
"""


def make_files(folder: Path) -> dict[str, tuple[str, list[str]]]:
    """Name -> program and arguments."""
    from PIL import Image

    random = np.random.default_rng(0)
    work: dict[str, tuple[str, list[str]]] = {}
    for rows, classes in ((50_000, 1_000), (200_000, 10)):
        path = folder / f"{rows}x{classes}.npy"
        np.save(path, 3 * random.standard_normal((rows, classes), dtype=np.float32))
        shape = f"{rows:,} x {classes:,}"
        work[f"evaluate --logits, {shape}"] = (COMMAND, ["evaluate", "--logits", str(path), "--json"])
        work[f"ScoreAccumulator.update, {shape}"] = (ACCUMULATOR, [str(path)])
    images = random.integers(256, size=(20_000, 32, 32, 3), dtype=np.uint8)
    np.savez(folder / "images.npz", arr_0=images)
    (folder / "images").mkdir()
    for i, image in enumerate(images):
        Image.fromarray(image).save(folder / "images" / f"{i:05}.png", compress_level=1)
    (folder / "small_network.py").write_text(NETWORK)
    judge = ["--classifier", "small_network:small", "--json"]
    for option, place in (("--npz", "images.npz"), ("--images", "images")):
        work[f"evaluate {option}, 20,000 x 32 x 32"] = (COMMAND, ["evaluate", option, str(folder / place), *judge])
    return work


def once(checkout: Path, folder: Path, program: str, arguments: Sequence[str]) -> tuple[float, float]:
    """Seconds and MiB."""
    environment = os.environ | {"PYTHONPATH": f"{checkout}:{folder}"}
    command = [sys.executable, "-c", program + REPORT, *arguments]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{' '.join(arguments)} in {checkout}: {done.stderr}")
    seconds, mib = json.loads(done.stdout.splitlines()[-1])
    return seconds, mib


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--against", type=Path, help="a checkout with its extension built")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", default="", help="part of the names of what is to be measured")
    options = parser.parse_args()
    checkouts = {"here": HERE} | ({"there": options.against.resolve()} if options.against else {})
    header = ["what", *(f"{name}, {unit}" for name in checkouts for unit in ("s", "MiB"))]
    print(row(header), row(["---"] * len(header)), sep="\n")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for what, (program, arguments) in make_files(folder).items():
            if options.only not in what:
                continue
            found: dict[str, list[tuple[float, float]]] = {name: [] for name in checkouts}
            for _ in range(options.rounds):
                for name, checkout in checkouts.items():
                    found[name].append(once(checkout, folder, program, arguments))
            medians = [statistics.median(values) for runs in found.values() for values in zip(*runs, strict=True)]
            digits = (f"{x:.3f}" if i % 2 == 0 else f"{x:.0f}" for i, x in enumerate(medians))
            print(row([what, *digits]), flush=True)


if __name__ == "__main__":
    main()
