"""The class distribution that scores compare with, from whatever stands for it."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
import torch
from torch import Tensor

from amgan_fast.metrics.arrays import Array, as_tensor
from amgan_fast.metrics.row_accumulator import check_num_classes

if TYPE_CHECKING:
    from amgan_fast.metrics.accumulator import ScoreAccumulator
    from amgan_fast.metrics.designs import Design
    from amgan_fast.metrics.result import Scores

DistributionLike: TypeAlias = "Array | Sequence[float] | Scores | ScoreAccumulator | SampledDistribution"
"""K probabilities, or the scores or the accumulator of a set of samples, whose mean distribution it is."""


@dataclass(frozen=True, eq=False)
class SampledDistribution:
    """The mean class distribution of samples of which it is known how they were drawn, and so how far off it may be."""

    samples: Design

    @property
    def class_distribution(self) -> Tensor:
        """[K]"""
        return self.samples.moments.mean


def as_distribution(reference: DistributionLike, num_classes: int | None = None) -> Tensor:
    """[K], float64, on the CPU: the mean class distribution that any form of a reference stands for.

    Raises:
        TypeError: it is none of these.
        ValueError: it is no distribution over ``num_classes`` classes (None: any number from 2 on).

    >>> from amgan_fast.metrics import as_distribution
    >>> as_distribution([0.5, 0.25, 0.25]).tolist()
    [0.5, 0.25, 0.25]
    """
    measured = getattr(reference, "class_distribution", None)
    if callable(measured):  # of an accumulator
        measured = measured()
    vector = _as_vector(reference if measured is None else measured).to("cpu", torch.float64)
    if vector.ndim != 1 or num_classes not in (None, len(vector)):
        raise ValueError(f"reference is {list(vector.shape)}, wanted {num_classes or 'K'} probabilities")
    check_num_classes(len(vector))
    if not (vector >= 0).all() or abs(float(vector.sum()) - 1) > 1e-5:
        found = f"reference sums to {float(vector.sum()):.6g}, its least entry is {float(vector.min()):.6g}"
        raise ValueError(f"{found}; wanted probabilities that sum to 1")
    return vector / vector.sum()


def distribution_sha256(probabilities: Sequence[float]) -> str:
    """SHA-256 of K probabilities, by which a reference is named: as float32 (little-endian), in which sums of other
    batches or processes are the same.

    >>> from amgan_fast.metrics.distribution import distribution_sha256
    >>> distribution_sha256([0.5, 0.5])[:12]
    '...'
    """
    return hashlib.sha256(np.asarray(probabilities, "<f4").tobytes()).hexdigest()


def _as_vector(reference: DistributionLike) -> Tensor:
    if isinstance(reference, Tensor | np.ndarray):
        return as_tensor("reference", reference).detach()
    try:
        return torch.tensor(reference, dtype=torch.float64, device="cpu")
    except (TypeError, ValueError, RuntimeError):  # PyTorch names the type of an element that is no number
        found = type(reference).__name__
        raise TypeError(f"reference is a {found}, wanted K probabilities, Scores or a ScoreAccumulator") from None
