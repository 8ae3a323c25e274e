"""TOML files, by whichever module this Python has for them."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from amgan_fast.errors import InputError

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib


def read_toml(path: Path) -> dict[str, Any]:
    """
    Raises:
        InputError: no such file, or no TOML.
    """
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror}), wanted a configuration") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"{path} is no TOML file: {error}") from None


def parse_setting(text: str) -> dict[str, Any]:
    """``name=value`` or ``table.name=value``, the value as in TOML.

    Raises:
        InputError: something else.
    """
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        raise InputError(f"found --set {text}, wanted NAME=VALUE as in a .toml file, texts in quotes") from None
