"""How the samples of a source were drawn: what was said of them, what their source says, or what their labels tell."""

from __future__ import annotations

from torch import Tensor

from amgan_fast.evaluate.class_labels import Labelling
from amgan_fast.evaluation_request import Settings
from amgan_fast.metrics import Sampling, sampling_of_counts
from amgan_fast.metrics.sampling import counts_in_words


def may_be_per_class(settings: Settings, labels: Labelling | None) -> bool:
    """Whether that may turn out to be so, before there are samples: their sums are then kept by label."""
    if labels is None or labels.too_many is not None or settings.sampling == "random":
        return False
    return settings.sampling == "per-class" or labels.sampling != "random"


def sampling_of(settings: Settings, labels: Labelling | None, counts: Tensor | None) -> tuple[Sampling, str]:
    """
    Args:
        settings: what was said.
        labels: None: there are none.
        counts: [S], samples with each; None: there are none.

    Returns:
        How, and why that is taken to be so, in words.
    """
    if settings.sampling == "random":
        return "random", "as was said (--sampling)"
    if labels is None or counts is None or not counts.any():
        return "random", "no labels that could tell otherwise"
    sampling, reason = _of_labels(settings, labels, counts)
    if sampling == "per-class" and labels.too_many is not None:
        return "random", f"{reason}; but {labels.too_many}"
    if sampling == "per-class" and settings.sampling == "auto" and counts.max() < 2:
        return "random", f"{reason}; but one sample each shows no spread"
    return sampling, reason


def _of_labels(settings: Settings, labels: Labelling, counts: Tensor) -> tuple[Sampling, str]:
    found = counts_in_words(counts)
    if settings.sampling == "per-class":
        return "per-class", f"{found}, as was said (--sampling)"
    if labels.sampling == "random":
        return "random", f"{found}, their labels drawn at random"
    if labels.sampling == "per-class":
        return "per-class", f"{found}, drawn class by class"
    return sampling_of_counts(counts, labels.shares)
