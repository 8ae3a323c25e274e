"""The user's own classifier or feature extractor, made by a function of the user's."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from torch import Tensor, nn

from amgan_fast.errors import InputError
from amgan_fast.evaluate.classifiers.inputs import RANGES
from amgan_fast.option_declarations import ValueRange
from amgan_fast.user_code import user_object, users_errors

_KEYS = ("network", "input_size", "input_range", "classes")


@dataclass(frozen=True, eq=False)
class UserNetwork:
    """A network, and what it was made for as far as that was said."""

    network: Callable[[Tensor], Any]
    """A module is in evaluation mode and frozen."""
    input_size: tuple[int, int] | None = None
    """(H, W); None: not said, or any."""
    takes_any_size: bool = False
    """Whether it was said that any size will do."""
    input_range: ValueRange | None = None
    num_classes: int | None = None
    class_names: tuple[str, ...] | None = None


def build_user_network(spec: str, kind: Literal["classifier", "extractor"] = "classifier") -> UserNetwork:
    """Import ``module`` and call its ``function()``, for ``spec`` = ``"module:function"``.

    The function returns the network, a :class:`torch.nn.Module` or another callable, or a dict that says what it was
    made for, with it under ``"network"`` and any of

    - ``"input_size"``: the height and width of its images in pixels, one number for squares or (H, W); None where any
      will do, because it resizes them itself, say.
    - ``"input_range"``: one of :data:`amgan_fast.evaluate.classifiers.inputs.RANGES`.
    - ``"classes"``: how many, at least 2, or their names.

    This runs the user's code, and puts the current folder in front of ``sys.path``, as ``python -m`` does.

    Args:
        kind: what errors call it.

    Raises:
        InputError: one of these fails, or what comes is something else.
    """
    function = user_object(kind, spec)
    name = spec.partition(":")[2]
    with users_errors(f"{kind} {spec}: {name}() fails", "a function that makes the network"):
        returned = function()
    try:
        said = _read(dict(returned) if isinstance(returned, Mapping) else {"network": returned})
    except ValueError as error:
        raise InputError(f"{kind} {spec}: {name}() returns {error}") from None
    if isinstance(said.network, nn.Module):
        with users_errors(f"{kind} {spec}: its module cannot be set to evaluation", "a module that can"):
            said.network.eval()
            for parameter in said.network.parameters():  # scripted modules have no requires_grad_
                parameter.requires_grad_(False)
    return said


def _read(said: dict[str, Any]) -> UserNetwork:
    """
    Raises:
        ValueError: what is wrong, and wanted.
    """
    if other := [key for key in said if key not in _KEYS]:
        raise ValueError(f"a dict with {other[0]!r}, wanted {', '.join(_KEYS)}")
    if "network" not in said:
        raise ValueError("a dict without 'network', wanted a torch.nn.Module or another callable there")
    network = said["network"]
    if isinstance(network, type) or not callable(network):
        found = f"the class {network.__name__}" if isinstance(network, type) else f"a {type(network).__name__}"
        raise ValueError(f"{found}, wanted a torch.nn.Module or another callable, or a dict with it as 'network'")
    num_classes, class_names = _classes(said.get("classes"))
    return UserNetwork(
        network,
        input_size=_size(said.get("input_size")),
        takes_any_size="input_size" in said and said["input_size"] is None,
        input_range=_range(said.get("input_range")),
        num_classes=num_classes,
        class_names=class_names,
    )


def _size(value: Any) -> tuple[int, int] | None:
    if value is None:
        return None
    size = (value, value) if isinstance(value, int) else tuple(value) if isinstance(value, (list, tuple)) else ()
    if len(size) != 2 or not all(type(side) is int and side >= 1 for side in size):
        raise ValueError(f"input_size {value!r}, wanted pixels: a number, (height, width), or None for any")
    return size[0], size[1]


def _range(value: Any) -> ValueRange | None:
    if value is not None and not (isinstance(value, str) and value in RANGES):
        raise ValueError(f"input_range {value!r}, wanted one of {', '.join(RANGES)}")
    return value


def _classes(value: Any) -> tuple[int | None, tuple[str, ...] | None]:
    if value is None:
        return None, None
    names = tuple(value) if isinstance(value, (list, tuple)) and all(isinstance(name, str) for name in value) else None
    number = value if names is None else len(names)
    if type(number) is not int or number < 2:
        raise ValueError(f"classes {value!r}, wanted how many, at least 2, or their names")
    return number, names
