"""``amgan-fast info``"""

from __future__ import annotations

import json

import typer

from amgan_fast import build_info
from amgan_fast.cli.common import Json


def info(as_json: Json = False) -> None:
    """Print what this build can do: versions, CPU instruction set, CUDA and why not."""
    facts = build_info()
    if as_json:
        typer.echo(json.dumps(facts, indent=2))
        return
    for name, value in facts.items():
        shown = ", ".join(map(str, value)) if isinstance(value, (list, tuple)) else value
        typer.echo(f"{name}: {shown}")
