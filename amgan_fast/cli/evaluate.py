"""``amgan-fast evaluate``"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from amgan_fast.cli.command import command, complain
from amgan_fast.cli.evaluation_output import Report, check_outputs, hand_out
from amgan_fast.cli.output import Json, say_written, standard_output_for_results
from amgan_fast.evaluation_request import Request
from amgan_fast.files import check_writable
from amgan_fast.option_declarations import Option

if TYPE_CHECKING:
    from amgan_fast.console import ProgressBar
    from amgan_fast.evaluate import Evaluation
    from amgan_fast.evaluate.class_tests import Trainer


@command
def evaluate(
    request: Request,
    json: Json = None,
    report: Report = None,
    state: Annotated[Path | None, Option("write all sums, .safetensors, for amgan-fast merge")] = None,
) -> None:
    """Score samples, beside held-out real ones: Inception Score, AM Score and more, with their intervals.

    Ctrl-C prints what is known so far. Under torchrun the processes share the samples.
    """
    request.check()
    check_outputs(json, report)
    if state is not None:
        check_writable("state", state)

    from rich.console import Console

    from amgan_fast.console import ProgressBar
    from amgan_fast.device import resolve_device
    from amgan_fast.evaluate import EvaluationError, EvaluationInterrupted, evaluate_request
    from amgan_fast.processes import join_processes

    request = replace(request, modes=report is not None or state is not None)
    evaluation: Evaluation | None
    stopped: EvaluationError | EvaluationInterrupted | None = None
    with (
        join_processes(resolve_device(request.device)) as share,
        ProgressBar(Console(stderr=True), share.rank == 0) as bar,
        standard_output_for_results(),
    ):
        try:
            trainer = _trainer(bar) if request.cas else None
            evaluation = evaluate_request(request, bar.progress, share, state, trainer=trainer)
        except (EvaluationError, EvaluationInterrupted) as error:
            stopped, evaluation = error, error.evaluation
    if evaluation is not None and share.rank == 0:
        if state is not None and stopped is None:
            say_written("state", state)
        hand_out(evaluation, json, report)
    if isinstance(stopped, EvaluationInterrupted):
        complain("interrupted")
        raise typer.Exit(130)
    if stopped is not None:
        raise stopped


def _trainer(observer: ProgressBar) -> Trainer:
    from amgan_fast.train import train_classifier

    return partial(train_classifier, observer=observer)
