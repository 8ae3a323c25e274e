"""A number and how far off it may be, and the difference of two."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from amgan_fast.metrics.numbers import Numbers

_ROUNDING = 1e-12  # of scores; what differs by less does not differ


@dataclass(frozen=True)
class Estimate(Numbers):
    """A number, and its standard error.

    >>> from amgan_fast.metrics import Estimate
    >>> low, high = Estimate(0.5, standard_error=0.1, degrees_of_freedom=99).interval
    >>> round(low, 3), round(high, 3)
    (0.302, 0.698)
    >>> Estimate(0.5, standard_error=None, degrees_of_freedom=None).interval is None
    True
    """

    value: float
    standard_error: float | None
    """None: nothing is known of it, as of a single block of samples."""
    degrees_of_freedom: float | None
    """Of the standard error: (value - truth) / standard_error is distributed as Student's t of so many. None: as it."""

    @property
    def interval(self) -> tuple[float, float] | None:
        """The 95% interval; None without a standard error."""
        if self.standard_error is None or self.degrees_of_freedom is None:
            return None
        return self._within(self.standard_error, self.degrees_of_freedom)

    def exp(self) -> Estimate:
        """Of exp(value), whose error is exp(value) times that of the value."""
        value = math.exp(self.value)
        error = None if self.standard_error is None else value * self.standard_error
        return Estimate(value, error, self.degrees_of_freedom)

    def _within(self, error: float, freedom: float) -> tuple[float, float]:
        from scipy.special import stdtrit

        reach = error * float(stdtrit(freedom, 0.975))
        return self.value - reach, self.value + reach


@dataclass(frozen=True)
class EstimatedDifference(Estimate):
    """A difference and its standard error, and how likely chance alone makes one as large.

    >>> from amgan_fast.metrics import EstimatedDifference
    >>> round(EstimatedDifference(0.2, standard_error=0.1, degrees_of_freedom=198).p_value, 3)
    0.047
    """

    standard_error: float
    degrees_of_freedom: float

    @property
    def interval(self) -> tuple[float, float]:
        """The 95% interval."""
        return self._within(self.standard_error, self.degrees_of_freedom)

    @property
    def p_value(self) -> float:
        """Two-sided: where the truth is 0, the probability of a difference at least as large. Below .05 where the 95%
        interval does not hold 0."""
        from scipy.special import stdtr

        if not self.value:
            return 1.0
        return 2 * float(stdtr(self.degrees_of_freedom, -abs(self.value) / self.standard_error))

    def to_dict(self) -> dict[str, Any]:
        """With the interval and p."""
        return super().to_dict() | {"interval": list(self.interval), "p_value": self.p_value}

    def texts(self) -> list[str]:
        """The difference, its interval and p, as tables have them."""
        value, low, high = (f"{round(x, 4) + 0.0:+.4f}" for x in (self.value, *self.interval))  # no -0.0000
        return [value, f"{low} to {high}", f"{self.p_value:.2g}"]


def welch(first: Estimate, second: Estimate) -> EstimatedDifference | None:
    """``first`` less ``second``, two independent estimates whose errors need not be alike: Student's t with the degrees
    of freedom of Welch (The generalization of "Student's" problem, Biometrika 34, 1947) and Satterthwaite.

    Where neither has an error, as the mean entropy of a classifier that is always certain, rounding is the error.

    None where one has no standard error, or is not finite.

    >>> from amgan_fast.metrics import Estimate, welch
    >>> found = welch(Estimate(9.0, 0.03, 99), Estimate(8.9, 0.04, 99))
    >>> round(found.value, 3), round(found.standard_error, 3), round(found.degrees_of_freedom), round(found.p_value, 3)
    (0.1, 0.05, 184, 0.047)
    """
    errors = [(one.standard_error, one.degrees_of_freedom) for one in (first, second)]
    known = [(error, freedom) for error, freedom in errors if error is not None and freedom is not None]
    value = first.value - second.value
    if len(known) < 2 or not all(map(math.isfinite, (value, *(error for error, _ in known)))):
        return None
    error, freedom = joint_error(known)
    rounding = _ROUNDING * max(1.0, abs(first.value), abs(second.value))
    if error < rounding:
        return EstimatedDifference(value if abs(value) > rounding else 0.0, rounding, sum(own for _, own in known))
    return EstimatedDifference(value, error, freedom)


def joint_error(errors: Sequence[tuple[float, float]]) -> tuple[float, float]:
    """Standard error of a sum of independent parts, and its degrees of freedom after Satterthwaite (An approximate
    distribution of estimates of variance components, Biometrics Bulletin 2, 1946).

    Args:
        errors: standard error and degrees of freedom of each part.

    >>> from amgan_fast.metrics.estimate import joint_error
    >>> error, freedom = joint_error([(1.0, 15), (1.0, 15)])
    >>> round(error, 3), round(freedom)
    (1.414, 30)
    """
    error = math.hypot(*(part for part, _ in errors))
    share = sum((part / error) ** 4 / own for part, own in errors if part)
    return error, 1 / share if share else math.inf


def score_estimate(estimates: Mapping[str, Estimate], name: str) -> Estimate | None:
    """Of a corrected score or one of its terms, by the name of its field.

    Args:
        estimates: :attr:`amgan_fast.metrics.Scores.estimates`, in which the Inception Score is by its logarithm.

    >>> from amgan_fast.metrics import Estimate, score_estimate
    >>> score_estimate({"log_inception_score": Estimate(0.0, 0.1, 99)}, "inception_score")
    Estimate(value=1.0, standard_error=0.1, degrees_of_freedom=99)
    """
    return estimates["log_inception_score"].exp() if name == "inception_score" else estimates.get(name)
