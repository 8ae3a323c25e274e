"""What the user wrote, by the name ``module:name``: imported, called, and its errors told apart from ours."""

from __future__ import annotations

import importlib
import operator
import sys
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from amgan_fast.errors import InputError, in_one_line, shown

SETTINGS = ("model", "dataset", "generator", "discriminator")
"""Of a run's configuration, those that may name code; a colon in others is part of a path, say."""


def names_user_code(value: object) -> bool:
    """Whether a setting is ``module:name`` instead of a name of ours."""
    return isinstance(value, str) and ":" in value


def check_name(option: str, value: str | None, known: Collection[str], own: str) -> None:
    """
    Args:
        value: None: not given.
        own: what the user's own is called by: ``module:function``, say.

    Raises:
        InputError: it is neither known nor of that form.
    """
    if value is not None and value not in known and not names_user_code(value):
        raise InputError(f"{option} is {shown(value)}, wanted one of {', '.join(known)}, or {own}")


def user_object(option: str, spec: str) -> Any:
    """Import ``module`` and get ``name`` of it, for ``spec`` = ``"module:name"``.

    This runs the user's code, and puts the current folder in front of ``sys.path``, as ``python -m`` does.

    Args:
        option: what the error names, such as ``classifier``.

    Raises:
        InputError: it is not of that form, cannot be imported, or has no such name.

    >>> from amgan_fast.user_code import user_object
    >>> user_object("classifier", "torchvision.models:resnet18").__name__
    'resnet18'
    >>> user_object("model", "math:cosine")
    Traceback (most recent call last):
    amgan_fast.errors.InputError: model math:cosine: math has no cosine, wanted a name there
    """
    module_name, _, name = spec.partition(":")
    if not module_name or not name:
        raise InputError(f"{option} is {spec!r}, wanted module:name")
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.insert(0, here)
    importlib.invalidate_caches()  # the module may have been written a moment ago
    with users_errors(
        f"{option} {spec}: {module_name} cannot be imported", "a module that is installed or in this folder"
    ):
        module = importlib.import_module(module_name)
    try:
        return operator.attrgetter(name)(module)
    except AttributeError:
        raise InputError(f"{option} {spec}: {module_name} has no {name}, wanted a name there") from None
    except (Exception, SystemExit) as error:
        found = f"{module_name} has no {name} that can be had ({in_one_line(error)})"
        raise InputError(f"{option} {spec}: {found}, wanted a name there") from error


def module_names(text: str | None) -> list[str]:
    """Of the option ``--allow-code``, which has commas between them."""
    return [name.strip() for name in (text or "").split(",") if name.strip()]


def check_allowed(where: Path, settings: Mapping[str, Any], allowed: Collection[str]) -> None:
    """A file may have come from anyone: what it names is run only where the user has named it, too.

    Args:
        where: the file.
        settings: its values by name, of which :data:`SETTINGS` may name code.
        allowed: modules.

    Raises:
        InputError: a value names code of another module.
    """
    for name in SETTINGS:
        value = settings.get(name)
        if isinstance(value, str) and names_user_code(value) and (module := value.partition(":")[0]) not in allowed:
            raise InputError(
                f"{where} names code to be run, {name} = {value}; wanted --allow-code {module} (in Python: allow_code) "
                "if you know what that is"
            )


@contextmanager
def users_errors(what: str, wanted: str) -> Iterator[None]:
    """Errors of the user's code, of any kind, even ``sys.exit()``, as an InputError: what, the error, and wanted."""
    try:
        yield
    except InputError:
        raise
    except (Exception, SystemExit) as error:
        raise InputError(f"{what} ({in_one_line(error)}), wanted {wanted}") from error
