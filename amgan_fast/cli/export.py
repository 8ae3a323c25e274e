"""``amgan-fast export``"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from amgan_fast.cli.command import command
from amgan_fast.errors import printable
from amgan_fast.option_declarations import Option


@command
def export(
    run: Annotated[Path, Option("the folder of a training run")],
    out: Annotated[
        Path,
        Option("a new .safetensors, for amgan_fast.load_generator, or .pt2, a program that PyTorch runs by itself"),
    ],
) -> None:
    """Write the averaged generator of a run to a file."""
    from amgan_fast.runs import export_generator

    export_generator(run, out)
    typer.echo(printable(str(out)))
