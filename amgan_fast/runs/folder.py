"""The folder that a run leaves."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from amgan_fast.errors import InputError
from amgan_fast.files import write_json, write_text
from amgan_fast.runs.config import Config


@dataclass(frozen=True)
class RunFolder:
    """Where the files of a run are."""

    path: Path

    @staticmethod
    def new(path: Path | None, config: Config) -> RunFolder:
        """Where a new run goes: ``path``, or a folder in ``runs/`` named after the configuration and the time."""
        return RunFolder(_default_path(config) if path is None else path)

    def create(self, config: Config) -> None:
        """Make the folder and write its config.toml.

        Raises:
            InputError: there is something already, or the folder cannot be made.
        """
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            if next(self.path.iterdir(), None) is not None:
                raise InputError(f"{self.path} is not empty, wanted a new or empty folder for --out")
            config.save(self.config)
        except OSError as error:
            found = f"{self.path} cannot be used as --out ({error.strerror})"
            raise InputError(f"{found}, wanted a writable folder") from None

    @staticmethod
    def open(path: Path) -> RunFolder:
        """The folder of a run that has left a checkpoint.

        Raises:
            InputError: it is not one.
        """
        run = RunFolder(path)
        for file in (run.config, run.classifier):
            if not file.is_file():
                raise InputError(f"{path} has no {file.name}, wanted the folder of a training run")
        if not run.checkpoint.is_file():
            raise InputError(f"{path} has no {run.checkpoint.name} yet, wanted a run that has written one")
        return run

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
    def classifier(self) -> Path:
        return self.path / "classifier.pt"

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
        return sorted((self.path / "grids").glob("*.png"))

    def append_metrics(self, row: dict[str, Any]) -> None:
        with _full_disk_is_said(self.metrics), self.metrics.open("a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")

    def rewrite_metrics(self, rows: Iterable[dict[str, Any]]) -> None:
        with _full_disk_is_said(self.metrics):
            write_text(self.metrics, "".join(json.dumps(row) + "\n" for row in rows))

    def write_summary(self, summary: dict[str, Any]) -> None:
        with _full_disk_is_said(self.summary):
            write_json(self.summary, summary)


@contextmanager
def _full_disk_is_said(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise InputError(f"{path} cannot be written ({error.strerror}); earlier files are as they were") from error


def _default_path(config: Config) -> Path:
    started = time.strftime("%Y%m%d-%H%M%S")
    return Path("runs") / f"{config.dataset}-{config.model}-{config.labels}-seed{config.seed}-{started}"
