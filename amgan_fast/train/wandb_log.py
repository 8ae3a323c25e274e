"""A run's numbers and pictures at Weights & Biases."""

from __future__ import annotations

import os
import secrets
from pathlib import Path
from typing import Any

from amgan_fast.errors import InputError
from amgan_fast.extras import said_of_missing
from amgan_fast.files import full_disk_is_said, write_text
from amgan_fast.progress import Observer
from amgan_fast.runs import RunFolder
from amgan_fast.train.scalars import scalars


class WandbLog(Observer):
    """Logs to Weights & Biases: settings, the numbers of every row, grids of samples, and at the end scores, samples
    and curves.

    ``wandb_id.txt`` in the run's folder keeps the name by which Weights & Biases knows the run, so that one which goes
    on is the same there. A row that comes a second time, after a checkpoint before it, is passed over there.

    >>> from amgan_fast.train import WandbLog
    >>> class Digits(WandbLog):
    ...     "For ``amgan-fast train --observer my_logs:Digits``."
    ...
    ...     def __init__(self) -> None:
    ...         super().__init__(project="digits", tags=["8 x 8"], mode="offline")

    Args:
        options: of ``wandb.init``. What is not given is what wandb's variables of the environment say
            (``WANDB_PROJECT``, ``WANDB_MODE=offline``), then the project is ``amgan-fast``, and the run's name and
            place are those of its folder.

    Attributes:
        run: wandb's, from the beginning of a run to its end; None before and after.

    Raises:
        InputError: the package wandb is not installed.
    """

    def __init__(self, **options: Any) -> None:
        try:
            import wandb
        except ImportError as error:
            raise InputError(said_of_missing(error)) from None
        self.run: Any = None
        self._wandb = wandb
        self._options = options
        self._folder = RunFolder(Path())

    def began(self, folder: Path, config: dict[str, Any], step: int) -> None:
        self._folder = RunFolder(folder)
        places = {"project": "amgan-fast", "name": folder.name, "dir": str(folder)}
        free = {name: value for name, value in places.items() if f"WANDB_{name.upper()}" not in os.environ}
        options = {"config": config, "allow_val_change": True, **free, **self._options}
        self.run = self._wandb.init(**options, id=_id(folder), resume="allow", reinit="create_new")

    def logged(self, row: dict[str, Any]) -> None:
        self.run.log(scalars(row), step=row["step"])

    def drawn(self, step: int, path: Path) -> None:
        self.run.log({"samples": self._wandb.Image(str(path))}, step=step)

    def finished(self, summary: dict[str, Any]) -> None:
        scores = summary["generated"]["scores"]
        numbers = {name: value for name, value in scores.items() if isinstance(value, int | float)}
        self.run.summary.update({f"final/{name}": value for name, value in numbers.items()})
        pictures = (self._folder.samples, self._folder.curves)
        self.run.log({f"final/{path.stem}": self._wandb.Image(str(path)) for path in pictures})
        self._finish(0)

    def stopped(self, error: BaseException) -> None:
        if self.run is not None:
            self._finish(1)

    def _finish(self, exit_code: int) -> None:
        self.run.finish(exit_code=exit_code)
        self.run = None


def _id(folder: Path) -> str:
    """Kept in the folder, drawn where there is none."""
    path = folder / "wandb_id.txt"
    if not path.exists():
        with full_disk_is_said(path):
            write_text(path, secrets.token_hex(8))
    return path.read_text(encoding="utf-8").strip()
