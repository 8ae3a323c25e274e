"""A job array: one evaluation in several jobs that know nothing of each other, and their files merged into one.

    python examples/job_array.py

writes 3,000 noisy digits as an archive, and does in processes of this machine, some seconds each, what the jobs of a
scheduler do:

    amgan-fast evaluate --npz samples.npz --classifier digits.pt --shard I/3 --state I.safetensors
    amgan-fast merge 1.safetensors 2.safetensors 3.safetensors --json merged.json --report page.html

Then it asserts that the merged evaluation is the one of a single job. With Slurm the three jobs are

    sbatch --array 1-3 --wrap 'amgan-fast evaluate --npz samples.npz --classifier digits.pt \
        --shard $SLURM_ARRAY_TASK_ID/3 --state $SLURM_ARRAY_TASK_ID.safetensors'
"""

from __future__ import annotations

import argparse
import json
import math
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from amgan_fast.data import Dataset, load_dataset
from amgan_fast.train import Observer, cached_classifier


def amgan_fast(*arguments: object) -> subprocess.Popen[str]:
    """The command ``amgan-fast``, begun."""
    command = [sys.executable, "-m", "amgan_fast", *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def wait_for(*processes: subprocess.Popen[str]) -> None:
    for process in processes:
        printed, _ = process.communicate()
        if process.returncode:
            raise SystemExit(f"{process.args}:\n{printed}")


def write_samples(digits: Dataset, path: Path, count: int) -> None:
    """uint8 [N, H, W, C] as ``arr_0``, what ``--npz`` takes."""
    random = torch.Generator().manual_seed(0)
    images = digits.train_images[torch.randint(len(digits.train_images), (count,), generator=random)]
    noisy = images + 60 * torch.randn(images.shape, generator=random)
    np.savez(path, arr_0=noisy.round().clamp(0, 255).byte().permute(0, 2, 3, 1).numpy())


def assert_same(merged: dict[str, Any], whole: dict[str, Any]) -> None:
    """All scores. A network's last digits may depend on the other images of a batch: of logits (``--logits``) scores
    are the same but for the last digits of float64."""
    for part in ("generated", "held_out"):
        ours, theirs = merged[part]["scores"], whole[part]["scores"]
        assert ours.keys() == theirs.keys()
        for name, value in theirs.items():
            if isinstance(value, float):
                assert math.isclose(ours[name], value, rel_tol=1e-6, abs_tol=1e-9), (name, ours[name], value)
        assert ours["n"] == theirs["n"]


def main(arguments: Sequence[str] | None = None) -> tuple[dict[str, Any], dict[str, Any]]:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shards", type=int, default=3)
    parser.add_argument("--samples", type=int, default=3000)
    parser.add_argument("--out", type=Path, default=Path("runs/job_array"))
    options = parser.parse_args(arguments)
    out: Path = options.out
    out.mkdir(parents=True, exist_ok=True)

    digits = load_dataset("digits")
    cached_classifier(digits, Observer()).save(out / "digits.pt")
    write_samples(digits, out / "samples.npz", options.samples)
    what = ("evaluate", "--npz", out / "samples.npz", "--classifier", out / "digits.pt", "--device", "cpu")

    states = [out / f"{i}.safetensors" for i in range(1, options.shards + 1)]
    wait_for(
        *(
            amgan_fast(*what, "--shard", f"{i}/{options.shards}", "--state", state)
            for i, state in enumerate(states, start=1)
        )
    )
    wait_for(amgan_fast("merge", *reversed(states), "--json", out / "merged.json", "--report", out / "page.html"))
    wait_for(amgan_fast(*what, "--json", out / "whole.json"))

    merged, whole = (json.loads((out / name).read_text()) for name in ("merged.json", "whole.json"))
    assert_same(merged, whole)
    for name, found in (("merged", merged), ("a single job", whole)):
        scores = found["generated"]["scores"]
        low, high = scores["am_score_ci95"]
        print(
            f"{name}: AM Score of {scores['n']:,} samples {scores['am_score_corrected']:.9f} ({low:.9f} to {high:.9f})"
        )
    print(f"sums of a shard: {states[0].stat().st_size:,} bytes; the page of all: {out / 'page.html'}")
    return merged, whole


if __name__ == "__main__":
    main()
