"""The command ``amgan-fast``: parses, then calls one function."""

from __future__ import annotations

import sys
from collections.abc import Callable
from io import TextIOWrapper
from typing import Annotated

import typer

from amgan_fast.cli.compare import compare
from amgan_fast.cli.evaluate import evaluate
from amgan_fast.cli.examples import epilog
from amgan_fast.cli.export import export
from amgan_fast.cli.flags import Command, Group
from amgan_fast.cli.info import info
from amgan_fast.cli.merge import merge
from amgan_fast.cli.new import new
from amgan_fast.cli.output import JsonCommand
from amgan_fast.cli.report import report
from amgan_fast.cli.runs import runs
from amgan_fast.cli.sample import sample
from amgan_fast.cli.train import train
from amgan_fast.cli.train_classifier import train_classifier
from amgan_fast.cli.version import print_version

app = typer.Typer(
    cls=Group,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)


def _add(name: str, function: Callable[..., None], cls: type[Command] = Command) -> None:
    app.command(name, cls=cls, epilog=epilog(name))(function)


_add("train", train)
_add("evaluate", evaluate, JsonCommand)
_add("merge", merge, JsonCommand)
_add("sample", sample)
_add("runs", runs, JsonCommand)
_add("report", report, JsonCommand)
_add("export", export)
_add("compare", compare)
_add("train-classifier", train_classifier)
_add("new", new)
_add("info", info, JsonCommand)


@app.callback()
def _program(
    _: Annotated[
        bool,
        typer.Option("--version", help="Print name and version.", callback=print_version, is_eager=True),
    ] = False,
) -> None:
    """Train AM-GAN and its relatives, and score generative models."""


def main() -> None:
    if isinstance(sys.stdout, TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # as stderr has it: names of files may be no UTF-8
    app()
