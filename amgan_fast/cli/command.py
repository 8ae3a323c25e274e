"""How a function becomes a command: its options, and how its errors reach the user."""

from __future__ import annotations

import errno
import inspect
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import MISSING, fields, is_dataclass
from functools import wraps
from typing import Annotated, Any, get_args

import typer

from amgan_fast.cli.completion import values_for
from amgan_fast.errors import InputError, in_one_line, printable
from amgan_fast.extras import is_of_extra, said_of_missing
from amgan_fast.option_declarations import Declaration, Option, declarations, flag_of, split_option


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
            for field, declared in _own_first(kind).items():
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


def _own_first(options: type) -> dict[str, Declaration]:
    """Its fields before those that it inherits: help shows headings in the order of their first options."""
    inherited = {field.name for base in options.__bases__ if is_dataclass(base) for field in fields(base)}
    return dict(sorted(declarations(options).items(), key=lambda item: item[0] in inherited))


def _parameter(name: str, kind: Any, option: Option | None, default: Any) -> inspect.Parameter:
    if option is not None:
        kind = Annotated[
            kind,
            typer.Option(
                *_flags(name, kind, option, default),
                help=option.help,
                min=option.lowest,
                metavar=_placeholder(kind, option),
                rich_help_panel=option.panel,
                autocompletion=values_for(option) if option.values else None,
            ),
        ]
    default = inspect.Parameter.empty if default is MISSING else default
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, annotation=kind, default=default)


def _flags(name: str, kind: Any, option: Option, default: Any) -> tuple[str, ...]:
    """What is off unless it is given needs no word for off; what is on has one, which Typer makes."""
    if kind is bool and default is False:
        return (flag_of(name, option),)
    return () if option.flag is None else (option.flag,)


def _placeholder(kind: Any, option: Option) -> str | None:
    """Short ones: at 80 columns the names of options and their help need the room."""
    is_integer = kind is int or int in get_args(kind)
    return "<int>" if option.placeholder is None and is_integer else option.placeholder


@contextmanager
def _errors_in_one_line() -> Iterator[None]:
    try:
        yield
    except InputError as error:
        complain(str(error))
        raise typer.Exit(2) from None
    except ModuleNotFoundError as error:
        if not is_of_extra(error):
            raise
        complain(said_of_missing(error))
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
