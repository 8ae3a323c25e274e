"""``amgan-fast sample``"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from amgan_fast.cli.command import command
from amgan_fast.errors import printable
from amgan_fast.option_declarations import Device, Option


@command
def sample(
    run: Annotated[Path, Option("the folder of a training run")],
    out: Annotated[Path | None, Option("folder for the sheets; default: RUN/sheets")] = None,
    seed: Annotated[int, Option("of the samples", lowest=0)] = 0,
    device: Device = "auto",
) -> None:
    """Draw a grid of samples, an interpolation sheet and a sheet with a row a class."""
    from rich.console import Console

    from amgan_fast.console import ProgressBar
    from amgan_fast.evaluate.sheets import save_sheets

    with ProgressBar(Console(stderr=True)) as bar:
        sheets = save_sheets(run, out or run / "sheets", seed=seed, device=device, progress=bar.progress)
    for path in sheets:
        typer.echo(printable(str(path)))
