"""The ranges that samples are read in."""

from __future__ import annotations

from collections.abc import Iterator


def batch_ranges(count: int, batch_size: int, start: int = 0, stop: int | None = None) -> Iterator[range]:
    """Samples ``start`` to ``stop`` (None: ``count``), ``batch_size`` at a time, the last range shorter.

    Raises:
        ValueError: a range that is not within ``count`` samples, or ``batch_size`` below 1.
    """
    stop = count if stop is None else stop
    if batch_size < 1:
        raise ValueError(f"batch_size is {batch_size}, wanted at least 1")
    if not 0 <= start <= stop <= count:
        raise ValueError(f"start is {start} and stop {stop}, wanted 0 <= start <= stop <= {count}")
    return (range(first, min(first + batch_size, stop)) for first in range(start, stop, batch_size))
