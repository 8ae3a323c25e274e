"""``amgan-fast new``"""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path
from typing import Annotated

import typer

from amgan_fast.cli.command import command
from amgan_fast.errors import InputError, printable
from amgan_fast.files import write_text

_FILE = "parts.py"


@command
def new(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="where to; it may exist, without a parts.py")],
) -> None:
    """Write parts.py: own networks, an own dataset and an own model. It trains as it is, and is there to be changed."""
    path = folder / _FILE
    if path.exists():
        raise InputError(f"{path} is there already, wanted a folder without it: nothing was written")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        write_text(path, files("amgan_fast.cli.templates").joinpath(_FILE).read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"{folder} cannot be written to ({error.strerror}), wanted a folder for {_FILE}") from None
    typer.echo(printable(f"written: {path}; what is in it is used from that folder:"))
    typer.echo(
        f"  cd {printable(str(folder))} && amgan-fast train --generator parts:generator --discriminator "
        "parts:discriminator --dataset parts:dataset --model parts:Model --steps 500 --out runs/first"
    )
