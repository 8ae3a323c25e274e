"""Score sums that do not depend on how samples come in batches."""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor

from amgan_fast import ops

_VALUES_AT_ONCE = 2**20  # of the copy in float64: 8 MiB


def exact_score_sums(values: Tensor, *, blocks: int, offset: int, probabilities: bool = False) -> ops.ScoreSums:
    """:func:`amgan_fast.ops.score_sums`, on the CPU in float64 whatever the dtype.

    In float32 a row of ten classes is right to seven digits, and scores of some hundred samples to seven or eight, in
    another way for each way to cut them into batches. Scoring is not where an evaluation's time goes. On a GPU, where
    float64 runs at a 64th of the rate, rows stay float32, and are added up in two floats.
    """
    score_sums = partial(ops.score_sums, blocks=blocks, probabilities=probabilities)
    if values.is_cuda or values.dtype == torch.float64 or not values.is_floating_point():
        return score_sums(values, offset=offset)
    rows = max(1, _VALUES_AT_ONCE // max(1, values.size(1)))
    parts = [score_sums(part.double(), offset=offset + i * rows) for i, part in enumerate(values.split(rows))]
    return ops.ScoreSums(*(torch.stack(x).sum(0) for x in zip(*parts, strict=True))) if len(parts) > 1 else parts[0]
