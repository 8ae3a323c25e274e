"""The standard output is for results: where they go, and what is kept away from it."""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from typing import Annotated, Any

import typer

from amgan_fast.cli.flags import Command
from amgan_fast.errors import InputError, printable
from amgan_fast.files import check_writable, to_json, write_json
from amgan_fast.option_declarations import Option

PRINTED = "-"
"""What ``--json`` means without a file."""

Json = Annotated[
    str | None, Option("print JSON instead of the table; with a file, write it there", placeholder="[FILE]")
]


class JsonCommand(Command):
    """A command whose ``--json`` may stand alone: Typer has no options with a value or none."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        return super().parse_args(ctx, _with_value(args))


def _with_value(args: Sequence[str]) -> list[str]:
    given = []
    for arg, following in zip(args, [*args, "--"][1:], strict=True):
        alone = arg == "--json" and following.startswith("-") and following != PRINTED
        given.append(f"{arg}={PRINTED}" if alone else arg)
    return given


def check_json(json: str | None) -> None:
    """Before the work begins: whether :func:`put_json` can write there.

    Raises:
        InputError: it cannot.
    """
    if json is not None and json != PRINTED:
        check_writable("json", Path(json))


def put_json(json: str, value: Any) -> None:
    """Print it, or write the file and say so: whole, or an old one of its name is as it was.

    Raises:
        InputError: the file cannot be written.
    """
    if json == PRINTED:
        typer.echo(to_json(value))
        return
    try:
        write_json(Path(json), value)
    except OSError as error:
        raise InputError(f"{json} cannot be written ({error.strerror}), wanted a place for --json") from None
    say_written("json", Path(json))


def say_written(what: str, path: Path) -> None:
    """In a line of the standard error: the standard output is for results."""
    typer.echo(printable(f"{what}: {path}"), err=True)


@contextmanager
def standard_output_for_results() -> Iterator[None]:
    """What is printed meanwhile, by a user's network say, goes to the standard error, also from C and from processes
    that start meanwhile."""
    sys.stdout.flush()
    kept = os.dup(1)
    try:
        os.dup2(2, 1)
        with redirect_stdout(sys.stderr):
            yield
    finally:
        ctypes.CDLL(None).fflush(None)  # what C has printed and not written yet
        os.dup2(kept, 1)
        os.close(kept)
