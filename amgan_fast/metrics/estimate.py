"""A number and how far off it may be."""

from __future__ import annotations

from dataclasses import dataclass

from amgan_fast.metrics.numbers import Numbers


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
        from scipy.special import stdtrit

        if self.standard_error is None or self.degrees_of_freedom is None:
            return None
        reach = self.standard_error * float(stdtrit(self.degrees_of_freedom, 0.975))
        return self.value - reach, self.value + reach
