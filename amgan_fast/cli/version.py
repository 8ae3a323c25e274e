"""``amgan-fast --version``"""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version

import typer


def print_version(asked: bool) -> None:
    """Name and version, and the end of the program, where that is asked for: of what is installed, without torch; of a
    folder that is not installed the compiled module knows it."""
    if not asked:
        return
    try:
        number = version("amgan-fast")
    except PackageNotFoundError:
        from amgan_fast import __version__ as number
    typer.echo(f"amgan-fast {number}")
    raise typer.Exit
