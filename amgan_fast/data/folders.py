"""Where a dataset's files are."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from amgan_fast.errors import InputError


def find_folder(title: str, candidates: Sequence[Path], names: Sequence[str], advice: str) -> Path:
    """The first of the folders that has an entry of one of these names.

    Raises:
        InputError: none has; ends with ``advice``.
    """
    for folder in candidates:
        if any((folder / name).exists() for name in names):
            return folder
    where = (
        f"no {title} files in {' or '.join(map(str, candidates))}" if candidates else f"no folder with {title} files"
    )
    raise InputError(f"{where}: {advice}")
