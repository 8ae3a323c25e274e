"""``amgan-fast evaluate``"""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from amgan_fast.cli.command import command, complain
from amgan_fast.cli.output import PRINTED, Json, check_json, put_json, say_written, standard_output_for_results
from amgan_fast.evaluation_request import Request
from amgan_fast.option_declarations import Option

if TYPE_CHECKING:
    from amgan_fast.evaluate import Evaluation


@command
def evaluate(
    request: Request,
    json: Json = None,
    report: Annotated[Path | None, Option("write a page, .html, with pictures in it")] = None,
) -> None:
    """Score samples, beside held-out real ones: Inception Score, AM Score and more, with their intervals.

    Ctrl-C prints what is known so far. Under torchrun the processes share the samples.
    """
    from rich.console import Console

    from amgan_fast.console import ProgressBar
    from amgan_fast.device import resolve_device
    from amgan_fast.evaluate import EvaluationError, EvaluationInterrupted, check_report, evaluate_request
    from amgan_fast.processes import join_processes

    check_json(json)
    if report is not None:
        check_report(report)
    request = replace(request, modes=report is not None)
    evaluation: Evaluation | None
    stopped: EvaluationError | EvaluationInterrupted | None = None
    with (
        join_processes(resolve_device(request.device)) as share,
        ProgressBar(Console(stderr=True), share.rank == 0) as bar,
        standard_output_for_results(),
    ):
        try:
            evaluation = evaluate_request(request, bar.progress, share)
        except (EvaluationError, EvaluationInterrupted) as error:
            stopped, evaluation = error, error.evaluation
    if evaluation is not None and share.rank == 0:
        _hand_out(evaluation, json, report)
    if isinstance(stopped, EvaluationInterrupted):
        complain("interrupted")
        raise typer.Exit(130)
    if stopped is not None:
        raise stopped


def _hand_out(evaluation: Evaluation, json: str | None, report: Path | None) -> None:
    from rich.console import Console

    from amgan_fast.console import print_evaluation
    from amgan_fast.evaluate import save_report

    if report is not None:
        save_report(report, evaluation, ["amgan-fast", *sys.argv[1:]])
        say_written("report", report)
    if json is not None:
        put_json(json, evaluation.to_dict())
    if json != PRINTED:
        print_evaluation(Console(), evaluation)
