"""Which differences between models are settled."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING, Any

from amgan_fast.metrics import SCORE, Estimate, EstimatedDifference, score_estimate, welch

if TYPE_CHECKING:
    from amgan_fast.compare.results import CellResult

DIFFERING = ("am_score", "inception_score")
"""Scores that models are compared by."""


@dataclass(frozen=True)
class ModelDifference:
    """Of two models with one labelling, in one corrected score: that of ``model`` less that of a better one."""

    score: str
    """A name of :data:`DIFFERING`."""
    labels: str
    model: str
    better: str
    over: str
    """``"runs"``: the variance is that between runs, that of their samples included; ``"samples"``: that of the samples
    of one run each, and it holds for these runs, not for the models."""
    difference: EstimatedDifference | None
    """None where a run has no finite score, or nothing is known of its error."""
    p_holm: float | None
    """p adjusted for all pairs of this score and labelling (Holm, A simple sequentially rejective multiple test
    procedure, Scandinavian Journal of Statistics 6, 1979)."""

    def to_dict(self) -> dict[str, Any]:
        """Plain values."""
        pair = {name: getattr(self, name) for name in ("score", "labels", "model", "better", "over")}
        return pair | {"difference": self.difference and self.difference.to_dict(), "p_holm": self.p_holm}


def model_differences(cells: Sequence[CellResult]) -> list[ModelDifference]:
    """Of all pairs of models with the same labelling, the best models first; none where runs were not all judged by
    one classifier (:func:`other_classifiers`).

    >>> from amgan_fast.compare import CellResult, MaxMsSsim, model_differences
    >>> def run(model, seed, am_score):
    ...     scores = {"am_score_corrected": am_score, "inception_score_corrected": 8.5}
    ...     return CellResult(model, "dynamic", seed, scores, MaxMsSsim(None, None, None), seconds=60.0)
    >>> cells = [run("amgan", 0, 0.12), run("amgan", 1, 0.13), run("gan", 0, 0.15), run("gan", 1, 0.16)]
    >>> found = model_differences(cells)[0]
    >>> found.score, found.model, found.better, found.over, round(found.difference.value, 3)
    ('am_score', 'gan', 'amgan', 'runs', 0.03)
    """
    if other_classifiers(cells):
        return []
    return [
        found
        for score in DIFFERING
        for labelling in dict.fromkeys(cell.labels for cell in cells)
        for found in _pairs(score, labelling, [cell for cell in cells if cell.labels == labelling])
    ]


def other_classifiers(cells: Sequence[CellResult]) -> dict[str, list[str]]:
    """Names of runs by the SHA-256 of their classifier; empty where it is one."""
    found: dict[str, list[str]] = {}
    for cell in cells:
        if cell.classifier_sha256 is not None:
            found.setdefault(cell.classifier_sha256, []).append(f"{cell.model}, {cell.labels}, seed {cell.seed}")
    return found if len(found) > 1 else {}


def holm(p_values: Sequence[float]) -> list[float]:
    """Each p adjusted for as many tests: where it is below .05, so is the probability that any of all is by chance.

    >>> from amgan_fast.compare.differences import holm
    >>> holm([0.01, 0.04, 0.03])
    [0.03, 0.06, 0.06]
    """
    adjusted, least = [1.0] * len(p_values), 0.0
    for place, i in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        least = max(least, min(1.0, (len(p_values) - place) * p_values[i]))
        adjusted[i] = least
    return adjusted


def standings(cells: Sequence[CellResult], score: str) -> dict[str, Estimate | None]:
    """The models of one labelling, the best first, each with its corrected score: the mean over its runs, with the
    variance between them, or that of its one run, with the variance between samples. None where one is not finite; the
    error is None where it is not known."""
    of_model: dict[str, list[CellResult]] = {}
    for cell in cells:
        of_model.setdefault(cell.model, []).append(cell)
    found = {model: _over_runs(runs, score) for model, runs in of_model.items()}
    sign = -1.0 if SCORE[score].better == "higher" else 1.0
    return dict(sorted(found.items(), key=lambda item: math.inf if item[1] is None else sign * item[1].value))


def _over_runs(runs: Sequence[CellResult], score: str) -> Estimate | None:
    estimates = [found for run in runs if (found := _over_samples(run, score)) is not None]
    if len(estimates) < len(runs):
        return None
    if len(runs) == 1:
        return estimates[0]
    values = [estimate.value for estimate in estimates]
    return Estimate(statistics.fmean(values), statistics.stdev(values) / math.sqrt(len(values)), len(values) - 1)


def _over_samples(run: CellResult, score: str) -> Estimate | None:
    """Not set to what is possible: means of such scores would be biased."""
    corrected, kept = run.scores[f"{score}_corrected"], run.scores.get("estimates")
    if corrected is None:  # infinite
        return None
    if kept is None:  # of an earlier version
        return Estimate(corrected, None, None)
    return score_estimate({name: Estimate.from_dict(values) for name, values in kept.items()}, score)


def _pairs(score: str, labelling: str, cells: Sequence[CellResult]) -> list[ModelDifference]:
    seeds = {cell.seed for cell in cells}
    pairs = [
        ((model, better), None if mine is None or best is None else welch(mine, best))
        for (better, best), (model, mine) in combinations(standings(cells, score).items(), 2)
    ]
    adjusted = iter(holm([found.p_value for _, found in pairs if found is not None]))
    return [
        ModelDifference(
            score=score,
            labels=labelling,
            model=model,
            better=better,
            over="runs" if len(seeds) > 1 else "samples",
            difference=found,
            p_holm=None if found is None else next(adjusted),
        )
        for (model, better), found in pairs
    ]
