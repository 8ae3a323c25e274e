"""What measurements have in common that are numbers: plain values for JSON, and a short repr."""

from __future__ import annotations

import math
import reprlib
import sys
from collections.abc import Mapping
from dataclasses import asdict, fields
from types import NoneType, UnionType
from typing import TYPE_CHECKING, Any, Literal, Union, get_args, get_origin, get_type_hints

from amgan_fast.errors import shown

if TYPE_CHECKING:
    from typing_extensions import Self  # typing has it from Python 3.11 on

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

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """The numbers that :meth:`to_dict` gave, also after they were written as JSON and read again.

        What was infinite or undefined stays None where the field may be None, and is NaN elsewhere.

        Raises:
            ValueError: a field is missing, or its value is none that it may have; both are named.

        >>> from amgan_fast.metrics import Estimate
        >>> Estimate.from_dict({"value": 2, "standard_error": 0.5, "degrees_of_freedom": None})
        Estimate(value=2.0, standard_error=0.5, degrees_of_freedom=None)
        """
        names, hints = [field.name for field in fields(cls)], get_type_hints(cls)  # type: ignore[arg-type]
        if not isinstance(values, Mapping):
            raise ValueError(f"{cls.__name__} are {shown(values)}, wanted what to_dict() gives")
        for name in names:
            if name not in values:
                raise ValueError(
                    f"{cls.__name__} have no {name}, as those that earlier versions wrote; wanted what to_dict() gives"
                )
        return cls(**{name: _restored(name, values[name], hints[name]) for name in names})

    def __repr__(self) -> str:
        """Every field but those of ``repr=False``, of a long tuple the first numbers."""
        named = [field.name for field in fields(self) if field.repr]  # type: ignore[arg-type]
        shown = (f"{name}={_short.repr(getattr(self, name))}" for name in named)
        return f"{type(self).__name__}({', '.join(shown)})"


def _restored(name: str, value: Any, kind: Any) -> Any:
    """A value from JSON, as a field of that type has it."""
    origin, parts = get_origin(kind), get_args(kind)
    if origin in (Union, UnionType):  # with None
        return None if value is None else _restored(name, value, *(part for part in parts if part is not NoneType))
    if isinstance(kind, type) and issubclass(kind, Numbers):
        return kind.from_dict(value)
    if origin is tuple and isinstance(value, list | tuple):
        kinds = parts[:1] * len(value) if parts[-1] is ... else parts
        if len(kinds) == len(value):
            pairs = zip(value, kinds, strict=True)
            return tuple(_restored(f"{name}[{i}]", x, part) for i, (x, part) in enumerate(pairs))
    if origin is dict and isinstance(value, Mapping):
        return {str(key): _restored(f"{name}[{key!r}]", part, parts[1]) for key, part in value.items()}
    if origin is Literal and value in parts:
        return value
    if kind is float and value is None:
        return math.nan
    if kind is float and type(value) is int and abs(value) < sys.float_info.max:
        return float(value)
    if isinstance(kind, type) and isinstance(value, kind) and isinstance(value, bool) == (kind is bool):
        return value  # True is an int too
    raise ValueError(f"{name} is {shown(value)}, wanted {kind.__name__ if isinstance(kind, type) else kind}")


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
