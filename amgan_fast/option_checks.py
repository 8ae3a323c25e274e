"""Whether values have the types that the fields of a dataclass of options say, and numbers fit where they go."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

from amgan_fast.errors import InputError, shown

LARGEST_INT = 2**63 - 1
"""TOML's and torch's."""
MOST_PROCESSES = 256
"""That a user may ask for: they are started, however many there are."""

_LARGEST_FLOAT = 3.4028234663852886e38  # of float32, which weights and losses are


def check_types(kind: type, values: Mapping[str, Any]) -> None:
    """
    Args:
        kind: a dataclass whose annotations are of those below, alone or joined by ``|``.
        values: by the names of its fields.

    Raises:
        InputError: a value of another type, an integer beyond 64 bits (TOML's and torch's), a float that is not finite
            in float32.
    """
    for field in dataclasses.fields(kind):
        if field.name in values:
            _check(field.name, values[field.name], str(field.type).split(" | "))


def check_range(name: str, value: int, lowest: int, highest: int) -> None:
    """
    Raises:
        InputError: ``value`` is not within the two, both included.
    """
    if not lowest <= value <= highest:
        raise InputError(f"{name} is {shown(value)}, wanted at least {lowest} and at most {highest:,}")


def _check(name: str, value: object, kinds: list[str]) -> None:
    if not any(_TYPES[kind][1](value) for kind in kinds):
        raise InputError(f"{name} is {shown(value)}, wanted {' or '.join(_TYPES[kind][0] for kind in kinds)}")


def _is_int(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and -LARGEST_INT - 1 <= value <= LARGEST_INT


def _is_float(value: object) -> bool:
    return _is_int(value) or (isinstance(value, float) and abs(value) <= _LARGEST_FLOAT)


_TYPES: dict[str, tuple[str, Callable[[Any], bool]]] = {
    "None": ("None", lambda value: value is None),
    "bool": ("bool", lambda value: isinstance(value, bool)),
    "int": ("int of at most 64 bits", _is_int),
    "float": ("float, finite in float32", _is_float),
    "str": ("str", lambda value: isinstance(value, str)),
    "tuple[float, ...]": ("numbers", lambda value: isinstance(value, tuple) and all(map(_is_float, value))),
    "dict[str, Any]": ("a table", lambda value: isinstance(value, dict) and all(isinstance(x, str) for x in value)),
}
