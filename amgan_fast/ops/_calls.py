"""How the functions of ``amgan_fast.ops`` reach the operations of ``torch.ops.amgan_fast``.

Each of them is a signature and a docstring; the operation that its decorator names does the work:

    @calls(torch.ops.amgan_fast.class_entropy.default)      # csrc/ops/entropy.cpp: schema, checks, kernel call
    def class_entropy(logits: Tensor, *, reduction: str = "mean") -> Tensor:
        \"\"\"H(C) in nats ...\"\"\"

means what a body of ``return torch.ops.amgan_fast.class_entropy.default(logits, reduction=reduction)`` would.
"""

from __future__ import annotations

import functools
import inspect
import math
from collections.abc import Callable, Sequence
from numbers import Integral, Number, Real
from typing import Any, TypeVar

import torch
from torch import Tensor

from amgan_fast.errors import found

_Function = TypeVar("_Function", bound=Callable[..., Any])


def calls(
    operation: Callable[..., Any], returns: Callable[[tuple[Any, ...]], Any] | None = None
) -> Callable[[_Function], _Function]:
    """Gives a function that has no body one: ``operation`` called with the arguments that it is given, and ``returns``
    with the results.

    Why not write that body: it would hand on the defaults too. torch fills in those of its own schema at no cost, and
    takes 0.15 us to convert each of the same from Python, a fifth of the whole call for a small batch. For the same
    reason arguments are looked at once the call has failed: one that is missing, unknown or of a wrong type is then a
    TypeError that says so.
    """

    def implement(documented: _Function) -> _Function:
        signature = inspect.signature(documented)

        @functools.wraps(documented)
        def call(*args: Any, **options: Any) -> Any:
            try:
                results = operation(*args, **options)
            except (TypeError, RuntimeError, OverflowError):
                if message := _wrong_argument(signature, args, options):
                    raise TypeError(f"{documented.__name__}: {message}") from None
                raise
            return results if returns is None else returns(results)

        return call  # type: ignore[return-value]  # of the documented signature

    return implement


# What torch takes for the types that annotations of the documented functions name, and how that is called.
_WANTED: dict[str, tuple[Callable[[Any], bool], str]] = {
    "Tensor": (lambda value: isinstance(value, Tensor), "a tensor"),
    "None": (lambda value: value is None, "None"),
    "str": (lambda value: isinstance(value, str), "a string"),
    "float": (lambda value: _is_number(value, Real), "a number"),
    "int": (
        lambda value: _is_number(value, Integral) and not (isinstance(value, int) and value.bit_length() > 63),
        "an integer of 64 bits",
    ),
    "bool": (lambda value: value is None or _is_number(value, Number), "True or False"),
    "torch.dtype": (lambda value: isinstance(value, torch.dtype), "a torch.dtype"),
    "Sequence[Tensor]": (
        lambda value: isinstance(value, Sequence) and all(isinstance(x, Tensor) for x in value),
        "a sequence of tensors",
    ),
    "Sequence[float]": (lambda value: _is_sequence_of_numbers(value), "a sequence of numbers and nothing else"),
}


def _is_number(value: Any, kind: type) -> bool:
    """A scalar of Python, NumPy or torch; the symbolic ones of a traced program are numbers of any kind."""
    if isinstance(value, torch.SymInt | torch.SymFloat | torch.SymBool):
        return True
    return isinstance(value, kind) or (hasattr(value, "__array__") and math.prod(value.shape) == 1)


def _is_sequence_of_numbers(value: Any) -> bool:
    is_sequence = isinstance(value, Sequence) or (hasattr(value, "__array__") and not isinstance(value, Tensor))
    return is_sequence and all(_is_number(x, Real) for x in value)


def _wrong_argument(signature: inspect.Signature, args: tuple[Any, ...], options: dict[str, Any]) -> str | None:
    """What is wrong with the first argument of a wrong type, or with their number; None where all is right."""
    try:
        given = signature.bind(*args, **options).arguments
    except TypeError as error:
        return f"{error}, wanted {', '.join(signature.parameters)}"
    for name, value in given.items():
        takes, wanted = zip(*(_WANTED[x] for x in str(signature.parameters[name].annotation).split(" | ")), strict=True)
        if not any(takes_it(value) for takes_it in takes):
            return f"{name} is {found(value)}, wanted {' or '.join(wanted)}"
    return None
