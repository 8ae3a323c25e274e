"""How the documented functions reach the torch operations."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any, TypeVar

from torch import Tensor

_Function = TypeVar("_Function", bound=Callable[..., Any])


def calls(
    operation: Callable[..., Any], returns: Callable[[tuple[Any, ...]], Any] | None = None
) -> Callable[[_Function], _Function]:
    """Makes a function that is a signature and a docstring call ``operation`` with the arguments it is given, and
    ``returns`` with the results.

    With no others: torch fills in the defaults of its own schema at no cost, and takes 0.15 us to convert each of the
    same defaults from Python, a fifth of the whole call for a small batch. For the same reason arguments are looked at
    once the call has failed: what is no tensor is then a TypeError that says so.
    """

    def implement(documented: _Function) -> _Function:
        signature = inspect.signature(documented)

        @functools.wraps(documented)
        def call(*args: Any, **options: Any) -> Any:
            try:
                results = operation(*args, **options)
            except (TypeError, RuntimeError):
                if message := _no_tensor(signature, args, options):
                    raise TypeError(f"{documented.__name__}: {message}") from None
                raise
            return results if returns is None else returns(results)

        return call  # type: ignore[return-value]  # of the documented signature

    return implement


_ALTERNATIVES = {"None": "None", "str": "a string"}  # to a tensor, in the annotations of the documented functions


def _no_tensor(signature: inspect.Signature, args: tuple[Any, ...], options: dict[str, Any]) -> str | None:
    """What is wrong with the first argument that should be a tensor and is none; None where there is no such one."""
    try:
        given = signature.bind(*args, **options).arguments
    except TypeError:
        return None
    for name, value in given.items():
        wanted, *others = str(signature.parameters[name].annotation).split(" | ")
        allowed = isinstance(value, Tensor) or (value is None and "None" in others)
        if wanted != "Tensor" or allowed or (isinstance(value, str) and "str" in others):
            continue
        found = "None" if value is None else f"a {type(value).__name__}"
        return f"{name} is {found}, wanted {' or '.join(['a tensor', *(_ALTERNATIVES[x] for x in others)])}"
    return None
