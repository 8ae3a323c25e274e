"""The Inception Score as other tools compute it: their splits, their shuffle, their standard deviation."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from amgan_fast.metrics.arrays import Array, batches_of
from amgan_fast.metrics.bad_rows import describe_bad_row, kind_of
from amgan_fast.metrics.compat_rules import compat_rule
from amgan_fast.metrics.compat_sums import CompatSums
from amgan_fast.metrics.row_terms import RowTerms

_BATCH = 1024  # rows that are gathered at a time


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
    compat: Literal["openai", "adm", "torch-fidelity", "torchmetrics", "ignite"],
    splits: int | None = None,
    from_logits: bool = True,
) -> MeanAndStd:
    """The Inception Score that another tool gives for the same logits, shuffle included.

    | compat | order | splits | ddof |
    |---|---|---|---|
    | ``openai`` | as it is | split s starts at floor(s*N/splits) | 0 |
    | ``adm`` | as it is | 5,000 rows each; what is left over is one more, and counts as much | none |
    | ``torch-fidelity`` | numpy's RandomState(2020).permutation(N) | as ``openai`` | 0 |
    | ``torchmetrics`` | torch.randperm(N), the global generator | torch.chunk, so maybe fewer than ``splits`` | 1 |
    | ``ignite`` | as it is | none: the whole set | none |

    They stand for ``inception_score/model.py`` of openai/improved-gan, ``evaluations/evaluator.py`` of
    openai/guided-diffusion, torch-fidelity 0.4, torchmetrics 1.9 and pytorch-ignite 0.5. ``torchmetrics`` draws from
    PyTorch's global generator what torchmetrics does: the same torch.manual_seed, the same splits. Each has its own
    classifier too, which the logits must come from: the first two take Inception's 1,008 outputs without the bias of
    the last layer.

    The arithmetic is float64, whatever the logits. torch-fidelity's is too; ignite's is, given float64 probabilities;
    the others compute in the dtype they are given and round accordingly. Ignite adds 1e-16 to what it takes the
    logarithm of, which moves its score by K * 1e-16 of itself at most, and is left out here. Where a probability
    underflows to 0, some of them give NaN (``openai``, ``adm``, torch-fidelity, torchmetrics); here it contributes its
    limit, 0.

    For several tools at once, or more samples than there is memory for: :class:`CompatSums`.

    Args:
        logits: [N, K], float32, float64, bfloat16 or float16, or batches of these, which are joined.
        compat: the tool.
        splits: None: what a tool takes by default, 10; adm and ignite have none to choose.
        from_logits: False: ``logits`` are probabilities, rows that sum to 1, as ignite takes them.

    Returns:
        mean and std over the splits. As in torchmetrics, its std of a single split is NaN.

    Warns:
        ScoreWarning: logits that seem to be probabilities.

    Raises:
        TypeError: no tensor or array, or a dtype that is not floating point.
        ValueError: an unknown tool, a wrong shape, ``splits`` below 1, above N where a split would be empty, or given
            for adm or ignite; or a row that gives no distribution (NaN, +inf, or -inf throughout).

    >>> import torch
    >>> from amgan_fast.metrics import inception_score
    >>> logits = 20.0 * torch.eye(5).repeat(100, 1)
    >>> score = inception_score(logits, compat="torch-fidelity")
    >>> f"{score.mean:.3f} +- {score.std:.3f}"
    '4.806 +- 0.114'
    """
    rule = compat_rule(compat)
    rows = _joined(logits, from_logits)
    if splits is not None and splits < 1:
        raise ValueError(f"splits is {splits}, wanted at least 1")
    if splits is not None and rule.scores is not None:
        raise ValueError(f"splits is {splits}, wanted None: {compat} scores {rule.scores}")
    sums = CompatSums(
        rows.num_classes, len(rows), compat=[compat], splits=splits or 10, seed=None, device=rows.values.device
    )
    for start in range(0, len(rows), _BATCH):
        sums.add(rows[start : start + _BATCH])
    score = sums._compute()[compat]
    sums.first_rows.warn()
    if score.mean is None:
        raise ValueError(f"{compat} has no score of these logits, wanted all of them: {score.note}")
    return MeanAndStd(score.mean, score.std)


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
