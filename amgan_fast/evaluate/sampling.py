"""How the samples of a source were drawn: what was said of them, what their source says, or what their labels tell."""

from __future__ import annotations

from typing import Literal

from torch import Tensor

from amgan_fast.evaluate.class_labels import Labelling
from amgan_fast.metrics import Sampling, sampling_of_counts
from amgan_fast.metrics.sampling import counts_in_words


def sampling_of(
    asked: Literal["auto", "random", "per-class"], labels: Labelling | None, counts: Tensor | None
) -> tuple[Sampling, str]:
    """
    Args:
        asked: as of :class:`Settings`.
        labels: None: there are none.
        counts: [S], samples with each; None: there are none.

    Returns:
        How, and why that is taken to be so, in words.
    """
    if asked == "random":
        return "random", "as was said (--sampling)"
    if labels is None or counts is None or not counts.any():
        return "random", "no labels, so nothing else can be known"
    found = counts_in_words(counts)
    if asked == "per-class":
        return "per-class", f"{found}, as was said (--sampling)"
    if labels.sampling == "random":
        return "random", f"{found}, labels drawn at random"
    if labels.sampling == "per-class":
        return "per-class", f"{found}, drawn class by class"
    return sampling_of_counts(counts, labels.shares)
