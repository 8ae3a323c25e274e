"""The files that benchmarks leave."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from amgan_fast import files


def write_text(path: Path, text: str) -> None:
    """Whole or not at all; the folder is made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    files.write_text(path, text)


def write_json(path: Path, report: dict[str, Any]) -> None:
    """The report that it replaces stays beside it, for ratio_changes."""
    if path.exists():
        path.replace(path.with_suffix(".previous.json"))
    write_text(path, files.to_json(report) + "\n")
