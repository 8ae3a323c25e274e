"""The folder that a run leaves."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from amgan_fast.errors import InputError
from amgan_fast.runs.config import Config


@dataclass(frozen=True)
class RunFolder:
    """Where the files of a run are."""

    path: Path

    @staticmethod
    def create(path: Path | None, config: Config) -> RunFolder:
        """Make the folder and write its config.toml.

        Args:
            path: a folder that is empty or does not exist; None: a new one in ``runs/``, named after the
                configuration and the time.

        Raises:
            InputError: there is something already, or the folder cannot be made.
        """
        path = _default_path(config) if path is None else path
        try:
            path.mkdir(parents=True, exist_ok=True)
            if next(path.iterdir(), None) is not None:
                raise InputError(f"{path} is not empty, wanted a new or empty folder for --out")
            run = RunFolder(path)
            config.save(run.config)
        except OSError as error:
            raise InputError(f"{path} cannot be used as --out ({error.strerror}), wanted a writable folder") from None
        return run

    @staticmethod
    def open(path: Path) -> RunFolder:
        """The folder of a run that has left a checkpoint.

        Raises:
            InputError: it is not one.
        """
        run = RunFolder(path)
        for file in (run.config, run.checkpoint, run.classifier):
            if not file.is_file():
                raise InputError(f"{path} has no {file.name}, wanted the folder of a training run")
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

    def append_metrics(self, row: dict[str, Any]) -> None:
        with self.metrics.open("a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")

    def write_summary(self, summary: dict[str, Any]) -> None:
        self.summary.write_text(json.dumps(summary, indent=2) + "\n", encoding="utf-8")


def _default_path(config: Config) -> Path:
    started = time.strftime("%Y%m%d-%H%M%S")
    return Path("runs") / f"{config.dataset}-{config.model}-{config.labels}-seed{config.seed}-{started}"
