"""``amgan-fast sample``"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from amgan_fast.cli.common import Device, errors_in_one_line
from amgan_fast.errors import printable


def sample(
    run: Annotated[Path, typer.Option(help="the folder of a training run")],
    out: Annotated[Path | None, typer.Option(help="folder for the sheets; default: RUN/sheets")] = None,
    seed: Annotated[int, typer.Option(min=0, help="of the samples")] = 0,
    device: Device = "auto",
) -> None:
    """Draw a grid of samples, an interpolation sheet and a sheet with a row a class."""
    from rich.console import Console

    from amgan_fast.console import SampleProgress
    from amgan_fast.evaluate.sheets import save_sheets

    with errors_in_one_line():
        with SampleProgress(Console(stderr=True)) as progress:
            sheets = save_sheets(run, out or run / "sheets", seed=seed, device=device, progress=progress)
        for path in sheets:
            typer.echo(printable(str(path)))
