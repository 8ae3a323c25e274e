"""Inception Scores by the rules of other tools, beside those of the same pass."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch

from amgan_fast.evaluation_request import Settings
from amgan_fast.metrics import (
    COMPAT_TOOLS,
    CompatScore,
    CompatSums,
    Sampling,
    ScoreAccumulator,
    inception_score_infinity,
)

_ALL, _INFINITY = "all", "is-infinity"

_HEADING = "Inception Score by others' rules"
_NOTES = {
    "torchmetrics": "torchmetrics shuffles as after torch.manual_seed(0)",
    _INFINITY: f"{_INFINITY} is by extrapolation (Chong and Forsyth, arXiv 1911.07023)",
}
_TOO_HIGH = "takes samples to be drawn at random, and is too high for a fixed number of each class"


def compat_sums(
    settings: Settings, num_classes: int, count: int, start: int, device: torch.device
) -> CompatSums | None:
    """What the scores of the tools that :attr:`Settings.compat` names are computed from; None where it names none."""
    tools = [name for name in COMPAT_TOOLS if settings.compat in (_ALL, name)]
    if not tools:
        return None
    return CompatSums(num_classes, count, compat=tools, splits=settings.splits, start=start, device=device)


def compat_scores(
    settings: Settings, sums: CompatSums | None, accumulator: ScoreAccumulator, sampling: Sampling
) -> dict[str, CompatScore] | None:
    """By name; None where no one asked."""
    if settings.compat is None:
        return None
    scores = {} if sums is None else sums.compute()
    if settings.compat in (_ALL, _INFINITY):
        scores[_INFINITY] = _extrapolated(accumulator, sampling)
    return scores


def compat_rows(sets: Sequence[Mapping[str, CompatScore] | None]) -> list[tuple[str, list[str]]]:
    """(name, a cell for each set of samples), as of :func:`amgan_fast.evaluate.score_rows`; none where no one asked."""
    asked = [scores for scores in sets if scores]
    if len(asked) < len(sets):
        return []
    rows = [(_HEADING, [""] * len(sets))]
    for name in asked[0]:
        scores = [one[name] for one in asked]
        rows.append((f"  {name}", [str(score) for score in scores]))
        if any(score.interval for score in scores):
            rows.append(("    95% interval", [_range(score.interval) for score in scores]))
    return rows


def compat_notes(sets: Mapping[str, Mapping[str, CompatScore] | None]) -> list[str]:
    """What the numbers of each set of samples are, and what is to be known of some; empty where no one asked.

    Args:
        sets: by what they are called.
    """
    asked = {of: scores for of, scores in sets.items() if scores}
    if not asked:
        return []
    names = {name for scores in asked.values() for name in scores}
    notes = ["of the logits here, whatever classifier a tool has of its own"]
    notes += [note for name, note in _NOTES.items() if name in names]
    alike: dict[str, list[str]] = {}
    for of, scores in asked.items():
        for name, score in scores.items():
            if score.note is not None:
                alike.setdefault(f"{score.note} ({of})", []).append(name)
    return ["; ".join(notes), *(f"{', '.join(names)}: {note}" for note, names in alike.items())]


def _range(interval: tuple[float, float] | None) -> str:
    return "-" if interval is None else f"{interval[0]:.4f} to {interval[1]:.4f}"


def _extrapolated(accumulator: ScoreAccumulator, sampling: Sampling) -> CompatScore:
    try:
        estimate = inception_score_infinity(accumulator)
    except ValueError as error:  # of few samples
        return CompatScore(mean=None, std=None, splits=None, note=str(error))
    notes = [] if sampling == "random" else [_TOO_HIGH]
    interval, most = estimate.interval, accumulator.num_classes
    if max(estimate.value, *(interval or ())) > most:
        notes.append(f"an Inception Score is at most {most:,}, and this one is not held to that")
    return CompatScore(
        mean=estimate.value, std=None, splits=None, interval=interval, note="; ".join(notes) if notes else None
    )
