"""Runs the cells of a comparison, each once, and puts their results together."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from amgan_fast.compare.cells import Cell, settings
from amgan_fast.compare.figure import save_comparison_curves
from amgan_fast.compare.own_processes import call_in_processes
from amgan_fast.compare.results import Comparison, real_result, result_of
from amgan_fast.compare.tables import markdown
from amgan_fast.data import Dataset
from amgan_fast.device import resolve_device
from amgan_fast.errors import InputError, as_input_error
from amgan_fast.files import read_json, to_json, write_json, write_text
from amgan_fast.lock import hold_folder, is_unused
from amgan_fast.metrics import SCORE
from amgan_fast.option_checks import MOST_PROCESSES, check_range
from amgan_fast.train import Observer, resume, train
from amgan_fast.train.checks import check_run
from amgan_fast.train.guide import read_guide


def compare(root: Path, cells: Sequence[Cell], *, jobs: int = 1, observer: Observer | None = None) -> Comparison:
    """Train what is not trained yet, and leave tables, figure and JSON in ``root``.

    A cell that is finished is not trained again, one that was stopped goes on from its checkpoint: the same call does
    for the first time and for going on.

    Args:
        root: the folder of the comparison: new, or one with the same settings.
        cells: of :func:`amgan_fast.compare.plan`.
        jobs: cells that are trained at the same time, each in a process of its own.
        observer: told of each run that is finished, and how many are; None: no one.

    Raises:
        InputError: ``root`` holds a comparison with other settings, or a cell cannot be trained.
        TrainingStopped: a signal ended it, and what was being trained is saved; the same call goes on.

    >>> from pathlib import Path
    >>> from amgan_fast.compare import compare, plan
    >>> from amgan_fast.runs import Config
    >>> short = Config(steps=10, score_samples=500, final_samples=500)
    >>> comparison = compare(Path("compare"), plan(short, models=["amgan"], labels=["dynamic"], seeds=1))
    >>> [cell.model for cell in comparison.cells]
    ['amgan']
    """
    check_comparison(root, cells, jobs)
    with ExitStack() as stack:
        with _unwritable_is_said(root):
            stack.enter_context(hold_folder(root))
            _check(root, cells)
            write_json(_settings_of(root), settings(cells))
        return _compare(root, cells, jobs, observer or Observer())


def check_comparison(root: Path, cells: Sequence[Cell], jobs: int) -> Dataset:
    """What can be known before anything is trained or written; returns the images.

    Raises:
        InputError: as :func:`compare`.
    """
    with as_input_error():
        check_range("jobs", jobs, 1, MOST_PROCESSES)
    dataset = _check_cells(root, cells)
    _check(root, cells)
    return dataset


def _compare(root: Path, cells: Sequence[Cell], jobs: int, observer: Observer) -> Comparison:
    done = [cell for cell in cells if cell.run(root).summary.exists()]
    waiting = [cell for cell in cells if cell not in done]
    observer.progress("runs", len(done), len(cells))
    for number, text in enumerate(_train_all(root, waiting, jobs), len(done) + 1):
        observer.message(text)
        observer.progress("runs", number, len(cells))
    with _unwritable_is_said(root):
        results = tuple(result_of(cell, root) for cell in cells)
    config = cells[0].config
    real = real_result(cells[0].run(root), config.load_dataset())
    comparison = Comparison(config.dataset, settings(cells), real, results)
    with _unwritable_is_said(root):
        write_json(root / "comparison.json", comparison.to_dict())
        write_text(root / "comparison.md", markdown(comparison))
        save_comparison_curves(root / "comparison.png", root, cells)
    return comparison


def _check(root: Path, cells: Sequence[Cell]) -> None:
    """
    Raises:
        InputError: something else than a comparison with the same settings is at ``root``.
    """
    kept, mine = _settings_of(root), json.loads(to_json(settings(cells)))
    if kept.exists():
        before = read_json(kept)
        if not isinstance(before, dict):
            raise InputError(f"{kept} is damaged, wanted the settings of a comparison")
        if changed := [name for name in sorted(before.keys() | mine.keys()) if before.get(name) != mine.get(name)]:
            raise InputError(
                f"{root} holds a comparison with another {', '.join(changed)}; wanted the same, or a new --out"
            )
        return
    with _unwritable_is_said(root):
        used = root.exists() and not is_unused(root)
    if used:
        raise InputError(f"{root} is not empty and holds no comparison, wanted a new or empty folder for --out")


def _settings_of(root: Path) -> Path:
    return root / "settings.json"


@contextmanager
def _unwritable_is_said(root: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise InputError(f"{root} cannot be written to ({error.strerror}), wanted a folder for --out") from None


def _check_cells(root: Path, cells: Sequence[Cell]) -> Dataset:
    """Before the first of them is trained: seeds make no difference."""
    config = cells[0].config
    device = resolve_device(config.device)
    dataset = config.load_dataset()
    for cell in {(cell.config.model, cell.config.labels): cell for cell in cells}.values():
        check_run(cell.config, dataset, device)
    if new := [cell for cell in cells if not cell.run(root).config.exists()]:
        read_guide(new[0].config, new[0].run(root), dataset, device)  # all have the same one
    return dataset


def _train_all(root: Path, cells: Sequence[Cell], jobs: int) -> Any:
    """Yields a line for every cell as it ends."""
    if jobs == 1 or len(cells) < 2:
        yield from (_train(root, cell) for cell in cells)
        return
    # One of the first trains the classifier while the others wait for it: cached_classifier.
    yield from call_in_processes([partial(_train, root, cell) for cell in cells], jobs)


def _train(root: Path, cell: Cell) -> str:
    run = cell.run(root)
    allowed = cell.config.modules()
    result = resume(run.path, allow_code=allowed) if run.config.exists() else train(cell.config, run.path)
    scores = result.evaluation.generated.scores
    told = (SCORE[field] for field in ("am_score", "inception_score"))
    return f"{cell.name}: {', '.join(f'{score.title} {score.text(scores)}' for score in told)}"
