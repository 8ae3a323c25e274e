"""A model that the user wrote."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

from amgan_fast.errors import InputError
from amgan_fast.objectives.base import Objective
from amgan_fast.user_code import user_object, users_errors


def own_objective(spec: str, options: Mapping[str, Any]) -> Objective:
    """An instance of ``module:Class``, a subclass of :class:`Objective`, made as ``Class(**options)``.

    Raises:
        InputError: the class cannot be had, is something else, or does not take the options.

    >>> from amgan_fast.objectives import own_objective
    >>> own_objective("amgan_fast.objectives:AMGAN", {"real_smoothing": 0.1}).real_smoothing
    0.1
    >>> own_objective("math:sin", {})
    Traceback (most recent call last):
    amgan_fast.errors.InputError: model math:sin: it is a builtin_function_or_method, wanted a subclass of Objective
    """
    kind = user_object("model", spec)
    if not (isinstance(kind, type) and issubclass(kind, Objective)):
        raise InputError(f"model {spec}: it is a {type(kind).__name__}, wanted a subclass of Objective")
    if missing := sorted(getattr(kind, "__abstractmethods__", ())):
        raise InputError(f"model {spec}: it has no {', '.join(missing)}, wanted a subclass of Objective that has them")
    call = ", ".join(f"{name}={value!r}" for name, value in options.items())
    with users_errors(f"model {spec}: {kind.__name__}({call}) fails", f"options of {_signature(kind)}"):
        return kind(**options)


def _signature(kind: type) -> str:
    return f"{kind.__name__}{inspect.signature(kind)}"
