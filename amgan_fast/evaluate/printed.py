"""What ``amgan-fast evaluate --json`` printed, read again."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from amgan_fast.errors import InputError, in_one_line

_WANTED = "wanted what amgan-fast evaluate --json printed"


def read_printed(path: Path) -> Any:
    """
    Raises:
        InputError: the file cannot be read, or is no JSON.
    """
    try:
        with contents_of_printed(path):
            return json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror}), {_WANTED}") from None


@contextmanager
def contents_of_printed(path: Path) -> Iterator[None]:
    """Around what takes values from it.

    Raises:
        InputError: instead of what a missing value, or one that does not fit, leads to.
    """
    try:
        yield
    except (ValueError, KeyError, TypeError, RecursionError, OverflowError) as error:
        reason = f"no {error}" if isinstance(error, KeyError) else in_one_line(error)
        raise InputError(f"{path} holds no scores ({reason}), {_WANTED}") from None
