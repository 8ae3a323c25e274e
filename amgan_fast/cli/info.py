"""``amgan-fast info``"""

from __future__ import annotations

import typer

from amgan_fast import build_info
from amgan_fast.cli.common import errors_in_one_line
from amgan_fast.cli.output import PRINTED, Json, check_json, put_json


def info(json: Json = None) -> None:
    """Print what this build can do: versions, CPU instruction set, CUDA and why not."""
    facts = build_info()
    if json is not None:
        with errors_in_one_line():
            check_json(json)
            put_json(json, facts)
    if json == PRINTED:
        return
    for name, value in facts.items():
        shown = ", ".join(map(str, value)) if isinstance(value, (list, tuple)) else value
        typer.echo(f"{name}: {shown}")
