"""Everything that takes a GPU, in one report: build/gpu_check.md, and build/gpu_check.json for programs.

    python -m tools.gpu_check

Runs the tests marked cuda, those of CUDA graphs, compute-sanitizer over the tests of memory, and both benchmarks with
their share of the GPU's bandwidth. Each step is a process of its own: one that fails, or leaves the GPU's context
unusable, keeps no other from running. What it prints goes to the screen and to build/gpu_check/. A step whose tool is
missing is reported as not run. Fails where a step failed.
"""

from __future__ import annotations

import shutil
import sys

import torch

import amgan_fast
from benchmarks.reports import write_json, write_text
from tools.gpu_check.markdown_report import machine, make_report, markdown, step_table
from tools.gpu_check.running import run
from tools.gpu_check.steps import FOLDER, all_steps

REPORT = FOLDER.with_suffix(".md")


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
