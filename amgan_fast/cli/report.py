"""``amgan-fast report``"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from amgan_fast.cli.command import command
from amgan_fast.cli.output import Json, check_json, put_json, say_written
from amgan_fast.errors import InputError
from amgan_fast.evaluation_request import check_report
from amgan_fast.option_declarations import Option


@command
def report(
    runs: Annotated[list[Path], typer.Argument(metavar="RUN", help="the folders of training runs")],
    out: Annotated[
        Path | None, Option("the page, a new .html; default: report.html in the folder of the run, if it is one")
    ] = None,
    json: Json = None,
) -> None:
    """Put what runs have come to on one page: scores, differences, samples, curves, classes, settings and files.

    It is made of what they wrote, and nothing is computed again. With --json and no --out there is no page.
    """
    page = None if json is not None and out is None else _page(runs, out)
    check_json(json)
    if page is not None:
        check_report(page)
        if page.exists():
            raise InputError(f"{page} is there already, wanted a new file for --out")

    from amgan_fast.report import read_run, save_run_report, side_by_side

    found = [read_run(path) for path in runs]
    if json is not None:
        first, *others = found
        beside = {one.run: one.to_dict() for one in side_by_side(found)}
        put_json(json, [first.to_dict(), *(run.to_dict() | {"beside": beside[run]} for run in others)])
    if page is not None:
        save_run_report(page, found, ["amgan-fast", *sys.argv[1:]])
        say_written("report", page)


def _page(runs: list[Path], out: Path | None) -> Path:
    if out is not None:
        return out
    if len(runs) > 1:
        raise InputError(f"found {len(runs)} runs without --out, wanted the name of a new .html")
    if not (runs[0] / "config.toml").is_file():
        raise InputError(f"{runs[0]} has no config.toml, wanted the folder of a training run")
    return runs[0] / "report.html"
