"""Rows of a classifier's output that are no distribution over the classes, or another one than they are taken for."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Protocol, TypeVar

import torch
from torch import Tensor

from amgan_fast.metrics.arrays import Array, as_tensor, batches_of

_DTYPES = (torch.float32, torch.float64, torch.bfloat16, torch.float16)
SUM_TOLERANCE = 1e-2  # of the sum of a row of probabilities, which bfloat16 rounds


def check_num_classes(num_classes: int) -> None:
    """
    Raises:
        ValueError: below 2. Of a single class every distribution is the same.
    """
    if num_classes < 2:
        raise ValueError(f"num_classes is {num_classes}, wanted at least 2")


def class_rows(
    values: Array, num_classes: int | None = None, from_logits: bool = True, name: str | None = None
) -> Tensor:
    """A classifier's output, [N, K].

    Args:
        values: logits or probabilities.
        num_classes: K; None: any.
        from_logits: False: they are probabilities.
        name: what messages call them; None: logits or probabilities.

    Raises:
        TypeError: no tensor or array, or of another dtype than float32, float64, bfloat16 and float16, or not dense.
        ValueError: another shape, or fewer than two classes.
    """
    name = name or kind_of(from_logits)
    rows = as_tensor(name, values)
    if rows.ndim != 2 or num_classes not in (None, rows.size(1)):
        raise ValueError(f"{name} are {list(rows.shape)}, wanted [N, {num_classes or 'K'}]")
    if rows.size(1) < 2:
        raise ValueError(f"{name} are {list(rows.shape)}, wanted [N, K] with K at least 2")
    if rows.dtype not in _DTYPES:
        wanted = "a floating-point dtype: float32, float64, bfloat16 or float16"
        raise TypeError(f"{name} are {rows.dtype}, wanted {wanted}")
    if rows.layout != torch.strided or rows.is_meta:
        found = "a tensor without values (meta)" if rows.is_meta else f"of layout {rows.layout}"
        raise TypeError(f"{name} are {found}, wanted a dense tensor")
    return rows


class _Collector(Protocol):
    num_classes: int

    def update(self, logits: Array, /, *, from_logits: bool) -> None: ...


_C = TypeVar("_C", bound=_Collector)


def add_batches(
    make: Callable[..., _C], values: Array | Iterable[Array], from_logits: bool, name: str | None = None
) -> _C:
    """All of ``values``, [N, K] or batches of these, in ``make(K, device=...)``, for as many classes as the first has.

    Raises:
        TypeError, ValueError: as :func:`class_rows` and ``make`` have it, or no batch.
    """
    collector: _C | None = None
    for batch in batches_of(name or kind_of(from_logits), values):
        rows = class_rows(batch, None if collector is None else collector.num_classes, from_logits, name)
        collector = collector or make(rows.size(1), device=rows.device)
        collector.update(rows, from_logits=from_logits)
    assert collector is not None  # no batch is an error
    return collector


def kind_of(from_logits: bool) -> str:
    return "logits" if from_logits else "probabilities"


def bad_rows(values: Tensor, from_logits: bool) -> Tensor:
    """[N], bool. Logits: NaN, +inf, or -inf throughout. Probabilities: NaN, negative, or a sum that is not 1."""
    if from_logits:
        return ~values.detach().amax(1).isfinite()  # NaN goes through amax
    total = values.detach().sum(1, dtype=torch.float64)
    return ~((total - 1).abs() <= SUM_TOLERANCE) | (values < 0).any(1)


def as_logits(rows: Tensor, from_logits: bool, seen: int | Tensor) -> Tensor:
    """[N, K]: logits themselves; of probabilities the logarithm, float64.

    Raises:
        ValueError: a row of probabilities that is no distribution. On a GPU it becomes NaN instead, as of logits.
    """
    if from_logits:
        return rows
    bad = bad_rows(rows, from_logits)
    if not rows.is_cuda and bool(bad.any()):
        raise ValueError(describe_bad_row(rows, bad, seen, kind_of(from_logits)))
    return rows.double().log().masked_fill(bad[:, None], torch.nan)


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
