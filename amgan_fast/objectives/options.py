"""Checks of the numbers that objectives are made with, when they are made."""

from __future__ import annotations

import math


def check_fraction(name: str, value: float) -> None:
    if not 0 <= value <= 1:
        raise ValueError(f"{name} is {value}, wanted a number in [0, 1]")


def check_not_negative(name: str, value: float) -> None:
    if not 0 <= value < math.inf:
        raise ValueError(f"{name} is {value}, wanted a finite number that is not negative")


def check_fake(value: str) -> None:
    if value not in ("column", "zero"):
        raise ValueError(f"fake is {value!r}, wanted 'column' or 'zero'")
