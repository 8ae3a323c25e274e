"""One part of the first contact with a GPU, written to a JSON file after each of its measurements.

    python -m tools.gpu_check.first_contact PART [--json build/PART.json] [--device cuda]

Measurements that the file has already are left out, so that a part goes on where it was stopped. On the CPU a part runs
on small inputs, for a rehearsal. Fails where a measurement did.
"""

from __future__ import annotations

import argparse
import importlib
import sys
from pathlib import Path

import torch

from tools.gpu_check.first_contact.measurement import carry_out

PARTS = {
    "facts": "which GPU, driver, torch and build",
    "exponential": "errors of 2^x over all floats of [-1, 0], and of probabilities",
    "streams": "thousands of launches on 12 streams, to the bit",
    "kernels": "times of kernels beside a copy and an empty kernel",
    "host": "what a call takes of the host",
    "training": "training steps, eager and captured",
    "short_run": "whole runs",
    "counters": "what Nsight Compute counts of the kernels",
}


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m tools.gpu_check.first_contact",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("part", choices=PARTS, help="; ".join(f"{name}: {what}" for name, what in PARTS.items()))
    parser.add_argument("--device", default="cuda", choices=["cuda", "cpu"])
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    if options.device == "cuda" and not torch.cuda.is_available():
        sys.exit("no GPU")
    path = options.json or Path("build") / f"{options.part}.json"
    # Of its own module, imported only here: what a part needs is missed by no other.
    part = getattr(importlib.import_module(f"tools.gpu_check.first_contact.{options.part}"), options.part)
    problems = carry_out(part(torch.device(options.device)), path)
    if problems:
        sys.exit("\n".join(problems))


if __name__ == "__main__":
    main()
