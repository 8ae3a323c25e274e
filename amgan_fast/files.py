"""Files that are there whole or not at all."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from amgan_fast.errors import InputError, printable


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """A temporary name beside ``path``, of the same suffix; the file written there takes the place of ``path`` at the
    end. Where that fails, ``path`` is as it was and the temporary file is gone."""
    temporary = path.with_name(f".{path.stem}.{os.getpid()}.tmp{path.suffix}")
    try:
        yield temporary
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """In UTF-8; bytes of file names that are none, which Python keeps as surrogates, are escaped."""
    with whole_file(path) as temporary:
        temporary.write_text(text, encoding="utf-8", errors="backslashreplace")


def write_json(path: Path, value: Any) -> None:
    """:func:`to_json`, in a file."""
    write_text(path, to_json(value) + "\n")


def to_json(value: Any) -> str:
    """Standard JSON: texts are :func:`printable`, a number that is infinite or undefined is a ValueError."""
    return json.dumps(_printable_texts(value), indent=2, allow_nan=False)


def _printable_texts(value: Any) -> Any:
    if isinstance(value, str):
        return printable(value)
    if isinstance(value, dict):
        return {_printable_texts(key): _printable_texts(part) for key, part in value.items()}
    return [_printable_texts(part) for part in value] if isinstance(value, (list, tuple)) else value


def check_place(name: str, path: Path) -> None:
    """Before the work begins: whether a file can be written there; ``name`` is the option's.

    Raises:
        InputError: it cannot: no such folder, no permission, or something that is no file, as /dev/null.
    """
    folder = path.absolute().parent
    if (path.exists() and not path.is_file()) or not folder.is_dir() or not os.access(folder, os.W_OK):
        raise InputError(f"{name} is {path}, wanted a file in a folder that exists and can be written to")
