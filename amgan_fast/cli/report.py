"""``amgan-fast report``"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from amgan_fast.cli.command import command
from amgan_fast.cli.output import PRINTED, check_json, put_json, say_written
from amgan_fast.errors import InputError
from amgan_fast.evaluation_request import check_report
from amgan_fast.option_declarations import Option


@command
def report(
    runs: Annotated[list[Path], typer.Argument(metavar="RUN", help="the folders of training runs")],
    out: Annotated[
        Path | None,
        Option("the page, a new .html or an earlier page; default: report.html in the folder of the run, if it is one"),
    ] = None,
    json: Annotated[
        str | None, Option("print JSON instead of writing the page; with a file, write it there", placeholder="[FILE]")
    ] = None,
) -> None:
    """Put what runs have come to on one page: scores, differences, samples, curves, classes, settings and files.

    It is made of what they wrote, and nothing is computed again. A page of before is replaced. With --json
    alone there is no page but that of --out, and with --json FILE none of several runs without --out.
    """
    _check_distinct(runs)
    page = _page(runs, out, json)
    check_json(json)
    if page is not None:
        check_report(page)

    from amgan_fast.report import is_run_report, read_run, save_run_report, side_by_side

    if out is not None and out.exists() and not is_run_report(out):
        raise InputError(f"{out} is there and is no page of amgan-fast report, wanted a new file for --out")

    found = [read_run(path) for path in runs]
    if json is not None:
        first, *others = found
        beside = {one.run: one.to_dict() for one in side_by_side(found)}
        put_json(json, [first.to_dict(), *(run.to_dict() | {"beside": beside[run]} for run in others)])
    if page is not None:
        save_run_report(page, found, ["amgan-fast", *sys.argv[1:]])
        say_written("report", page)


def _check_distinct(runs: list[Path]) -> None:
    known: dict[Path, Path] = {}
    for run in runs:
        first = known.setdefault(run.resolve(), run)
        if first is not run:
            raise InputError(f"{first} and {run} are one folder, wanted each run once")


def _page(runs: list[Path], out: Path | None, json: str | None) -> Path | None:
    """Where it goes; None: there is to be none."""
    if out is not None or json == PRINTED or (json is not None and len(runs) > 1):
        return out
    if len(runs) > 1:
        raise InputError(f"found {len(runs)} runs without --out, wanted the name of a new .html")
    if not (runs[0] / "config.toml").is_file():
        raise InputError(f"{runs[0]} has no config.toml, wanted the folder of a training run")
    return runs[0] / "report.html"
