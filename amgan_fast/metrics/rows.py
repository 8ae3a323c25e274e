"""Rows of a classifier's output that are no distribution over the classes: which, and why."""

from __future__ import annotations

import torch
from torch import Tensor

SUM_TOLERANCE = 1e-2  # of the sum of a row of probabilities, which bfloat16 rounds


def bad_rows(values: Tensor, from_logits: bool) -> Tensor:
    """[N], bool. Logits: NaN, +inf, or -inf throughout. Probabilities: NaN, negative, or a sum that is not 1."""
    if from_logits:
        return ~values.detach().amax(1).isfinite()  # NaN goes through amax
    total = values.detach().sum(1, dtype=torch.float64)
    return ~((total - 1).abs() <= SUM_TOLERANCE) | (values < 0).any(1)


def refuse_bad_logits(logits: Tensor, entropy: Tensor, seen: int | Tensor) -> None:
    """Raise ValueError for the first of the bad rows where ``entropy``, of the rows or of sums of them, has NaN.

    Not where logits are on a GPU, which would have to be waited for: NaN then stays in the sums made of them, and is
    found by :func:`refuse_bad_sums` when they are read.
    """
    if not logits.is_cuda and bool(entropy.isnan().any()):
        raise ValueError(describe_bad_row(logits, bad_rows(logits, from_logits=True), seen))


def refuse_bad_sums(entropy: Tensor) -> None:
    """Raise ValueError where NaN tells of a row that gave no distribution."""
    if bool(entropy.isnan().any()):
        raise ValueError("a row of the logits gives no distribution; wanted finite logits")


def describe_bad_row(values: Tensor, bad: Tensor, seen: int | Tensor, name: str = "logits") -> str:
    """The first of the bad rows, by its place in the batch and in the stream."""
    row = int(bad.nonzero()[0])
    wanted = "finite logits" if name == "logits" else "probabilities that sum to 1"
    where = f"{name} row {row} (sample {int(seen) + row})"
    return f"{where} gives no distribution: {_kind(values[row], name)}; wanted {wanted}"


def _kind(row: Tensor, name: str) -> str:
    if row.isnan().any():
        return "it holds NaN"
    if row.isposinf().any():
        return "it holds +inf"
    if name == "logits":
        return "it is -inf throughout"
    return f"its least entry is {float(row.min()):.6g} and it sums to {float(row.double().sum()):.6g}"
