"""How the command line shows what it does: a progress bar, then a table."""

from __future__ import annotations

from types import TracebackType
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.table import Table

from amgan_fast.evaluate import Evaluation, facts, score_rows
from amgan_fast.train import Observer

if TYPE_CHECKING:
    from typing_extensions import Self  # typing has it from Python 3.11 on


class _Bar:
    """A progress bar that is there as long as the context."""

    _progress: Progress

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._progress.stop()


class ProgressBar(_Bar, Observer):
    """Shows step, losses, AM Score, speed and the time left; a context manager."""

    def __init__(self, console: Console, shown: bool = True) -> None:
        self._progress = Progress(
            TextColumn("{task.description}"),
            MofNCompleteColumn(),
            BarColumn(bar_width=None),
            TextColumn("{task.fields[state]}"),
            TimeRemainingColumn(),
            console=console,
            disable=not shown,
        )
        self._classifier = self._progress.add_task("classifier", visible=False, state="")
        self._task = self._progress.add_task("step", visible=False, state="")
        self._evaluations: dict[str, TaskID] = {}
        self._am_score = "-"

    def message(self, text: str) -> None:
        self._progress.console.print(text, markup=False, highlight=False, soft_wrap=True)

    def classifier_progress(self, step: int, steps: int) -> None:
        self._progress.update(self._classifier, completed=step, total=steps, visible=True)

    def started(self, steps: int, done: int = 0) -> None:
        self._progress.update(self._classifier, visible=False)
        self._progress.reset(self._task, total=steps, completed=done, visible=True)

    def evaluated(self, what: str, done: int, total: int) -> None:
        if what not in self._evaluations:
            self._evaluations[what] = self._progress.add_task("scoring", total=total, state=what)
        self._progress.update(self._evaluations[what], completed=done)

    def logged(self, row: dict[str, Any]) -> None:
        if "am_score" in row:
            self._am_score = f"{row['am_score']:.3f}"
        state = (
            f"D {row['discriminator_loss']:.2f}  G {row['generator_loss']:.2f}  AM Score {self._am_score}  "
            f"{row['images_per_second']:,.0f} images/s"
        )
        self._progress.update(self._task, completed=row["step"], state=state)


class CellProgress(_Bar):
    """Shows how many runs of a comparison are finished, a line for each, and the time left; a context manager."""

    def __init__(self, console: Console, cells: int) -> None:
        self._progress = Progress(
            TextColumn("{task.description}"),
            MofNCompleteColumn(),
            BarColumn(bar_width=None),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            console=console,
        )
        self._task = self._progress.add_task("runs", total=cells)

    def __call__(self, text: str, done: int, cells: int) -> None:
        self._progress.console.print(text, markup=False, highlight=False, soft_wrap=True)
        self._progress.update(self._task, completed=done)


class SampleProgress:
    """Shows how many samples are done, how many a second, and the time left; a context manager and a callable.

    Args:
        console: where to, the standard error: the standard output is for results.
        shown: False: nothing; of several processes one shows.
    """

    def __init__(self, console: Console, shown: bool = True) -> None:
        self._progress = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=None),
            MofNCompleteColumn(),
            TextColumn("{task.fields[rate]}"),
            TimeRemainingColumn(),
            console=console,
            disable=not shown,
        )
        self._tasks: dict[str, TaskID] = {}

    def __enter__(self) -> SampleProgress:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._tasks:
            self._progress.stop()

    def __call__(self, what: str, done: int, total: int) -> None:
        self._progress.start()  # not before there is something to show: an error is one line then
        if what not in self._tasks:
            self._tasks[what] = self._progress.add_task(what, total=total, rate="")
        task = self._tasks[what]
        self._progress.update(task, completed=done, total=total)
        elapsed = self._progress.tasks[task].elapsed
        self._progress.update(task, rate=f"{done / elapsed:,.0f}/s" if done and elapsed else "")


def print_evaluation(console: Console, evaluation: Evaluation) -> None:
    """Scores of the generated and the held-out samples side by side, and what they rest on."""
    table = Table()
    table.add_column("")
    table.add_column("generated", justify="right")
    if evaluation.held_out is not None:
        table.add_column("held-out real", justify="right")
    for name, cells in score_rows(evaluation):
        table.add_row(name, *cells)
    console.print(table)
    for name, text in facts(evaluation):
        console.print(f"{name + ':' if name else '':12} {text}", markup=False, highlight=False, soft_wrap=True)
