"""What Nsight Compute counts while the kernels run: time, memory, instructions, warps.

As a program it runs them once, for ncu to watch: ``python -m tools.gpu_check.first_contact.counters 1000 11 float32``.
"""

from __future__ import annotations

import csv
import re
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterator
from functools import partial

import torch

from tools.gpu_check.first_contact.kernels import DTYPES, OPERATIONS
from tools.gpu_check.first_contact.measurement import Figures, Measurement

SHAPES = [(200_000, 1001), (50_000, 4000), (4096, 32_001)]
# Our name, ncu's, and what one of its base units is.
METRICS = {
    "us": ("gpu__time_duration.sum", 1e-3),
    "share": ("dram__throughput.avg.pct_of_peak_sustained_elapsed", 1e-2),
    "bytes read": ("dram__bytes_read.sum", 1),
    "bytes written": ("dram__bytes_write.sum", 1),
    "warp instructions": ("smsp__inst_executed.sum", 1),
    "issuing": ("smsp__issue_active.avg.pct_of_peak_sustained_active", 1e-2),
    "warps": ("sm__warps_active.avg.pct_of_peak_sustained_active", 1e-2),
}


def read_counts(printed: str) -> dict[str, dict[str, float]]:
    """By launch, "1 kplus1_kernel", of ncu's comma-separated values; what other programs print stands around them."""
    lines = printed.splitlines()
    start = next((i for i, line in enumerate(lines) if line.startswith('"ID"')), len(lines))
    table = [line for line in lines[start:] if line.startswith('"')]
    found: dict[str, dict[str, float]] = defaultdict(dict)
    launches: dict[str, str] = {}
    for row in csv.DictReader(table):
        name = re.search(r"\w+_kernel", row["Kernel Name"])
        launch = launches.setdefault(row["ID"], f"{len(launches) + 1} {name[0] if name else row['Kernel Name']}")
        for ours, (theirs, unit) in METRICS.items():
            value = row["Metric Value"].replace(",", "")
            if row["Metric Name"] == theirs and re.fullmatch(r"[\d.]+", value):  # not "n/a"
                found[launch][ours] = unit * float(value)
    return dict(found)


def _count(shape: tuple[int, int], dtype: torch.dtype) -> Figures:
    metrics = ",".join(theirs for theirs, _ in METRICS.values())
    ncu = ["ncu", "--csv", "--print-units", "base", "--metrics", metrics, "--clock-control", "none"]
    ours_alone = ["--kernel-name-base", "demangled", "--kernel-name", "regex:amgan::"]
    program = [sys.executable, "-m", __name__, *map(str, shape), str(dtype).removeprefix("torch.")]
    done = subprocess.run([*ncu, *ours_alone, *program], capture_output=True, text=True, check=False)
    found = read_counts(done.stdout)
    if not found:
        said = [line for line in (done.stdout + done.stderr).splitlines() if line.strip()]
        return {"problem": f"ncu counted nothing: {said[-1] if said else f'exit status {done.returncode}'}"}
    return found


def counters(device: torch.device) -> Iterator[Measurement]:
    for dtype in DTYPES if device.type == "cuda" else ():
        for shape in SHAPES:
            name = f"{shape[0]}x{shape[1]} {str(dtype).removeprefix('torch.')}"
            yield Measurement(name, partial(_count, shape, dtype))


def main() -> None:
    rows, columns, dtype = sys.argv[1:]
    x = torch.empty(int(rows), int(columns), dtype=getattr(torch, dtype), device="cuda").normal_()
    for operation, _ in OPERATIONS.values():
        operation(x)
    torch.cuda.synchronize()


if __name__ == "__main__":
    main()
