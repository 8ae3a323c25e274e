"""``amgan-fast merge``"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from amgan_fast.cli.command import command
from amgan_fast.cli.evaluation_output import Report, check_outputs, hand_out
from amgan_fast.cli.output import Json
from amgan_fast.evaluation_request import AgainstJson


@command
def merge(
    files: Annotated[list[Path], typer.Argument(help="of amgan-fast evaluate --shard I/N --state FILE, in any order")],
    json: Json = None,
    report: Report = None,
    against: AgainstJson = None,
) -> None:
    """Make one evaluation of the files of all its shards: as one process would have that had taken all samples."""
    check_outputs(json, report)

    from rich.console import Console

    from amgan_fast.console import ProgressBar
    from amgan_fast.evaluate import merge_states, read_evaluation

    other = None if against is None else read_evaluation(against)
    with ProgressBar(Console(stderr=True)) as bar:
        evaluation = merge_states(files, modes=report is not None, against=other, progress=bar.progress)
    hand_out(evaluation, json, report)
