"""Checks of what objectives are made with, beside those of :mod:`amgan_fast.option_checks`, and called with."""

from __future__ import annotations

import math
from numbers import Real
from typing import TYPE_CHECKING

from torch import Tensor

from amgan_fast.errors import found
from amgan_fast.option_checks import check_that

if TYPE_CHECKING:
    from amgan_fast.objectives.base import Objective

_LOWEST_TEMPERATURE = 1e-30  # log-probabilities over it are finite in float32


def check_temperature(name: str, value: float, *, or_zero: bool) -> None:
    holds = isinstance(value, Real) and ((or_zero and value == 0) or _LOWEST_TEMPERATURE <= value < math.inf)
    check_that(holds, name, value, f"{'0 or ' * or_zero}a finite number of at least {_LOWEST_TEMPERATURE}")


def check_fake(value: str) -> None:
    check_that(value in ("column", "zero"), "fake", value, "'column' or 'zero'")


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


def check_realness(objective: Objective, wanted: str) -> None:
    """``wanted``: what was found in place of what, where the objective has no real/generated logit."""
    if not objective.has_realness:
        raise ValueError(f"{wanted}: {objective.name} has no real/generated logit")
