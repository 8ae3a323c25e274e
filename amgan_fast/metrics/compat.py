"""The Inception Score as other tools compute it: their splits, their shuffle, their standard deviation."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor

from amgan_fast.metrics.arrays import Array, batches_of
from amgan_fast.metrics.bad_rows import describe_bad_row, kind_of
from amgan_fast.metrics.first_rows import FirstRows
from amgan_fast.metrics.row_terms import RowTerms
from amgan_fast.metrics.statistics import log_inception_score
from amgan_fast.ops import ScoreSums, score_sums

_BATCH = 1024  # rows that are gathered, and made float64, at a time


class MeanAndStd(NamedTuple):
    """An Inception Score as it is published.

    >>> import torch
    >>> from amgan_fast.metrics import inception_score
    >>> mean, std = inception_score(torch.zeros(10, 3), compat="ignite")
    >>> round(mean, 6), std
    (1.0, None)
    """

    mean: float
    """Over the splits."""
    std: float | None
    """Over the splits; None for a tool that has none."""


def inception_score(
    logits: Array | Iterable[Array],
    *,
    compat: Literal["openai", "torch-fidelity", "torchmetrics", "ignite"],
    splits: int | None = None,
    from_logits: bool = True,
) -> MeanAndStd:
    """The Inception Score that another tool gives for the same logits, shuffle included.

    ==================  =========================================  ======================================  ====
    compat              order                                      splits                                  ddof
    ==================  =========================================  ======================================  ====
    ``openai``          as it is                                   split s starts at floor(s*N/splits)     0
    ``torch-fidelity``  numpy's RandomState(2020).permutation(N)   the same                                0
    ``torchmetrics``    torch.randperm(N), the global generator    torch.chunk: ceil(N/splits) rows each,  1
                                                                   so that there may be fewer
    ``ignite``          as it is                                   none: the whole set                     none
    ==================  =========================================  ======================================  ====

    They stand for ``inception_score/model.py`` of openai/improved-gan (which leaves the bias of the classifier's last
    layer out of its logits), torch-fidelity 0.4, torchmetrics 1.9 and pytorch-ignite 0.5. ``torchmetrics`` draws from
    PyTorch's global generator what torchmetrics does: the same torch.manual_seed, the same splits.

    The arithmetic is float64, whatever the logits. torch-fidelity's is too; ignite's is, given float64 probabilities;
    the others compute in the dtype they are given and round accordingly. Ignite adds 1e-16 to what it takes the
    logarithm of, which moves its score by K * 1e-16 of itself at most, and is left out here. Where a probability
    underflows to 0, some of them give NaN; here it contributes its limit, 0.

    Args:
        logits: [N, K], float32, float64, bfloat16 or float16, or batches of these, which are joined.
        compat: the tool.
        splits: None: what each tool takes by default, 10.
        from_logits: False: ``logits`` are probabilities, rows that sum to 1, as ignite takes them.

    Returns:
        mean and std over the splits. As in torchmetrics, its std of a single split is NaN.

    Warns:
        ScoreWarning: logits that seem to be probabilities.

    Raises:
        TypeError: no tensor or array, or a dtype that is not floating point.
        ValueError: an unknown tool, a wrong shape, ``splits`` below 1, above N where a split would be empty, or given
            for ignite; or a row that gives no distribution (NaN, +inf, or -inf throughout).

    >>> import torch
    >>> from amgan_fast.metrics import inception_score
    >>> logits = 20.0 * torch.eye(5).repeat(100, 1)
    >>> score = inception_score(logits, compat="torch-fidelity")
    >>> f"{score.mean:.3f} +- {score.std:.3f}"
    '4.806 +- 0.114'
    """
    if compat not in _RULES:
        raise ValueError(f"compat is {compat!r}, wanted one of {', '.join(_RULES)}")
    rows = _joined(logits, from_logits)
    if splits is not None and splits < 1:
        raise ValueError(f"splits is {splits}, wanted at least 1")
    rule = _RULES[compat]
    parts = rule.split(rule.order(len(rows)), splits)
    scores = torch.stack([_score(rows, part) for part in parts])
    if from_logits:
        first_rows = FirstRows(rows.values.device)
        first_rows.look(rows.values)
        first_rows.warn()
    std = None if rule.ddof is None else float(scores.std(correction=rule.ddof))
    return MeanAndStd(float(scores.mean()), std)


def _joined(logits: Array | Iterable[Array], from_logits: bool) -> RowTerms:
    """[N, K], N at least 1, none of them bad."""
    batches: list[Tensor] = []
    for batch in batches_of(kind_of(from_logits), logits):
        num_classes = batches[0].size(1) if batches else None
        batches.append(RowTerms(batch, num_classes, from_logits=from_logits).values)
    rows = RowTerms(torch.cat(batches) if len(batches) > 1 else batches[0], from_logits=from_logits)
    if not len(rows):
        found = f"{kind_of(from_logits)} are {list(rows.values.shape)}"
        raise ValueError(f"{found}, wanted [N, K] with N at least 1")
    if bool(rows.bad.any()):
        raise ValueError(describe_bad_row(rows.values, rows.bad, 0, from_logits))
    return rows


def _score(rows: RowTerms, chosen: Tensor) -> Tensor:
    """[], float64: the score of these rows, in memory for a few of them."""
    batches = chosen.to(rows.values.device).split(_BATCH)
    sums = [score_sums(rows.values[batch].double(), probabilities=not rows.from_logits) for batch in batches]
    return log_inception_score(ScoreSums(*map(torch.cat, zip(*sums, strict=True))).total()).exp()


@dataclass(frozen=True)
class _Rule:
    order: Callable[[int], Tensor]
    split: Callable[[Tensor, int | None], tuple[Tensor, ...]]
    ddof: int | None


def _seeded_permutation(count: int) -> Tensor:
    return torch.from_numpy(np.random.RandomState(2020).permutation(count))


def _from_floors(order: Tensor, splits: int | None) -> tuple[Tensor, ...]:
    splits = splits or 10
    if len(order) < splits:
        raise ValueError(f"logits have {len(order)} rows, wanted at least one for each of {splits} splits")
    bounds = [s * len(order) // splits for s in range(1, splits)]
    return order.tensor_split(bounds)


def _chunks(order: Tensor, splits: int | None) -> tuple[Tensor, ...]:
    return order.chunk(splits or 10)


def _whole(order: Tensor, splits: int | None) -> tuple[Tensor, ...]:
    if splits is not None:
        raise ValueError(f"splits is {splits}, wanted None: ignite scores the whole set")
    return (order,)


_RULES = {
    "openai": _Rule(torch.arange, _from_floors, 0),
    "torch-fidelity": _Rule(_seeded_permutation, _from_floors, 0),
    "torchmetrics": _Rule(torch.randperm, _chunks, 1),
    "ignite": _Rule(torch.arange, _whole, None),
}
