"""How a function becomes a command: its options, and how its errors reach the user."""

from __future__ import annotations

import errno
import inspect
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import MISSING, is_dataclass
from functools import wraps
from typing import Annotated, Any

import typer

from amgan_fast.errors import InputError, in_one_line, printable
from amgan_fast.option_declarations import Option, declarations, split_option


def command(function: Callable[..., None]) -> Callable[..., None]:
    """``function`` as Typer takes it: of a parameter whose type is a dataclass of options each field is an option, and
    the function gets an instance; of the other parameters those are options that have an
    :class:`amgan_fast.option_declarations.Option`. Errors reach the user in one line.
    """
    groups: dict[str, type] = {}
    parameters: list[inspect.Parameter] = []
    for name, parameter in inspect.signature(function, eval_str=True).parameters.items():
        if isinstance(kind := parameter.annotation, type) and is_dataclass(kind):
            groups[name] = kind
            for field, declared in declarations(kind).items():
                parameters.append(_parameter(field, declared.kind, declared.option, declared.default))
        else:
            plain, option = split_option(parameter.annotation)
            kind = parameter.annotation if option is None else plain
            parameters.append(_parameter(name, kind, option, parameter.default))

    @wraps(function)
    def run(**values: Any) -> None:
        with _errors_in_one_line():
            arguments = {
                name: group(**{field: values.pop(field) for field in declarations(group)})
                for name, group in groups.items()
            }
            function(**arguments, **values)

    run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    return run


def _parameter(name: str, kind: Any, option: Option | None, default: Any) -> inspect.Parameter:
    if option is not None:
        flags = () if option.flag is None else (option.flag,)
        kind = Annotated[
            kind,
            typer.Option(
                *flags,
                help=option.help,
                min=option.lowest,
                metavar=option.placeholder,
                rich_help_panel=option.panel,
            ),
        ]
    default = inspect.Parameter.empty if default is MISSING else default
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, annotation=kind, default=default)


@contextmanager
def _errors_in_one_line() -> Iterator[None]:
    try:
        yield
    except InputError as error:
        complain(str(error))
        raise typer.Exit(2) from None
    except FloatingPointError as error:
        complain(f"training stopped: {error}")
        raise typer.Exit(1) from None
    except KeyboardInterrupt:
        complain("interrupted")
        raise typer.Exit(130) from None
    except OSError as error:  # a file that no one foresaw trouble with
        if error.errno in (None, errno.EPIPE):
            raise
        complain(f"{error.filename or 'a file'} cannot be used ({error.strerror})")
        raise typer.Exit(2) from None
    except (MemoryError, RuntimeError) as error:
        if not _is_of_memory(error):
            raise
        complain(f"there is not enough memory ({in_one_line(error)}), wanted a smaller batch or smaller networks")
        raise typer.Exit(1) from None


def complain(text: str) -> None:
    typer.echo(f"amgan-fast: {printable(text)}", err=True)


def _is_of_memory(error: Exception) -> bool:
    """torch's allocator of the CPU has no exception of its own."""
    return isinstance(error, MemoryError) or "allocate memory" in str(error) or "out of memory" in str(error)
