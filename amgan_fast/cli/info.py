"""``amgan-fast info``"""

from __future__ import annotations

import typer

from amgan_fast.cli.command import command
from amgan_fast.cli.output import PRINTED, Json, check_json, put_json


@command
def info(json: Json = None) -> None:
    """Print what this build can do: versions, CPU instruction set, CUDA and why not."""
    if json is not None:
        check_json(json)

    from amgan_fast import build_info

    build = build_info()
    if json is not None:
        put_json(json, build)
    if json == PRINTED:
        return
    for name, value in build.items():
        shown = ", ".join(map(str, value)) if isinstance(value, (list, tuple)) else value
        typer.echo(f"{name}: {shown}")
