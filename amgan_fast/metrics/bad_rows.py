"""Rows of a classifier's output that are no distribution over the classes."""

from __future__ import annotations

import torch
from torch import Tensor

SUM_TOLERANCE = 1e-2  # of the sum of a row of probabilities, which bfloat16 rounds


def kind_of(from_logits: bool) -> str:
    """What messages call the rows."""
    return "logits" if from_logits else "probabilities"


def bad_rows(values: Tensor, from_logits: bool) -> Tensor:
    """[N], bool. Logits: NaN, +inf, or -inf throughout. Probabilities: NaN, negative, or a sum that is not 1."""
    if from_logits:
        return ~values.detach().amax(1).isfinite()  # NaN goes through amax
    total = values.detach().sum(1, dtype=torch.float64)
    return ~((total - 1).abs() <= SUM_TOLERANCE) | (values < 0).any(1)


def describe_bad_row(values: Tensor, bad: Tensor, seen: int, from_logits: bool) -> str:
    """The first of the bad rows, by its place in the batch and in the stream."""
    row = int(bad.nonzero()[0])
    wanted = "finite logits" if from_logits else "probabilities that sum to 1"
    where = f"{kind_of(from_logits)} row {row} (sample {seen + row})"
    return f"{where} gives no distribution: {_fault(values[row], from_logits)}; wanted {wanted}"


def refuse_bad_sums(sums: Tensor) -> None:
    """Raise ValueError where NaN tells of a row that gave no distribution."""
    if bool(sums.isnan().any()):
        raise ValueError("a row of the logits gives no distribution; wanted finite logits")


def _fault(row: Tensor, from_logits: bool) -> str:
    if row.isnan().any():
        return "it holds NaN"
    if row.isposinf().any():
        return "it holds +inf"
    if from_logits:
        return "it is -inf throughout"
    return f"its least entry is {float(row.min()):.6g} and it sums to {float(row.double().sum()):.6g}"
