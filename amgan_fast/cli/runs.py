"""``amgan-fast runs``"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from amgan_fast.cli.command import command
from amgan_fast.cli.evaluation_output import Report, check_outputs
from amgan_fast.cli.output import PRINTED, Json, put_json, say_written


@command
def runs(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="runs, and folders of runs")] = Path("runs"),
    json: Json = None,
    report: Report = None,
) -> None:
    """List the runs in a folder, the best first: their scores with intervals, and what differs in their settings.

    Of a run that has not come to its end the scores are the last ones on the way.
    """
    check_outputs(json, report)

    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from amgan_fast.runs import list_runs, listing_rows, save_listing

    found = list_runs(folder)
    if report is not None:
        save_listing(report, found)
        say_written("report", report)
    if json is not None:
        put_json(json, [run.to_dict() for run in found])
    if json != PRINTED:
        console = Console()
        head, rows = _that_fit(*listing_rows(found), console.width)
        table = Table(box=SIMPLE_HEAD)
        for name in head:
            table.add_column(Text(name), overflow="fold")
        for row in rows:
            table.add_row(*map(Text, row))
        console.print(table)


def _that_fit(head: list[str], rows: list[list[str]], width: int) -> tuple[list[str], list[list[str]]]:
    """A row for each run; where that is wider than the terminal, a column for each, so that words stay whole longer."""
    columns = list(zip(head, *rows, strict=True))
    if sum(max(map(len, column)) + 2 for column in columns) <= width or not rows:
        return head, rows
    names, *others = map(list, columns)
    return names, others
