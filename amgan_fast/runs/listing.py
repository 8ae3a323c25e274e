"""The runs in a folder, side by side: what differs among them, and what they came to."""

from __future__ import annotations

import math
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from amgan_fast.errors import InputError, shown
from amgan_fast.files import read_json
from amgan_fast.runs.folder import RunFolder
from amgan_fast.runs.toml import read_toml

_DEPTH = 4  # folders below the one that is given: a comparison of a comparison has its runs there
_SCORES = ("am_score", "inception_score")
_INTERVALS = ("am_score_ci95", "inception_score_ci95")


@dataclass(frozen=True)
class ListedRun:
    """A run as far as it has come, from its files alone: nothing of it is built or executed."""

    path: Path
    name: str
    """Its path below the folder that was listed; "." is that folder."""
    settings: dict[str, Any]
    """All of its config.toml, those of tables as ``table.name``, and defaults for what it lacks and another run has."""
    steps: int
    """That it has taken."""
    finished: bool
    """Whether its scores are those of its end."""
    scores: dict[str, Any]
    """``am_score`` and ``inception_score``, plain, and of a finished run ``..._ci95`` of the corrected ones; others are
    the last scores on the way, which are of fewer samples. Empty: none yet."""
    seconds: float | None
    """Of training."""
    problem: str | None = None
    """What cannot be read."""
    scores_unreadable: bool = False
    """Whether there are scores of its end, and they cannot be read."""

    @property
    def has_ended(self) -> bool:
        """Whether it has come to its end, with scores that can be read or not."""
        ended = self.finished or self.scores_unreadable
        return self.problem is None and ended and self.steps >= self.settings.get("steps", 0)

    @property
    def state(self) -> str:
        """In words."""
        if self.problem is not None:
            return self.problem
        if self.has_ended:
            return "finished" if self.finished else "finished, scores unreadable"
        wanted = self.settings.get("steps", 0)
        return f"{self.steps:,} of {wanted:,} steps" + (", scores of its earlier end" if self.finished else "")

    def to_dict(self) -> dict[str, Any]:
        """As plain values."""
        return {
            "run": os.fspath(self.path),
            "state": self.state,
            "steps": self.steps,
            "finished": self.finished,
            "scores": self.scores,
            "seconds": self.seconds,
            "settings": self.settings,
        }


def list_runs(folder: Path) -> list[ListedRun]:
    """The runs in a folder and those below it, the lowest AM Score first, then those without one.

    Raises:
        InputError: it is no folder, or has none.

    >>> from pathlib import Path
    >>> from amgan_fast.runs import list_runs
    >>> [(run.name, run.finished) for run in list_runs(Path("runs/digits"))]
    [('.', True)]
    """
    if not folder.is_dir():
        raise InputError(f"{folder} is no folder, wanted one that has runs in it")
    paths = _runs_below(folder, _DEPTH)
    found = _with_defaults([_listed(RunFolder(path), os.path.relpath(path, folder)) for path in paths])
    if not found:
        raise InputError(f"{folder} has no run in it, wanted a folder of runs: their config.toml tells them")
    return sorted(found, key=lambda run: (run.scores.get("am_score") is None, run.scores.get("am_score"), run.path))


def listed_run(folder: Path) -> ListedRun:
    """One run as far as it has come, under the name of its folder, with the defaults of all settings that it lacks.

    Raises:
        InputError: it is not the folder of a run.

    >>> from pathlib import Path
    >>> from amgan_fast.runs import listed_run
    >>> run = listed_run(Path("runs/digits"))
    >>> run.name, run.state
    ('digits', 'finished')
    """
    run = _listed(RunFolder.open(folder), folder.resolve().name)
    return replace(run, settings=_defaults() | run.settings) if run.settings else run


def _with_defaults(runs: list[ListedRun]) -> list[ListedRun]:
    """With the settings that a file lacks and another one has: it may be of an earlier version, which had no others."""
    names = {name for run in runs for name in run.settings}
    if all(names == run.settings.keys() for run in runs if run.settings):
        return runs
    defaults = {name: value for name, value in _defaults().items() if name in names}
    return [replace(run, settings=defaults | run.settings) if run.settings else run for run in runs]


def _defaults() -> dict[str, Any]:
    from amgan_fast.runs.config import Config  # with torch

    return _flat(Config().to_dict())


def differing_settings(runs: Sequence[ListedRun]) -> list[str]:
    """The names of settings that are not alike in all runs whose settings can be read.

    >>> from pathlib import Path
    >>> from amgan_fast.runs import differing_settings, list_runs
    >>> differing_settings(list_runs(Path("runs/digits")))
    []
    """
    read = [run.settings for run in runs if run.settings]
    names = sorted({name for settings in read for name in settings})
    return [name for name in names if len({repr(settings.get(name)) for settings in read}) > 1]


