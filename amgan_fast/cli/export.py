"""``amgan-fast export``"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from amgan_fast.cli.command import command
from amgan_fast.errors import printable
from amgan_fast.option_declarations import AllowCode, Option
from amgan_fast.user_code import module_names


@command
def export(
    run: Annotated[Path, Option("the folder of a training run, or one of its checkpoints")],
    out: Annotated[
        Path,
        Option("a new .safetensors, for amgan_fast.load_generator, or .pt2, a program that PyTorch runs by itself"),
    ],
    allow_code: AllowCode = None,
) -> None:
    """Write the averaged generator of a run to a file."""
    from amgan_fast.runs import export_generator

    export_generator(run, out, allow_code=module_names(allow_code))
    typer.echo(printable(str(out)))
