"""Scores from the score sums of blocks of samples."""

from __future__ import annotations

import math
from functools import partial
from typing import Any

import torch
from torch import Tensor

from amgan_fast.metrics import statistics
from amgan_fast.metrics.result import Scores
from amgan_fast.ops import ScoreSums


def scores_from_sums(
    in_blocks: ScoreSums, in_splits: ScoreSums | None, reference: Tensor | None = None, **facts: Any
) -> Scores:
    """All that sums can tell.

    Args:
        in_blocks: [B, ...], on the CPU, of at least one sample.
        in_splits: [S, ...]; None while one lacks samples.
        reference: [K]; None: scores that need none.
        facts: fields of :class:`Scores` that sums do not tell.
    """
    whole = in_blocks.total()
    mean = statistics.mean_distribution(whole)
    return Scores(
        n=int(whole.count),
        num_classes=len(mean),
        entropy_of_mean=float(torch.special.entr(mean).sum()),
        mean_entropy=float(whole.entropy / whole.count),
        blocks=int((in_blocks.count > 0).sum()),
        block_dispersion=statistics.dispersion(in_blocks),
        class_distribution=tuple(mean.tolist()),
        **_inception_score(whole, in_blocks),
        **_of_splits(in_splits),
        **_of_reference(reference, whole, in_blocks),
        **facts,
    )


def _inception_score(whole: ScoreSums, blocks: ScoreSums) -> dict[str, Any]:
    interval = statistics.interval(statistics.corrected_log_inception_score, blocks)
    return {
        "inception_score": math.exp(float(statistics.log_inception_score(whole))),
        "inception_score_corrected": math.exp(float(statistics.corrected_log_inception_score(whole))),
        "inception_score_ci95": interval and (math.exp(interval[0]), math.exp(interval[1])),
    }


def _of_splits(splits: ScoreSums | None) -> dict[str, Any]:
    if splits is None:
        return dict.fromkeys(("split_mean", "split_std", "split_dispersion"))
    scores = statistics.log_inception_score(splits).exp()
    return {
        "split_mean": float(scores.mean()),
        "split_std": float(scores.std(correction=0)),
        "split_dispersion": statistics.dispersion(splits),
    }


def _of_reference(reference: Tensor | None, whole: ScoreSums, blocks: ScoreSums) -> dict[str, Any]:
    if reference is None:
        return {}
    corrected = partial(statistics.corrected_am_score, reference)
    return {
        "mode_score": float(statistics.mode_score(reference, whole)),
        "kl_reference": float(statistics.kl_reference(reference, whole)),
        "am_score": float(statistics.am_score(reference, whole)),
        "am_score_corrected": float(corrected(whole)),
        "am_score_ci95": statistics.interval(corrected, blocks),
        "am_score_2017": float(statistics.am_score_2017(reference, whole)),
    }
