#!/usr/bin/env bash
# Typer 0.29.2 with rich 15.0.0: the text of help= is read as rich markup although nobody asked for it, and text in square
# brackets that begins with a small letter is taken for a style and left out. "layers [default: 40]" is printed as
# "layers"; "[K]" stays. rich_markup_mode=None of typer.Typer keeps the text.
#
# Output seen:
#   typer 0.29.2, rich 15.0.0
#   by default: "[default: 40]" is not in the help, "[K]" is
#   rich_markup_mode=None: both are
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/pip" install --quiet --disable-pip-version-check "typer==0.29.2" "rich==15.0.0"
"$folder/env/bin/python" - <<'PYTHON'
from importlib.metadata import version
from typing import Annotated

import typer
from typer.testing import CliRunner


def help_of(**options):
    app = typer.Typer(**options)

    @app.command()
    def main(depth: Annotated[int | None, typer.Option(help="layers [default: 40], of [K] classes")] = None):
        pass

    return CliRunner().invoke(app, ["--help"], env={"COLUMNS": "150"}).output


print(f"typer {version('typer')}, rich {version('rich')}")
by_default, plain = help_of(), help_of(rich_markup_mode=None)
print('by default: "[default: 40]" is not in the help, "[K]" is')
assert "[default: 40]" not in by_default and "[K]" in by_default and "layers" in by_default
print("rich_markup_mode=None: both are")
assert "[default: 40]" in plain and "[K]" in plain
PYTHON
