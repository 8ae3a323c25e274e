"""The command ``amgan-fast``: parses, then calls one function."""

from __future__ import annotations

import sys
from io import TextIOWrapper

import typer

from amgan_fast.cli.compare import compare
from amgan_fast.cli.evaluate import evaluate
from amgan_fast.cli.export import export
from amgan_fast.cli.info import info
from amgan_fast.cli.merge import merge
from amgan_fast.cli.new import new
from amgan_fast.cli.output import JsonCommand
from amgan_fast.cli.runs import runs
from amgan_fast.cli.sample import sample
from amgan_fast.cli.train import train
from amgan_fast.cli.train_classifier import train_classifier

app = typer.Typer(
    help="Train AM-GAN and its relatives, and score generative models.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.command()(train)
app.command(cls=JsonCommand)(evaluate)
app.command(cls=JsonCommand)(merge)
app.command()(sample)
app.command(cls=JsonCommand)(runs)
app.command()(export)
app.command()(compare)
app.command("train-classifier")(train_classifier)
app.command()(new)
app.command(cls=JsonCommand)(info)


def main() -> None:
    if isinstance(sys.stdout, TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # as stderr has it: names of files may be no UTF-8
    app()
