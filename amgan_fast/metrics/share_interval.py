"""The interval of a share, whatever its error."""

from __future__ import annotations

import math


def share_interval(share: float, effective: float, degrees_of_freedom: float = math.inf) -> tuple[float, float]:
    """Wilson's 95% interval ("Probable inference, the law of succession, and statistical inference", 1927): it stays
    between 0 and 1, and has a width at either end.

    Args:
        share: 0 to 1.
        effective: independent samples that give the share's error, share (1 - share) / error^2.
        degrees_of_freedom: of the error.

    >>> from amgan_fast.metrics.share_interval import share_interval
    >>> low, high = share_interval(1.0, 100)
    >>> round(low, 3), high
    (0.963, 1.0)
    """
    from scipy.special import stdtrit

    spread = float(stdtrit(degrees_of_freedom, 0.975)) ** 2 / effective
    middle = (share + spread / 2) / (1 + spread)
    half = math.sqrt(spread * (share * (1 - share) + spread / 4)) / (1 + spread)
    return max(0.0, min(middle - half, share)), min(1.0, max(middle + half, share))  # but for rounding
