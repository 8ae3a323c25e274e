"""What the commands share: options, and how errors reach the user."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Literal

import typer

from amgan_fast.data import DATASETS
from amgan_fast.errors import InputError

DatasetName = Annotated[str, typer.Option(help=f"one of {', '.join(DATASETS)}; digits need no download")]
Device = Annotated[
    Literal["auto", "cpu", "cuda"], typer.Option(help="auto: CUDA where there is a GPU and kernels for it")
]
DataDir = Annotated[Path | None, typer.Option(help="the dataset's files, if not in their usual place")]
Json = Annotated[bool, typer.Option("--json", help="print JSON instead of a table")]


@contextmanager
def errors_in_one_line() -> Iterator[None]:
    try:
        yield
    except InputError as error:
        complain(str(error))
        raise typer.Exit(2) from None
    except FloatingPointError as error:
        complain(f"training stopped: {error}")
        raise typer.Exit(1) from None


def complain(text: str) -> None:
    typer.echo(f"amgan-fast: {text}", err=True)
