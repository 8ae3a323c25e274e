"""The page of one run or of several: one HTML file, its pictures inside."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

from amgan_fast.errors import InputError, printable
from amgan_fast.evaluate import Evaluation
from amgan_fast.evaluate.report import class_tables, drawn_pictures, drawn_uri, made_by
from amgan_fast.evaluate.table import provenance, rows_of_sets
from amgan_fast.files import contents_of
from amgan_fast.page import png_uri, save_page
from amgan_fast.report.recorded_run import RecordedRun
from amgan_fast.report.side_by_side import judged_alike, side_by_side
from amgan_fast.runs import differing_settings, listing_rows
from amgan_fast.runs.listing_page import run_pictures
from amgan_fast.train.accuracy import DiscriminatorAccuracy
from amgan_fast.train.pictures import save_training_curves

_HELD_OUT = "held-out real"
PAGE_MARK = '<meta name="generator" content="amgan-fast report">'
"""What a page of this module has in its head, and no other file."""

_Group = Sequence[tuple[str, Evaluation]]
"""Runs of one classifier and one reference, by name."""


def save_run_report(path: Path, runs: Sequence[RecordedRun], command: Sequence[str] = ()) -> None:
    """Write the page: scores with intervals beside held-out real images, how each run differs from the first, samples,
    curves, classes, settings, what it rests on, which files there are, and what is missing and how to make it.

    Args:
        runs: at least one.
        command: that made it, if it is to be shown.

    Raises:
        InputError: the file cannot be written; an old one of its name is as it was.

    >>> from pathlib import Path
    >>> from amgan_fast.report import read_run, save_run_report
    >>> save_run_report(Path("report.html"), [read_run(Path("runs/digits"))])
    >>> "AM Score" in Path("report.html").read_text()
    True
    """
    names = _names(runs)
    head, rows = listing_rows([run.listed for run in runs])
    differing = differing_settings([run.listed for run in runs])
    alarms = [text for name, run in zip(names, runs, strict=True) for text in _alarms(name, run, len(runs) > 1)]
    pictures, undrawn = _pictures(names, runs)
    named = dict(zip(runs, names, strict=True))
    groups = [[(named[run], run.evaluation) for run in group if run.evaluation] for group in judged_alike(runs)]
    judged_apart = [_judged_apart(groups)] if len(groups) > 1 else []
    save_page(
        path,
        "amgan_fast.report",
        "run_report.html.jinja",
        mark=PAGE_MARK,
        title=", ".join(names) if len(runs) < 4 else f"{len(runs)} runs",
        lead="" if len(runs) > 1 else _in_a_line(runs[0]),
        many=len(runs) > 1,
        alarms=[*alarms, *judged_apart, *undrawn],
        listing_head=head,
        listing=[[name, *row[1:]] for name, row in zip(names, rows, strict=True)],
        differences=_differences(names, runs),
        pictures=pictures,
        names=names,
        differing=[[name, *(_setting(run, name) for run in runs)] for name in differing],
        shared=[(name, _setting(runs[0], name)) for name in runs[0].listed.settings if name not in differing],
        made=made_by(command),
        runs=[_about(name, run) for name, run in zip(names, runs, strict=True)],
        **_scores(names, runs, groups),
    )


def is_run_report(path: Path) -> bool:
    """Whether a file is what :func:`save_run_report` wrote: it may be made again.

    >>> from pathlib import Path
    >>> from amgan_fast.report import is_run_report
    >>> is_run_report(Path("runs/digits/summary.json"))
    False
    """
    try:
        with path.open("rb") as file:
            return PAGE_MARK.encode() in file.read(1000)
    except OSError:
        return False


def _names(runs: Sequence[RecordedRun]) -> list[str]:
    """Of their folders, or their paths where folders of several runs are called alike: no two of them are the same."""
    counts = Counter(run.listed.name for run in runs)
    names = [run.listed.name if counts[run.listed.name] == 1 else os.fspath(run.listed.path) for run in runs]
    if len(set(names)) < len(names):  # the path of one is the name of another one
        names = [os.fspath(run.listed.path.resolve()) for run in runs]
    return [printable(name) for name in names]


def _in_a_line(run: RecordedRun) -> str:
    """What was trained on what."""
    values = {name: printable(str(value)) for name, value in run.listed.settings.items()}
    wanted = "{model} with {labels} labels on {dataset}, network {network}: {steps} steps of {batch_size}, seed {seed}"
    return wanted.format_map(values) if values else ""


def _alarms(name: str, run: RecordedRun, named: bool) -> list[str]:
    found = [] if run.listed.has_ended or run.listed.problem else [f"not finished: {run.listed.state}"]
    found += [run.problem] if run.problem else []
    if run.evaluation is not None:
        found += [f"partial: {run.evaluation.partial}"] if run.evaluation.partial else []
        found += run.evaluation.warnings
    return [f"{name}: {printable(text)}" if named else printable(text) for text in found]


def _scores(names: Sequence[str], runs: Sequence[RecordedRun], groups: Sequence[_Group]) -> dict[str, Any]:
    """The table of scores, those of classes, and what is drawn of numbers: one column a run, and held-out real images
    under each classifier."""
    if not groups:
        return {"columns": [], "rows": [], "classes": [], "drawn": []}
    scored = {name: evaluation for group in groups for name, evaluation in group}
    sets = {"generated" if len(runs) == 1 else name: scored[name].generated for name in names if name in scored}
    for name, evaluation in (group[0] for group in groups):
        if evaluation.held_out is not None:
            sets[_HELD_OUT if len(groups) == 1 and _HELD_OUT not in sets else f"{_HELD_OUT} of {name}"] = (
                evaluation.held_out
            )
    rows = rows_of_sets(list(sets.values()))
    if len(runs) == 1 and (accuracy := _accuracy(runs[0])) is not None and len(sets) == 2:
        rows += accuracy.rows()
    classifier = groups[0][0][1].classifier
    class_names = (classifier and classifier.class_names) or ()
    return {
        "columns": list(sets),
        "rows": rows,
        "classes": class_tables(sets),
        "drawn": drawn_pictures(sets, class_names) if len(groups) == 1 else [],
    }


def _judged_apart(groups: Sequence[_Group]) -> str:
    told = "; ".join(", ".join(name for name, _ in group) for group in groups)
    return (
        f"Scores of {len(groups)} classifiers or references stand side by side here, and cannot be compared but within "
        f"one of them: {told}."
    )


def _accuracy(run: RecordedRun) -> DiscriminatorAccuracy | None:
    told = (run.summary and run.summary.discriminator) or {}
    if not all(isinstance(told.get(name), int) for name in ("correct", "n")) or not told["n"]:
        return None
    if not isinstance(told.get("normalization"), str):
        return None
    return DiscriminatorAccuracy(told["correct"], told["n"], told["normalization"])


def _differences(names: Sequence[str], runs: Sequence[RecordedRun]) -> list[dict[str, Any]]:
    found = []
    for name, beside in zip(names[1:], side_by_side(runs), strict=True):
        difference = None if beside.against is None else beside.against.difference
        found.append(
            {
                "title": f"{name} less {names[0]}",
                "columns": () if difference is None else difference.COLUMNS,
                "rows": [] if difference is None else difference.rows(),
                "note": beside.note and printable(beside.note),
            }
        )
    return found


def _pictures(names: Sequence[str], runs: Sequence[RecordedRun]) -> tuple[list[dict[str, Any]], list[str]]:
    """What the runs drew, each kind beside each other; curves of the journal where a run has not drawn them yet, and
    which journals cannot be drawn."""
    kinds: dict[str, list[tuple[str, str]]] = {}
    undrawn = []
    for name, run in zip(names, runs, strict=True):
        for path in run_pictures(run.folder):
            kinds.setdefault("Curves" if path == run.folder.curves else "Samples", []).append((name, png_uri(path)))
        journal = [] if run.folder.curves.is_file() else run.folder.read_metrics()
        if any("am_score" in row and "class_distribution" in row for row in journal):
            try:
                with contents_of(run.folder.metrics):
                    uri = drawn_uri(lambda path, rows: save_training_curves(path, rows, None), journal)
                kinds.setdefault("Curves", []).append((name, uri))
            except InputError as error:
                undrawn.append(printable(f"no curves: {error}"))
        for path in sorted((run.listed.path / "sheets").glob("*.png")):
            kinds.setdefault(f"Sheet: {path.stem.replace('_', ' ')}", []).append((name, png_uri(path)))
    return [{"heading": heading, "items": items} for heading, items in kinds.items()], undrawn


def _setting(run: RecordedRun, name: str) -> str:
    return printable(str(run.listed.settings.get(name, "-")))


def _about(name: str, run: RecordedRun) -> dict[str, Any]:
    """What a run rests on, what is in its folder, and what is not."""
    facts = [("folder", os.fspath(run.listed.path.absolute()))]
    if run.summary is not None:
        training, build = run.summary.training, run.summary.build
        facts += [
            ("training", f"{timedelta(seconds=round(training.seconds))}, {training.images_per_second:,.0f} images/s"),
            ("on", f"{training.device}; CPU threads: {training.threads}; processes: {training.processes}"),
            (
                "build",
                f"amgan_fast {build.get('version')}, PyTorch {build.get('torch')}, {build.get('cpu_capability')}",
            ),
        ]
    if run.evaluation is not None:
        facts += provenance(run.evaluation)
    facts = [(what, printable(text)) for what, text in facts]
    files = [(printable(file), text) for file, text in run.files]
    return {"name": name, "facts": facts, "files": files, "missing": run.missing}
