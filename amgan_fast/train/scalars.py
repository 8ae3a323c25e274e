"""What of a row of metrics.jsonl is one number, for what draws or tabulates numbers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

INTERVAL = "_ci95"
"""What the name of an interval ends in."""


def scalars(row: Mapping[str, Any]) -> dict[str, Any]:
    """The numbers of a row by their names, without the step, the ends of an interval beside what it is of; numbers that
    are infinite or undefined as the row has them.

    >>> from amgan_fast.train.scalars import scalars
    >>> scalars({"step": 100, "accuracy": 0.9, "accuracy_ci95": [0.8, 0.95], "class_distribution": [0.5, 0.5]})
    {'accuracy': 0.9, 'accuracy/low': 0.8, 'accuracy/high': 0.95}
    """
    numbers: dict[str, Any] = {}
    for name, value in row.items():
        if name.endswith(INTERVAL):
            numbers |= zip((f"{name.removesuffix(INTERVAL)}/{end}" for end in ("low", "high")), value, strict=True)
        elif name != "step" and not isinstance(value, (list, tuple)):
            numbers[name] = value
    return numbers
