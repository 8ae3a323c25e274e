"""Checks of the numbers that objectives are made with, when they are made."""

from __future__ import annotations

import math

from amgan_fast.errors import shown

_LOWEST_TEMPERATURE = 1e-30  # log-probabilities over it are finite in float32


def check_fraction(name: str, value: float) -> None:
    if not 0 <= value <= 1:
        raise ValueError(f"{name} is {value}, wanted a number in [0, 1]")


def check_not_negative(name: str, value: float) -> None:
    if not 0 <= value < math.inf:
        raise ValueError(f"{name} is {value}, wanted a finite number that is not negative")


def check_temperature(name: str, value: float) -> None:
    if value != 0 and not _LOWEST_TEMPERATURE <= value < math.inf:
        raise ValueError(f"{name} is {value}, wanted 0 or a finite number of at least {_LOWEST_TEMPERATURE}")


def check_fake(value: str) -> None:
    if value not in ("column", "zero"):
        raise ValueError(f"fake is {shown(value)}, wanted 'column' or 'zero'")
