"""Checks of the options that objectives are made with, when they are made, and of the tensors they are called with."""

from __future__ import annotations

import math
from numbers import Real

from torch import Tensor

from amgan_fast.errors import found, shown

_LOWEST_TEMPERATURE = 1e-30  # log-probabilities over it are finite in float32


def check_fraction(name: str, value: float) -> None:
    if not (isinstance(value, Real) and 0 <= value <= 1):
        raise ValueError(f"{name} is {shown(value)}, wanted a number in [0, 1]")


def check_not_negative(name: str, value: float) -> None:
    if not (isinstance(value, Real) and 0 <= value < math.inf):
        raise ValueError(f"{name} is {shown(value)}, wanted a finite number that is not negative")


def check_temperature(name: str, value: float) -> None:
    if not (isinstance(value, Real) and (value == 0 or _LOWEST_TEMPERATURE <= value < math.inf)):
        raise ValueError(f"{name} is {shown(value)}, wanted 0 or a finite number of at least {_LOWEST_TEMPERATURE}")


def check_finite(name: str, value: float) -> None:
    if not (isinstance(value, Real) and math.isfinite(value)):
        raise ValueError(f"{name} is {shown(value)}, wanted a finite number")


def check_flag(name: str, value: bool) -> None:
    if not isinstance(value, bool):
        raise ValueError(f"{name} is {shown(value)}, wanted True or False")


def check_fake(value: str) -> None:
    if value not in ("column", "zero"):
        raise ValueError(f"fake is {shown(value)}, wanted 'column' or 'zero'")


def check_floats(**tensors: Tensor) -> None:
    """Logits or features, by their names."""
    for name, value in tensors.items():
        if not isinstance(value, Tensor):
            raise TypeError(f"{name} is {found(value)}, wanted a tensor")
        if not value.is_floating_point():
            raise TypeError(f"{name} has dtype {value.dtype}, wanted a floating dtype")


def check_labels(**labels: Tensor | None) -> None:
    """Labels by their names, whether the loss uses them or not."""
    for name, value in labels.items():
        if not (value is None or isinstance(value, Tensor)):
            raise TypeError(f"{name} is {found(value)}, wanted a tensor or None")
