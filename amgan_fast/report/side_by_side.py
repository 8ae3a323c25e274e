"""Several runs beside each other, and how each differs from the first."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from amgan_fast.errors import InputError
from amgan_fast.evaluate import Evaluation
from amgan_fast.evaluate.against import Against, OtherEvaluation
from amgan_fast.report.recorded_run import RecordedRun


@dataclass(frozen=True, eq=False)
class SideBySide:
    """How a run differs from another one, in its corrected scores."""

    run: RecordedRun
    first: RecordedRun
    against: Against | None
    """Its scores less the other's; None where they cannot be compared."""
    note: str | None
    """Why they cannot, or what makes that doubtful."""

    def to_dict(self) -> dict[str, Any]:
        """As plain values."""
        told = None if self.against is None else self.against.to_dict()
        return {"less": str(self.first.listed.path), "difference": told, "note": self.note}


def side_by_side(runs: Sequence[RecordedRun]) -> list[SideBySide]:
    """Each run but the first beside it; what they were not judged alike in, by classifier or reference, is said.

    >>> from pathlib import Path
    >>> from amgan_fast.report import read_run, side_by_side
    >>> run = read_run(Path("runs/digits"))
    >>> side_by_side([run, run])[0].against.difference.am_score.value
    0.0
    """
    first, *others = runs
    return [_beside(run, first) for run in others]


def judged_alike(runs: Sequence[RecordedRun]) -> list[list[RecordedRun]]:
    """Runs that have scores, those together whose scores can be compared: of one classifier and one reference.

    >>> from pathlib import Path
    >>> from amgan_fast.report import judged_alike, read_run
    >>> run = read_run(Path("runs/digits"))
    >>> [len(alike) for alike in judged_alike([run, run])]
    [2]
    """
    groups: list[list[RecordedRun]] = []
    for run in runs:
        if run.evaluation is None:
            continue
        for group in groups:
            try:
                _comparable(run, run.evaluation, group[0])
            except InputError:
                continue
            group.append(run)
            break
        else:
            groups.append([run])
    return groups


def _beside(run: RecordedRun, first: RecordedRun) -> SideBySide:
    if run.evaluation is None or first.evaluation is None:
        unscored = run if run.evaluation is None else first
        return SideBySide(run, first, None, f"{unscored.listed.path} has no scores of its end")
    try:
        other = _comparable(run, run.evaluation, first)
    except InputError as error:
        return SideBySide(run, first, None, str(error))
    against = Against.of(run.evaluation.classifier, run.evaluation.generated, other, None)
    return SideBySide(run, first, against, "; ".join(against.warnings) or None)


def _comparable(run: RecordedRun, evaluation: Evaluation, first: RecordedRun) -> OtherEvaluation:
    """The scores of ``first``.

    Raises:
        InputError: those of ``run`` are of another classifier or reference; both runs are named.
    """
    scores = evaluation.generated.scores
    reference = None if scores.reference is None else torch.tensor(scores.reference, dtype=torch.float64)
    other = first.to_compare
    other.require_comparable(evaluation.classifier, scores.num_classes, reference, as_in=f"in {run.folder.summary}")
    return other
