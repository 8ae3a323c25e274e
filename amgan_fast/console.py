"""How the command line shows what it does: a progress bar, then a table."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import timedelta
from threading import Event, Thread
from types import TracebackType
from typing import TYPE_CHECKING, Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    Task,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
)
from rich.table import Table
from rich.text import Text

from amgan_fast.errors import printable
from amgan_fast.evaluate import ClassTable, Evaluation, provenance, score_rows
from amgan_fast.metrics import SCORE
from amgan_fast.progress import Observer

if TYPE_CHECKING:
    from typing_extensions import Self  # typing has it from Python 3.11 on

    from amgan_fast.train import DiscriminatorAccuracy

PLAIN_SECONDS = 30.0
"""Between two lines where the output is no terminal."""

_WIDEST = 1000  # characters, of a table that no terminal narrows

_STEP = "step"
_AM_SCORE = SCORE["am_score"].title
_PREPARATIONS = ("headers of image files", "image files", "classifier")
"""What need not be seen once it is done."""


class ProgressBar(Observer):
    """Shows how far each thing is that is gone through, and the time left, as bars that are there as long as the
    context; where ``console`` is no terminal (output in a file or a pipe, a batch job) as a plain line of each every
    half minute.

    Args:
        console: where to; the standard error where the standard output is for results.
        shown: False: nothing; of several processes one shows.
    """

    def __init__(self, console: Console, shown: bool = True) -> None:
        self._progress = Progress(
            TextColumn("{task.description}", markup=False),
            MofNCompleteColumn(),
            BarColumn(bar_width=None),
            TextColumn("{task.fields[state]}", markup=False),
            TimeRemainingColumn(elapsed_when_finished=True),
            console=console,
            disable=not (shown and console.is_interactive),
        )
        self._shown: Progress | _Lines = self._progress
        if shown and not console.is_interactive:
            self._shown = _Lines(self._progress)
        self._tasks: dict[str, TaskID] = {}
        self._am_score = "-"

    def __enter__(self) -> Self:
        return self  # shown once there is something to show: an error is one line then

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if not (self._shown is self._progress and self._progress.disable):  # which would print an empty line
            self._shown.stop()

    def message(self, text: str) -> None:
        print_line(self._progress.console, text)

    def progress(self, what: str, done: int, total: int) -> None:
        task = self._task(what, done, total)
        if done < self._progress.tasks[task].completed:  # what begins again is not finished any more
            self._progress.reset(task, total=total, completed=done, begun=done)
        self._progress.update(task, completed=done, total=total, visible=done < total or what not in _PREPARATIONS)
        if what != _STEP:
            self._progress.update(task, state=_speed(self._progress.tasks[task]))

    def logged(self, row: dict[str, Any]) -> None:
        """Losses, AM Score and speed, beside the number of the step."""
        if "am_score" in row:
            self._am_score = f"{row['am_score']:.3f}"
        state = (
            f"D {row['discriminator_loss']:.2f}  G {row['generator_loss']:.2f}  {_AM_SCORE} {self._am_score}  "
            f"{row['images_per_second']:,.0f} images/s"
        )
        self._progress.update(self._task(_STEP, row["step"], None), state=state)

    def _task(self, what: str, done: int, total: int | None) -> TaskID:
        if what not in self._tasks:
            self._shown.start()
            name = printable(what)
            self._tasks[what] = self._progress.add_task(name, total=total, completed=done, begun=done, state="")
        return self._tasks[what]


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


def _speed(task: Task) -> str:
    """Of what is gone through more than once a second, leaving out what was done before."""
    per_second = (task.completed - task.fields["begun"]) / task.elapsed if task.elapsed else 0.0
    return f"{per_second:,.0f}/s" if per_second >= 1 else ""


def print_line(console: Console, text: str) -> None:
    """As it is, but for what no terminal takes, and without a break where the terminal ends."""
    console.print(printable(text), markup=False, highlight=False, soft_wrap=True)


def print_evaluation(
    console: Console, evaluation: Evaluation, discriminator: DiscriminatorAccuracy | None = None
) -> None:
    """Scores of the generated and the held-out samples side by side, the worst classes of the generated ones, and what
    this rests on; with the scores the accuracy of the discriminator of a run."""
    table = Table()
    table.add_column("")
    table.add_column("generated", justify="right")
    if evaluation.held_out is not None:
        table.add_column("held-out real", justify="right")
    for name, cells in score_rows(evaluation) + (discriminator.rows() if discriminator else []):
        table.add_row(name, *cells)
    if console.measure(table, options=console.options.update(width=_WIDEST)).maximum > console.width:
        table.box, table.show_edge, table.pad_edge = SIMPLE_HEAD, False, False  # so that names stay in one line
    console.print(table)
    if evaluation.against is not None:
        against = evaluation.against
        rows = ([name, *cells] for name, cells in against.rows())
        console.print(_as_table(against.title, ["", *against.difference.COLUMNS], rows))
    if evaluation.generated.classes is not None:
        worst = ClassTable.worst(evaluation.generated.classes, narrow=True)
        console.print(_as_table(worst.title, worst.columns, worst.rows))
    for name, text in provenance(evaluation):
        print_line(console, f"{name + ':' if name else '':12} {text}")


def _as_table(title: str, columns: Sequence[str], rows: Iterable[Sequence[str]]) -> Table:
    table = Table(title=Text(printable(title)), title_justify="left", box=SIMPLE_HEAD)
    for i, name in enumerate(columns):
        table.add_column(name, justify="right" if i else "left")
    for row in rows:
        table.add_row(*map(Text, row))  # names may have what rich takes for markup
    return table
