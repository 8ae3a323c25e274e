"""The folder that a run leaves."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from amgan_fast.errors import InputError
from amgan_fast.files import file_name, full_disk_is_said, sync, write_text
from amgan_fast.lock import hold_folder, is_unused

if TYPE_CHECKING:
    from amgan_fast.runs.config import Config  # which imports torch; runs are listed without it


@dataclass(frozen=True)
class RunFolder:
    """Where the files of a run are.

    >>> from pathlib import Path
    >>> from amgan_fast.runs import RunFolder
    >>> RunFolder(Path("runs/digits")).summary.as_posix()
    'runs/digits/summary.json'
    """

    path: Path

    @staticmethod
    def new(path: Path | None, config: Config) -> RunFolder:
        """Where a new run goes: ``path``, or a folder in ``runs/`` named after the configuration and the time."""
        return RunFolder(_default_path(config) if path is None else path)

    def check_unused(self) -> None:
        """
        Raises:
            InputError: there is something in the folder already, or it cannot be looked into.
        """
        with _unusable_is_said(self.path):
            used = self.path.exists() and not is_unused(self.path)
        if used:
            going_on = f"; amgan-fast train --resume {self.path} goes on with the run in it" * self.config.exists()
            raise InputError(f"{self.path} is not empty, wanted a new or empty folder for --out{going_on}")

    @contextmanager
    def hold(self) -> Iterator[None]:
        """Make the folder if there is none; no other process may write to it meanwhile.

        Raises:
            InputError: another process does, or the folder cannot be made.
        """
        with ExitStack() as stack:
            with _unusable_is_said(self.path):
                stack.enter_context(hold_folder(self.path))
            yield

    def create(self, config: Config) -> None:
        """Make the folder and write its config.toml.

        Raises:
            InputError: there is something already, or the folder cannot be made.
        """
        self.check_unused()
        with _unusable_is_said(self.path):
            self.path.mkdir(parents=True, exist_ok=True)
            config.save(self.config)

    @staticmethod
    def open(path: Path) -> RunFolder:
        """The folder of a run, which may not have come to its first checkpoint.

        Raises:
            InputError: it is not one.
        """
        run = RunFolder(path)
        run._require(run.config)
        return run

    def require_trained(self) -> None:
        """
        Raises:
            InputError: the run has not left its classifier and a checkpoint yet.
        """
        self._require(self.classifier)
        if not self.checkpoint.is_file():
            raise InputError(f"{self.path} has no {self.checkpoint.name} yet, wanted a run that has written one")

    @property
    def has_checkpoint(self) -> bool:
        return self.checkpoint.exists() or previous_checkpoint(self.checkpoint).exists()

    @property
    def config(self) -> Path:
        return self.path / "config.toml"

    @property
    def metrics(self) -> Path:
        return self.path / "metrics.jsonl"

    @property
    def samples(self) -> Path:
        return self.path / "samples.png"

    @property
    def curves(self) -> Path:
        return self.path / "curves.png"

    @property
    def checkpoint(self) -> Path:
        return self.path / "checkpoint.pt"

    @property
    def best_checkpoint(self) -> Path:
        """Of the step whose samples had the lowest AM Score on the way."""
        return self.path / "checkpoint.best.pt"

    @property
    def classifier(self) -> Path:
        return self.path / "classifier.pt"

    @property
    def guidance_classifier(self) -> Path:
        """What the run is guided by, where it is."""
        return self.path / "guidance_classifier.pt"

    @property
    def summary(self) -> Path:
        return self.path / "summary.json"

    @property
    def tensorboard(self) -> Path:
        """Events for ``tensorboard --logdir``."""
        return self.path / "tensorboard"

    def grid(self, step: int) -> Path:
        """Samples of the same z at a step."""
        return self.path / "grids" / f"{step:08}.png"

    def grids(self) -> list[Path]:
        """Those there are, in the order of their steps, which are their stems."""
        return sorted(path for path in (self.path / "grids").glob("*.png") if path.stem.isdecimal())

    def read_metrics(self) -> list[dict[str, Any]]:
        """Its whole rows: a process that was killed, or a disk without power, may have left part of one."""
        text = self.metrics.read_text(encoding="utf-8", errors="replace") if self.metrics.exists() else ""
        return [row for line in text.splitlines() if (row := _row(line)) is not None]

    def append_metrics(self, row: dict[str, Any]) -> None:
        with full_disk_is_said(self.metrics), self.metrics.open("a", encoding="utf-8") as file:
            file.write(_line(row))

    def sync_metrics(self) -> None:
        """Wait until the rows are on the disk."""
        if self.metrics.exists():
            with full_disk_is_said(self.metrics):
                sync(self.metrics)

    def rewrite_metrics(self, rows: Iterable[dict[str, Any]]) -> None:
        with full_disk_is_said(self.metrics):
            write_text(self.metrics, "".join(map(_line, rows)))

    def _require(self, file: Path) -> None:
        if not file.is_file():
            raise InputError(f"{self.path} has no {file.name}, wanted the folder of a training run")


def previous_checkpoint(path: Path) -> Path:
    """Where :meth:`Checkpoint.save` keeps the one before.

    >>> from pathlib import Path
    >>> from amgan_fast.runs import previous_checkpoint
    >>> previous_checkpoint(Path("runs/digits/checkpoint.pt")).name
    'checkpoint.previous.pt'
    """
    return path.with_name(f"{path.stem}.previous{path.suffix}")


def _line(row: dict[str, Any]) -> str:
    from amgan_fast.metrics import finite  # with torch

    return json.dumps(finite(row), allow_nan=False) + "\n"


def _row(line: str) -> dict[str, Any] | None:
    try:
        row = json.loads(line)
    except ValueError:
        return None
    return row if isinstance(row, dict) and isinstance(row.get("step"), int) else None


@contextmanager
def _unusable_is_said(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        found = f"{path} cannot be used as --out ({error.strerror})"
        raise InputError(f"{found}, wanted a writable folder") from None


def _default_path(config: Config) -> Path:
    started = time.strftime("%Y%m%d-%H%M%S")
    return Path("runs") / f"{file_name(config.dataset)}-{config.name}-{started}"
