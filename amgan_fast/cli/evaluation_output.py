"""Where an evaluation goes: to the terminal, to JSON and to a page."""

from __future__ import annotations

import sys
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from amgan_fast.cli.output import PRINTED, check_json, put_json, say_written
from amgan_fast.evaluation_request import check_report
from amgan_fast.option_declarations import Option

if TYPE_CHECKING:
    from amgan_fast.evaluate import Evaluation

Report = Annotated[Path | None, Option("write a page, .html, with pictures in it")]


def check_outputs(json: str | None, report: Path | None) -> None:
    """Before the work begins: whether :func:`hand_out` can write there.

    Raises:
        InputError: it cannot.
    """
    check_json(json)
    if report is not None:
        check_report(report)


def hand_out(evaluation: Evaluation, json: str | None, report: Path | None) -> None:
    """Write and print what was asked for, the table where JSON is not printed: hours of work are not lost with a file
    that cannot be written.

    Raises:
        InputError: a file cannot be written.
    """
    from rich.console import Console

    from amgan_fast.console import print_evaluation
    from amgan_fast.evaluate import save_report

    with ExitStack() as afterwards:  # the last one first, and each of them where another one cannot be written
        if json != PRINTED:
            afterwards.callback(print_evaluation, Console(), evaluation)
        if json is not None:
            afterwards.callback(put_json, json, evaluation.to_dict())
        if report is not None:
            save_report(report, evaluation, ["amgan-fast", *sys.argv[1:]])
            say_written("report", report)
