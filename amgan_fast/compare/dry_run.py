"""What a comparison would be, and about how long it would take."""

from __future__ import annotations

import heapq
import os
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from amgan_fast.compare.cells import Cell, settings
from amgan_fast.compare.comparison import check_comparison
from amgan_fast.data import Dataset
from amgan_fast.device import current_gpu
from amgan_fast.errors import counted
from amgan_fast.processes import Share
from amgan_fast.runs import Checkpoint
from amgan_fast.runs.toml import toml_text
from amgan_fast.train import Observer
from amgan_fast.train.classifier_training import cached_classifier_path
from amgan_fast.train.dry_run import Times, try_steps
from amgan_fast.train.guide import read_guide
from amgan_fast.train.job import Job


@dataclass(frozen=True)
class PlannedCell:
    """A run of a comparison that was not made."""

    cell: Cell
    taken: int | None
    """Steps that it has taken and goes on behind, as its checkpoint has them; None: it is finished."""
    times: Times | None
    """Of its model and labelling; None where all of these are finished."""

    @property
    def seconds(self) -> float:
        """That are left of it."""
        if self.taken is None or self.times is None:
            return 0.0
        return self.times.of_run(self.cell.config, min(self.taken, self.cell.config.steps))


@dataclass(frozen=True)
class ComparisonEstimate:
    """A comparison that was not made."""

    root: Path
    dataset: str
    """In a line."""
    classifier: Path | None
    """Where the classifier is that the runs will be scored with; None: it will be trained first."""
    cells: tuple[PlannedCell, ...]
    jobs: int

    @property
    def seconds(self) -> float:
        """Until the last run ends, where ``jobs`` of them go at a time, each as fast as one alone."""
        free = [0.0] * self.jobs
        for planned in self.cells:
            heapq.heapreplace(free, free[0] + planned.seconds)
        return max(free)

    def lines(self) -> list[str]:
        """For the terminal: the settings that all runs share as TOML, then what differs and what is known."""
        cells = [planned.cell for planned in self.cells]
        configs = [cell.config for cell in cells]
        finished = sum(planned.taken is None for planned in self.cells)
        begun = sum(bool(planned.taken) for planned in self.cells)
        seeds = sorted({config.seed for config in configs})
        classifier = "is to be trained first" if self.classifier is None else str(self.classifier)
        left = f"about {timedelta(seconds=round(self.seconds))} for what is left, {counted(self.jobs, 'run')} at a time"
        return [
            *toml_text(settings(cells)).splitlines(),
            "",
            f"dataset:    {self.dataset}",
            f"folder:     {self.root}",
            f"classifier: {classifier}",
            f"models:     {', '.join(dict.fromkeys(config.model for config in configs))}",
            f"labels:     {', '.join(dict.fromkeys(config.labels for config in configs))}",
            f"seeds:      {', '.join(map(str, seeds))}",
            f"runs:       {len(cells)}: {finished} finished, {begun} begun, {len(cells) - finished - begun} new",
            *self._kinds(),
            f"time:       {left}",
            "            without the classifier's training, images read anew by every run, checkpoints, pictures,",
            f"            MS-SSIM and tables; as if runs at a time shared nothing (cores here: {os.cpu_count()})",
            "nothing was trained, and nothing written",
        ]

    def _kinds(self) -> list[str]:
        """A line for each model and labelling of which a run is left."""
        lines = []
        for kind in dict.fromkeys(_kind(planned.cell) for planned in self.cells):
            mine = [planned for planned in self.cells if _kind(planned.cell) == kind]
            times, left = mine[0].times, [planned.seconds for planned in mine if planned.taken is not None]
            if times is not None:
                whole = timedelta(seconds=round(times.of_run(mine[0].cell.config)))
                all_left = timedelta(seconds=round(sum(left)))
                runs = f"{len(left)} left in {all_left}"
                lines.append(
                    f"            {', '.join(kind)}: {1000 * times.step:,.2f} ms a step, {whole} a run, {runs}"
                )
        return lines


def dry_run(
    root: Path, cells: Sequence[Cell], *, jobs: int = 1, observer: Observer | None = None
) -> ComparisonEstimate:
    """Check all that :func:`amgan_fast.compare.compare` checks, take a few steps of each model and labelling of which
    a run is left, in memory, and say what the comparison would be. Nothing is written.

    Args:
        observer: told how many of these are tried.

    Raises:
        InputError: as :func:`amgan_fast.compare.compare`.

    >>> from pathlib import Path
    >>> from amgan_fast.compare import dry_run, plan
    >>> from amgan_fast.runs import Config
    >>> estimate = dry_run(Path("compare"), plan(Config(steps=100), models=["amgan"], labels=["dynamic"], seeds=2))
    >>> len(estimate.cells), estimate.seconds > 0
    (2, True)
    """
    observer = observer or Observer()
    dataset = check_comparison(root, cells, jobs)
    taken = {cell.name: _taken(root, cell) for cell in cells}
    kinds = {_kind(cell): cell for cell in cells if taken[cell.name] is not None}
    times: dict[tuple[str, str], Times] = {}
    for number, (kind, cell) in enumerate(kinds.items()):
        observer.progress("models", number, len(kinds))
        times[kind] = _times(root, cell, dataset)
    observer.progress("models", len(kinds), len(kinds))
    kept = cached_classifier_path(dataset)
    return ComparisonEstimate(
        root,
        dataset.describe(),
        kept if kept.exists() else None,
        tuple(PlannedCell(cell, taken[cell.name], times.get(_kind(cell))) for cell in cells),
        jobs,
    )


def _kind(cell: Cell) -> tuple[str, str]:
    return cell.config.model, cell.config.labels


def _taken(root: Path, cell: Cell) -> int | None:
    run = cell.run(root)
    if run.summary.exists():
        return None
    return Checkpoint.last_steps(run.checkpoint)


def _times(root: Path, cell: Cell, dataset: Dataset) -> Times:
    job = Job.of(cell.config, cell.run(root), None, Share())
    with current_gpu(job.device):
        guide = read_guide(cell.config, job.folder, dataset, job.device)
        _, times = try_steps(job, dataset.to_if_it_fits(job.device), guide)
    return times