def listing_rows(runs: Sequence[ListedRun]) -> tuple[list[str], list[list[str]]]:
    """The head and the rows of the table: names, state, scores, and the settings that differ.

    >>> from pathlib import Path
    >>> from amgan_fast.runs import list_runs, listing_rows
    >>> head, rows = listing_rows(list_runs(Path("runs/digits")))
    >>> head
    ['run', 'state', 'AM Score', '95%', 'Inception Score', '95%', 'minutes']
    """
    differing = differing_settings(runs)
    head = ["run", "state", "AM Score", "95%", "Inception Score", "95%", "minutes", *differing]
    return head, [_row(run, differing) for run in runs]


def _row(run: ListedRun, differing: Sequence[str]) -> list[str]:
    cells = [run.name, run.state]
    for name, interval, digits in zip(_SCORES, _INTERVALS, (4, 3), strict=True):
        value, ends = run.scores.get(name), run.scores.get(interval)
        cells.append("-" if value is None else f"{value:.{digits}f}" + ("" if run.finished else " on the way"))
        cells.append("-" if ends is None else f"{ends[0]:.{digits}f} to {ends[1]:.{digits}f}")
    cells.append("-" if run.seconds is None else f"{run.seconds / 60:,.1f}")
    return cells + [str(run.settings.get(name, "-")) for name in differing]


def _runs_below(folder: Path, depth: int) -> list[Path]:
    if (folder / "config.toml").is_file():
        return [folder]
    if not depth:
        return []
    try:
        inside = sorted(path for path in folder.iterdir() if path.is_dir() and not path.is_symlink())
    except OSError:  # one that may not be looked into has no runs for us
        return []
    return [run for path in inside for run in _runs_below(path, depth - 1)]


def _listed(run: RunFolder, name: str) -> ListedRun:
    try:
        settings = _flat(read_toml(run.config))
        _check(run.config, settings)
    except InputError as error:
        return ListedRun(run.path, name, {}, 0, False, {}, None, f"unreadable: {error}")
    try:
        rows = run.read_metrics()
    except OSError:
        rows = []
    steps, seconds = (rows[-1]["step"], _number(rows[-1].get("seconds"))) if rows else (0, None)
    scored = [row for row in rows if _number(row.get("am_score")) is not None]
    on_the_way = {name: _number(scored[-1].get(name)) for name in _SCORES} if scored else {}
    try:
        scores = _final(run.summary)
    except (InputError, LookupError, TypeError):  # none yet, or a damaged one
        unreadable = run.summary.exists()
        return ListedRun(run.path, name, settings, steps, False, on_the_way, seconds, None, unreadable)
    return ListedRun(run.path, name, settings, steps, True, scores, seconds)


def _check(path: Path, settings: Mapping[str, Any]) -> None:
    """What a listing computes with, and what JSON has: of the others it is for the run to say what they may be."""
    steps = settings.get("steps", 0)
    if not isinstance(steps, int) or isinstance(steps, bool):
        raise InputError(f"{path}: steps is {shown(steps)}, wanted a whole number")
    for name, value in settings.items():
        if not _is_plain(value):
            raise InputError(f"{path}: {name} is {shown(value)}, wanted a text or a finite number")


def _is_plain(value: object) -> bool:
    """A time, and what is infinite or undefined, is TOML and no JSON."""
    if isinstance(value, dict):
        return all(map(_is_plain, value.values()))
    if isinstance(value, list):
        return all(map(_is_plain, value))
    return isinstance(value, str | int) or (isinstance(value, float) and math.isfinite(value))


def _final(summary: Path) -> dict[str, Any]:
    """
    Raises:
        InputError, LookupError, TypeError: there are none, or what is there are no scores.
    """
    scores = read_json(summary)["generated"]["scores"]
    if any(scores[name] is not None and _number(scores[name]) is None for name in _SCORES):
        raise TypeError("a score is no number")
    return {name: scores[name] for name in _SCORES} | {name: _interval(scores[name]) for name in _INTERVALS}


def _interval(ends: object) -> list[float] | None:
    """None where an end is not known."""
    if not isinstance(ends, list) or len(ends) != 2 or None in map(_number, ends):
        return None
    return ends


def _number(value: object) -> float | None:
    """What is no finite number is none: a file may be damaged."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return value if abs(value) <= sys.float_info.max else None


def _flat(settings: Mapping[str, Any]) -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in settings.items():
        if isinstance(value, dict):
            flat |= {f"{name}.{inner}": one for inner, one in value.items()}
        else:
            flat[name] = value
    return flat
