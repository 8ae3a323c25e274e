"""TOML files, by whichever module this Python has for them."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

from amgan_fast.errors import InputError, shortened
from amgan_fast.extras import said_of_missing
from amgan_fast.files import write_text

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

_WORD = re.compile(r"(\.{0,2}/)*[A-Za-z][\w./:-]*")


def read_toml(path: Path) -> dict[str, Any]:
    """
    Raises:
        InputError: no such file, or no TOML.
    """
    try:
        return tomllib.loads(path.read_text(encoding="utf-8", errors="surrogateescape"))
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror}), wanted a configuration") from None
    except (ValueError, RecursionError) as error:  # ValueError: no TOML, no UTF-8, an integer of too many digits
        raise InputError(f"{path} is no TOML file: {_reason(error)}") from None


def write_toml(path: Path, values: dict[str, Any]) -> None:
    """Bytes that are no UTF-8, which Python keeps as surrogates, are written as they are, and read again.

    Raises:
        InputError: as :func:`toml_text`.
    """
    write_text(path, toml_text(values), errors="surrogateescape")


def toml_text(values: dict[str, Any]) -> str:
    """
    Raises:
        InputError: the package that writes TOML is missing. Everything else in this package does without it.
    """
    try:
        import tomli_w
    except ModuleNotFoundError as error:
        raise InputError(f"settings cannot be written: {said_of_missing(error)}") from None
    return tomli_w.dumps(values)


def parse_setting(text: str) -> dict[str, Any]:
    """``name=value`` or ``table.name=value``, the value as in TOML; a single word, a path of such, or
    ``module:name`` needs no quotes.

    Raises:
        InputError: something else.
    """
    name, equals, value = text.partition("=")
    quoted = f'{name}="{value}"' if equals and _WORD.fullmatch(value) else text
    for form in (text, quoted):
        try:
            return tomllib.loads(form)
        except (ValueError, RecursionError):
            pass
    raise InputError(
        f"found --set {shortened(text, 80)}, wanted NAME=VALUE as in a .toml file, texts of several words in quotes"
    )


def _reason(error: Exception) -> str:
    return "it is nested too deep" if isinstance(error, RecursionError) else str(error)
