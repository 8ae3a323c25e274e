"""The user's own classifier, made by a function of the user's."""

from __future__ import annotations

import importlib
import operator
import sys
from collections.abc import Callable
from pathlib import Path

from torch import Tensor, nn

from amgan_fast.errors import InputError, in_one_line


def build_user_network(spec: str) -> Callable[[Tensor], Tensor]:
    """Import ``module`` and call its ``function()``, for ``spec`` = ``"module:function"``.

    This runs the user's code, and puts the current folder in front of ``sys.path``, as ``python -m`` does.

    Raises:
        InputError: one of these fails, or what comes is neither a :class:`torch.nn.Module` nor another callable.
    """
    module_name, _, function_name = spec.partition(":")
    if not module_name or not function_name:
        raise InputError(f"classifier is {spec!r}, wanted module:function")
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.insert(0, here)
    importlib.invalidate_caches()  # the module may have been written a moment ago
    try:
        module = importlib.import_module(module_name)
    except (Exception, SystemExit) as error:  # anything, even a script that exits
        raise InputError(
            f"classifier {spec}: {module_name} cannot be imported ({in_one_line(error)}), wanted a module that is "
            "installed or in this folder"
        ) from error
    try:
        function = operator.attrgetter(function_name)(module)
    except AttributeError:
        raise InputError(f"classifier {spec}: {module_name} has no {function_name}, wanted a function there") from None
    try:
        network = function()
    except (Exception, SystemExit) as error:
        raise InputError(
            f"classifier {spec}: {function_name}() fails ({in_one_line(error)}), "
            "wanted a function that makes the network"
        ) from error
    if isinstance(network, type) or not callable(network):
        found = f"the class {network.__name__}" if isinstance(network, type) else f"a {type(network).__name__}"
        raise InputError(
            f"classifier {spec}: {function_name}() returns {found}, wanted a torch.nn.Module or another callable"
        )
    return network.eval().requires_grad_(False) if isinstance(network, nn.Module) else network
