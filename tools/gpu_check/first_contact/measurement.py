"""Parts that consist of measurements, and a file that grows with each."""

from __future__ import annotations

import json
import time
import traceback
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.reports import write_text

Figures = dict[str, Any]
"""For JSON. What is at "problem" is wrong, in words."""


@dataclass(frozen=True)
class Measurement:
    name: str
    run: Callable[[], Figures]


def _carried_out(measurement: Measurement) -> Figures:
    try:
        return measurement.run()
    except Exception as error:  # one that fails hides no other
        traceback.print_exc()
        return {"problem": f"{type(error).__name__}: {str(error).strip().splitlines()[0] if str(error) else ''}"}


def read_results(path: Path) -> dict[str, Figures]:
    """By the measurements' names."""
    return json.loads(path.read_text()) if path.exists() else {}


def carry_out(measurements: Iterable[Measurement], path: Path) -> list[str]:
    """Runs those that are not in the file yet, or were wrong there, and writes the file after each; returns what is
    wrong."""
    results = read_results(path)
    for measurement in measurements:
        if "problem" not in results.get(measurement.name, {"problem": "not measured"}):
            continue
        start = time.monotonic()
        figures = results[measurement.name] = _carried_out(measurement)
        print(f"{measurement.name} ({time.monotonic() - start:.1f} s): {json.dumps(figures)}", flush=True)
        write_text(path, json.dumps(results, indent=1) + "\n")
    return [f"{name}: {figures['problem']}" for name, figures in results.items() if "problem" in figures]
