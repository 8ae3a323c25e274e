"""Checks of options and other arguments: their types and ranges. What does not hold is a ValueError that names it."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping
from numbers import Integral, Real
from typing import Any

from amgan_fast.errors import found, shown

LARGEST_INT = 2**63 - 1
"""TOML's and torch's."""
MOST_PROCESSES = 256
"""That a user may ask for: they are started, however many there are."""

_LARGEST_FLOAT = 3.4028234663852886e38  # of float32, which weights and losses are


def check_that(holds: bool, name: str, value: object, wanted: str) -> None:
    """
    Raises:
        ValueError: it does not hold.
    """
    if not holds:
        raise ValueError(f"{name} is {shown(value)}, wanted {wanted}")


def check_types(kind: type, values: Mapping[str, Any]) -> None:
    """
    Args:
        kind: a dataclass whose annotations are of those below, alone or joined by ``|``.
        values: by the names of its fields.

    Raises:
        ValueError: a value of another type, an integer beyond 64 bits (TOML's and torch's), a float that is not finite
            in float32.
    """
    for field in dataclasses.fields(kind):
        if field.name in values:
            value, types = values[field.name], [_TYPES[name] for name in str(field.type).split(" | ")]
            fits = any(is_of_type(value) for _, is_of_type in types)
            check_that(fits, field.name, value, " or ".join(wanted for wanted, _ in types))


def check_range(name: str, value: int, lowest: int, highest: int) -> None:
    """Both are included."""
    check_that(lowest <= value <= highest, name, value, f"at least {lowest} and at most {highest:,}")


def check_count(name: str, value: int) -> None:
    """
    Raises:
        TypeError: no integer.
        ValueError: below 1.
    """
    if not isinstance(value, Integral):
        raise TypeError(f"{name} is {found(value)}, wanted an integer")
    check_that(value >= 1, name, value, "at least 1")


def check_fraction(name: str, value: float) -> None:
    check_that(isinstance(value, Real) and 0 <= value <= 1, name, value, "a number in [0, 1]")


def check_not_negative(name: str, value: float) -> None:
    holds = isinstance(value, Real) and 0 <= value < math.inf
    check_that(holds, name, value, "a finite number that is not negative")


def check_finite(name: str, value: float) -> None:
    check_that(isinstance(value, Real) and math.isfinite(value), name, value, "a finite number")


def check_flag(name: str, value: bool) -> None:
    check_that(isinstance(value, bool), name, value, "True or False")


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
"""How an annotation is called, and what it allows."""
