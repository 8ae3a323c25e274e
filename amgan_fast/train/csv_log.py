"""The numbers of a run's rows as a table: its metrics.csv."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from amgan_fast.files import full_disk_is_said, write_text
from amgan_fast.metrics import finite
from amgan_fast.progress import Observer
from amgan_fast.runs import RunFolder
from amgan_fast.train.scalars import scalars


class CsvLog(Observer):
    """Keeps a run's ``metrics.csv``: a line for each row of metrics.jsonl, with its numbers and without its lists.

    A cell is empty where a row does not have the number, or it is infinite or undefined. When a row brings a new
    column, or a run goes on, the file is written anew from metrics.jsonl, whole or not at all.

    >>> from amgan_fast.runs import Config
    >>> from amgan_fast.train import CsvLog, train
    >>> config = Config(steps=4, log_every=2, score_every=4, score_samples=500, final_samples=500)
    >>> folder = train(config, observer=CsvLog()).folder
    >>> lines = (folder.path / "metrics.csv").read_text().splitlines()
    >>> lines[0].split(",")[:3], [line.split(",")[0] for line in lines]
    (['step', 'discriminator_loss', 'generator_loss'], ['step', '2', '4'])
    """

    def __init__(self) -> None:
        self._columns: list[str] = []
        self._path = Path()

    def began(self, folder: Path, config: dict[str, Any], step: int) -> None:
        self._path = folder / "metrics.csv"
        self._write_anew()

    def logged(self, row: dict[str, Any]) -> None:
        numbers = _numbers(row)
        if not numbers.keys() <= set(self._columns):
            self._write_anew()
            return
        with full_disk_is_said(self._path), self._path.open("a", encoding="utf-8", newline="") as file:
            file.write(_lines(self._columns, [numbers]))

    def _write_anew(self) -> None:
        rows = [_numbers(row) for row in RunFolder(self._path.parent).read_metrics()]
        self._columns = list(dict.fromkeys(name for row in rows for name in row)) or ["step"]
        header = dict(zip(self._columns, self._columns, strict=True))
        with full_disk_is_said(self._path):
            write_text(self._path, _lines(self._columns, [header, *rows]))


def _numbers(row: dict[str, Any]) -> dict[str, Any]:
    return {"step": row["step"], **finite(scalars(row))}


def _lines(columns: Iterable[str], rows: Iterable[dict[str, Any]]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([row.get(name) for name in columns] for row in rows)
    return text.getvalue()
