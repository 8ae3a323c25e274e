"""How the command line shows what it does: a progress bar, then a table."""

from __future__ import annotations

from datetime import timedelta
from threading import Event, Thread
from types import TracebackType
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.table import Table

from amgan_fast.errors import printable
from amgan_fast.evaluate import Evaluation, provenance, score_rows
from amgan_fast.train import DiscriminatorAccuracy, Observer

if TYPE_CHECKING:
    from typing_extensions import Self  # typing has it from Python 3.11 on


PLAIN_SECONDS = 30.0
"""Between two lines where the output is no terminal."""


class _Bar:
    """Progress as a bar that is there as long as the context, or where ``console`` is no terminal (output in a file or
    a pipe, a batch job) as a plain line of each task every half minute.

    Args:
        columns: of the bar; a task's field ``state`` is a text.
    """

    def __init__(self, console: Console, *columns: str | ProgressColumn, shown: bool = True) -> None:
        self._progress = Progress(*columns, console=console, disable=not (shown and console.is_interactive))
        self._shown: Progress | _Lines = self._progress
        if shown and not console.is_interactive:
            self._shown = _Lines(self._progress)

    def __enter__(self) -> Self:
        self._shown.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if not (self._shown is self._progress and self._progress.disable):  # which would print an empty line
            self._shown.stop()

    def _come_to(self, task: TaskID, done: int, total: int) -> None:
        """What begins again, as reading files after their headers, is not finished any more."""
        if done < self._progress.tasks[task].completed:
            self._progress.reset(task, total=total, completed=done)
        self._progress.update(task, completed=done, total=total)


class _Lines:
    """Prints what progress there is, now and then, from a thread of its own: a long step says nothing by itself."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._stopped = Event()
        self._thread = Thread(target=self._run, daemon=True)

    def start(self) -> None:
        if not self._thread.is_alive():
            self._thread.start()

    def stop(self) -> None:
        self._stopped.set()
        if self._thread.is_alive():
            self._thread.join()

    def _run(self) -> None:
        while not self._stopped.wait(PLAIN_SECONDS):
            for task in self._progress.tasks:
                if task.visible and not task.finished:
                    print_line(self._progress.console, _in_words(task))


def _in_words(task: Task) -> str:
    """What the bar of a task shows."""
    of = "" if task.total is None else f"/{task.total:,.0f}"
    elapsed = timedelta(seconds=int(task.elapsed or 0))
    return f"{task.description} {task.completed:,.0f}{of}  {task.fields['state']}  after {elapsed}"


class ProgressBar(_Bar, Observer):
    """Shows step, losses, AM Score, speed and the time left; a context manager."""

    def __init__(self, console: Console, shown: bool = True) -> None:
        super().__init__(
            console,
            TextColumn("{task.description}"),
            MofNCompleteColumn(),
            BarColumn(bar_width=None),
            TextColumn("{task.fields[state]}", markup=False),
            TimeRemainingColumn(),
            shown=shown,
        )
        self._files = self._progress.add_task("image files", visible=False, state="")
        self._classifier = self._progress.add_task("classifier", visible=False, state="")
        self._task = self._progress.add_task("step", visible=False, state="")
        self._evaluations: dict[str, TaskID] = {}
        self._am_score = "-"

    def message(self, text: str) -> None:
        print_line(self._progress.console, text)

    def loaded(self, done: int, total: int) -> None:
        self._come_to(self._files, done, total)
        self._progress.update(self._files, visible=done < total)

    def classifier_progress(self, step: int, steps: int) -> None:
        self._progress.update(self._classifier, completed=step, total=steps, visible=True)

    def started(self, steps: int, done: int = 0) -> None:
        self._progress.update(self._classifier, visible=False)
        self._progress.reset(self._task, total=steps, completed=done, visible=True)

    def evaluated(self, what: str, done: int, total: int) -> None:
        if what not in self._evaluations:
            self._evaluations[what] = self._progress.add_task("scoring", total=total, state=printable(what))
        self._come_to(self._evaluations[what], done, total)

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
        super().__init__(
            console,
            TextColumn("{task.description}"),
            MofNCompleteColumn(),
            BarColumn(bar_width=None),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
        )
        self._task = self._progress.add_task("runs", total=cells, state="finished")

    def __call__(self, text: str, done: int, cells: int) -> None:
        print_line(self._progress.console, text)
        self._progress.update(self._task, completed=done)


class SampleProgress(_Bar):
    """Shows how many samples are done, how many a second, and the time left; a context manager and a callable.

    Args:
        console: where to, the standard error: the standard output is for results.
        shown: False: nothing; of several processes one shows.
    """

    def __init__(self, console: Console, shown: bool = True) -> None:
        super().__init__(
            console,
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=None),
            MofNCompleteColumn(),
            TextColumn("{task.fields[state]}"),
            TimeRemainingColumn(),
            shown=shown,
        )
        self._tasks: dict[str, TaskID] = {}

    def __enter__(self) -> Self:
        return self  # shown once there is something to show: an error is one line then

    def __call__(self, what: str, done: int, total: int) -> None:
        self._shown.start()
        if what not in self._tasks:
            self._tasks[what] = self._progress.add_task(printable(what), total=total, state="")
        task = self._tasks[what]
        self._come_to(task, done, total)
        elapsed = self._progress.tasks[task].elapsed
        self._progress.update(task, state=f"{done / elapsed:,.0f}/s" if done and elapsed else "")


def print_line(console: Console, text: str) -> None:
    """As it is, but for what no terminal takes, and without a break where the terminal ends."""
    console.print(printable(text), markup=False, highlight=False, soft_wrap=True)


def print_evaluation(
    console: Console, evaluation: Evaluation, discriminator: DiscriminatorAccuracy | None = None
) -> None:
    """Scores of the generated and the held-out samples side by side, and what they rest on; with them the accuracy of
    the discriminator of a run."""
    table = Table()
    table.add_column("")
    table.add_column("generated", justify="right")
    if evaluation.held_out is not None:
        table.add_column("held-out real", justify="right")
    for name, cells in score_rows(evaluation) + (discriminator.rows() if discriminator else []):
        table.add_row(name, *cells)
    console.print(table)
    for name, text in provenance(evaluation):
        print_line(console, f"{name + ':' if name else '':12} {text}")
