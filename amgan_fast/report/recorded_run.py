"""A run as its files tell of it: nothing of it is built, executed or computed again."""

from __future__ import annotations

import os
import shlex
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from amgan_fast.errors import InputError, counted
from amgan_fast.evaluate import Evaluation, read_evaluation, recorded_evaluation
from amgan_fast.evaluate.against import OtherEvaluation
from amgan_fast.files import contents_of
from amgan_fast.runs import ListedRun, RunFolder, Summary, listed_run
from amgan_fast.user_code import SETTINGS, names_user_code

_ABOUT = {
    "config.toml": "all settings, for --config",
    "summary.json": "all scores, for --against",
    "metrics.jsonl": "the journal: a row of losses every log_every steps, scores in some",
    "metrics.csv": "the journal as a table",
    "report.html": "the page of amgan-fast report",
    "samples.png": "samples, a row a class",
    "curves.png": "losses and scores over the steps",
    "grids": "samples of the same z over the steps",
    "sheets": "of amgan-fast sample",
    "tensorboard": "for tensorboard --logdir",
    "checkpoint.pt": "for --resume, --init and export",
    "checkpoint.previous.pt": "the one before",
    "checkpoint.best.pt": "of the step with the lowest AM Score on the way",
    "classifier.pt": "what the run was scored with",
    "guidance_classifier.pt": "what guided the generator",
}


@dataclass(frozen=True, eq=False)
class RecordedRun:
    """What a run has left.

    >>> from pathlib import Path
    >>> from amgan_fast.report import read_run
    >>> run = read_run(Path("runs/digits"))
    >>> run.listed.state, run.evaluation.generated.scores.num_classes
    ('finished', 10)
    """

    listed: ListedRun
    """Settings, state, and scores as far as it has come."""
    summary: Summary | None
    """None: it has not come to its end, or what it wrote there cannot be read."""
    evaluation: Evaluation | None
    """Of its end, without pictures."""
    problem: str | None = None
    """Why there is no evaluation although there is a summary."""

    @property
    def folder(self) -> RunFolder:
        return RunFolder(self.listed.path)

    @cached_property
    def to_compare(self) -> OtherEvaluation:
        """Its scores, for those of others to be compared with; read once.

        Raises:
            InputError: there are none, or damaged ones.
        """
        return read_evaluation(self.folder.summary)

    @property
    def files(self) -> list[tuple[str, str]]:
        """(name, size and meaning) of what is in its folder."""
        paths = sorted(path for path in self.listed.path.iterdir() if not path.name.startswith("."))
        return [(path.name, "; ".join(filter(None, (_size(path), _ABOUT.get(path.name))))) for path in paths]

    @property
    def missing(self) -> list[tuple[str, str]]:
        """(what the run has not, the command that makes it)."""
        run = shlex.quote(os.fspath(self.listed.path))
        modules = sorted({str(value).partition(":")[0] for value in self._code()})
        code = f" --allow-code {','.join(modules)}" if modules else ""
        found = []
        resume = f"amgan-fast train --resume {run}{code}"
        if self.listed.problem is None and not self.listed.has_ended:
            found.append(("what is left of its steps, and its scores", resume))
        elif self.summary is None and self.listed.problem is None and self.folder.has_checkpoint:
            found.append(("scores that can be read, of its last checkpoint: no step is taken", resume))
        if not self.folder.has_checkpoint:
            return found
        evaluate = f"amgan-fast evaluate --run {run}{code}"
        found += [
            ("Fréchet distance, precision and recall", f"{evaluate} --features classifier --report page.html"),
            ("a classifier trained on its samples (CAS)", f"{evaluate} --cas --report page.html"),
        ]
        if not (self.listed.path / "sheets").is_dir():
            found.append(("sheets of samples and of interpolations", f"amgan-fast sample --run {run}{code}"))
        return found

    def to_dict(self) -> dict[str, Any]:
        """As plain values."""
        return {
            **self.listed.to_dict(),
            "summary": self.summary and self.summary.to_dict(),
            "problem": self.problem,
            "files": dict(self.files),
            "missing": dict(self.missing),
        }

    def _code(self) -> list[object]:
        """Settings that name the user's code."""
        values = (self.listed.settings.get(name) for name in SETTINGS)
        return [value for value in values if names_user_code(value)]


def read_run(folder: Path) -> RecordedRun:
    """
    Raises:
        InputError: it is not the folder of a run.

    >>> from pathlib import Path
    >>> from amgan_fast.report import read_run
    >>> read_run(Path("nowhere"))
    Traceback (most recent call last):
    amgan_fast.errors.InputError: nowhere has no config.toml, wanted the folder of a training run
    """
    listed = listed_run(folder)
    path = RunFolder(folder).summary
    if not path.exists():
        return RecordedRun(listed, None, None, listed.problem)
    summary = None
    try:
        summary = Summary.load(path)
        with contents_of(path):
            return RecordedRun(listed, summary, recorded_evaluation(summary.evaluation), listed.problem)
    except InputError as error:
        return RecordedRun(listed, summary, None, listed.problem or str(error))


def _size(path: Path) -> str:
    if path.is_dir():
        return counted(sum(1 for _ in path.rglob("*.*")), "file")
    size = path.stat().st_size
    return f"{size / 2**20:,.1f} MiB" if size >= 2**20 else f"{size / 2**10:,.1f} KiB"
