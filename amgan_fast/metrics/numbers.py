"""What measurements have in common that are numbers: plain values for JSON, and a short repr."""

from __future__ import annotations

import math
import reprlib
from dataclasses import asdict, fields
from typing import Any

_short = reprlib.Repr()
_short.maxtuple = _short.maxlist = 4
_short.maxstring = _short.maxother = 2**10


class Numbers:
    """A base of dataclasses (``repr=False``) of numbers and of tuples of them.

    >>> import math
    >>> from amgan_fast.metrics import ResolutionAccuracy
    >>> result = ResolutionAccuracy(n=1, sizes=(4,), accuracy=(1.0,), standard_error=(math.nan,))
    >>> result.to_dict()
    {'n': 1, 'sizes': [4], 'accuracy': [1.0], 'standard_error': [None]}
    """

    def to_dict(self) -> dict[str, Any]:
        """Plain values; None is also what is infinite or undefined, for which JSON has no number."""
        return finite(asdict(self))  # type: ignore[call-overload]

    def __repr__(self) -> str:
        """Every field, of a long tuple the first numbers."""
        shown = (f"{field.name}={_short.repr(getattr(self, field.name))}" for field in fields(self))  # type: ignore[arg-type]
        return f"{type(self).__name__}({', '.join(shown)})"


def finite(value: Any) -> Any:
    """None in the place of what is infinite or undefined, throughout ``value``; of tuples it makes lists.

    >>> import math
    >>> from amgan_fast.metrics import finite
    >>> finite({"am_score": math.inf, "counts": (1, 2)})
    {'am_score': None, 'counts': [1, 2]}
    """
    if isinstance(value, dict):
        return {key: finite(x) for key, x in value.items()}
    if isinstance(value, (list, tuple)):
        return [finite(x) for x in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
