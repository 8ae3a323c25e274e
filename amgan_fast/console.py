"""How the command line shows a run: a progress bar, then a table."""

from __future__ import annotations

from types import TracebackType
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from amgan_fast.evaluate import Evaluation
from amgan_fast.train import Observer


class ProgressBar(Observer):
    """Shows step, losses, AM Score, speed and the time left; a context manager."""

    def __init__(self, console: Console) -> None:
        self._progress = Progress(
            TextColumn("{task.description}"),
            MofNCompleteColumn(),
            BarColumn(bar_width=None),
            TextColumn("{task.fields[state]}"),
            TimeRemainingColumn(),
            console=console,
        )
        self._classifier = self._progress.add_task("classifier", visible=False, state="")
        self._task = self._progress.add_task("step", visible=False, state="")
        self._am_score = "-"

    def __enter__(self) -> ProgressBar:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._progress.stop()

    def message(self, text: str) -> None:
        self._progress.console.print(text, markup=False, highlight=False, soft_wrap=True)

    def classifier_progress(self, step: int, steps: int) -> None:
        self._progress.update(self._classifier, completed=step, total=steps, visible=True)

    def started(self, steps: int) -> None:
        self._progress.update(self._classifier, visible=False)
        self._progress.reset(self._task, total=steps, visible=True)

    def logged(self, row: dict[str, Any]) -> None:
        if "am_score" in row:
            self._am_score = f"{row['am_score']:.3f}"
        state = (
            f"D {row['discriminator_loss']:.2f}  G {row['generator_loss']:.2f}  AM Score {self._am_score}  "
            f"{row['images_per_second']:,.0f} images/s"
        )
        self._progress.update(self._task, completed=row["step"], state=state)


def evaluation_table(evaluation: Evaluation, dataset: str) -> Table:
    """Scores of the generator and of held-out real images, side by side."""
    table = Table(caption=f"classifier: {evaluation.classifier_accuracy:.2%} on held-out {dataset}; scores in nats")
    table.add_column("")
    table.add_column("generator", justify="right")
    table.add_column("held-out real", justify="right")
    columns = (evaluation.generator, evaluation.held_out)
    for label, name in _ROWS:
        table.add_row(label, *(f"{getattr(scores, name):.4f}" for scores in columns))
    table.add_row("images", *(f"{scores.n:,}" for scores in columns))
    return table


_ROWS = (
    ("AM Score (lower is better)", "am_score"),
    ("  KL(reference, mean)", "kl_reference"),
    ("  mean entropy", "mean_entropy"),
    ("Inception Score (higher is better)", "inception_score"),
)
