"""``amgan-fast train``"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from amgan_fast.cli.common import DataDir, complain, errors_in_one_line
from amgan_fast.data import DATASETS
from amgan_fast.objectives import MODELS


def train(
    context: typer.Context,
    config: Annotated[
        Path | None, typer.Option(help="a .toml of settings: a recipe, or the config.toml of a run")
    ] = None,
    resume: Annotated[Path | None, typer.Option(help="go on with this run; nothing else may be given")] = None,
    model: Annotated[
        str | None, typer.Option(help=f"what the networks minimise: {', '.join(MODELS)}; default: amgan")
    ] = None,
    labels: Annotated[
        Literal["dynamic", "predefined"] | None,
        typer.Option(
            help="dynamic: a sample's class is the likeliest one (default); predefined: the generator is given it"
        ),
    ] = None,
    dataset: Annotated[
        str | None, typer.Option(help=f"{', '.join(DATASETS)}; default: digits, which need no download")
    ] = None,
    data_dir: DataDir = None,
    steps: Annotated[int | None, typer.Option(min=1, help="default: the dataset's recipe")] = None,
    batch_size: Annotated[int | None, typer.Option(min=2, help="default: the dataset's recipe")] = None,
    checkpoint_every: Annotated[int | None, typer.Option(min=1, help="steps; default: 200")] = None,
    seed: Annotated[int | None, typer.Option(min=0, help="the same seed gives the same run on a CPU")] = None,
    device: Annotated[
        Literal["auto", "cpu", "cuda"] | None, typer.Option(help="default: auto, CUDA where there is a GPU")
    ] = None,
    setting: Annotated[
        list[str] | None,
        typer.Option("--set", help="any other setting, as in config.toml: --set precision='\"bfloat16\"'"),
    ] = None,
    out: Annotated[Path | None, typer.Option(help="run folder, new or empty; default: a new one in runs/")] = None,
) -> None:
    """Train a generator, score it, and leave a run folder: samples, curves, scores, checkpoints and more.

    Ctrl-C saves the run and ends; --resume goes on. Under torchrun the processes share every batch.
    """
    given: dict[str, Any] = {
        "model": model,
        "labels": labels,
        "dataset": dataset,
        "data_dir": None if data_dir is None else str(data_dir.absolute()),
        "steps": steps,
        "batch_size": batch_size,
        "checkpoint_every": checkpoint_every,
        "seed": seed,
        "device": device,
    }

    from rich.console import Console

    from amgan_fast.console import ProgressBar, print_evaluation, print_line
    from amgan_fast.device import resolve_device
    from amgan_fast.processes import join_processes
    from amgan_fast.runs import Config
    from amgan_fast.train import TrainingStopped
    from amgan_fast.train import resume as go_on
    from amgan_fast.train import train as start

    console = Console()
    notes: list[str] = []
    with errors_in_one_line():
        if resume is not None:
            _refuse_others(context)
            chosen = None
            on_device = "auto"
        else:
            options = {name: value for name, value in given.items() if value is not None}
            chosen = Config.compose(config, options, setting or [], notes.append)
            on_device = chosen.device
        with join_processes(resolve_device(on_device)) as share, ProgressBar(console, share.rank == 0) as progress:
            if share.rank == 0:
                for note in notes:
                    progress.message(note)
            try:
                if chosen is not None:
                    result = start(chosen, out, progress, share)
                elif resume is not None:
                    result = go_on(resume, progress, share)
            except TrainingStopped as stopped:
                if share.rank == 0:
                    complain(f"{stopped}; go on with: amgan-fast train --resume {stopped.folder.path}")
                raise typer.Exit(128 + stopped.signal) from None
            except KeyboardInterrupt:
                complain("stopped before the run began; the same command starts it")
                raise typer.Exit(130) from None
    if share.rank == 0:
        print_evaluation(console, result.evaluation, result.discriminator)
        print_line(console, f"samples: {result.folder.samples}")


def _refuse_others(context: typer.Context) -> None:
    from amgan_fast.errors import InputError

    others = [
        f"--{'set' if name == 'setting' else name.replace('_', '-')}"
        for name, value in context.params.items()
        if name != "resume" and value not in (None, [], ())
    ]
    if others:
        raise InputError(f"found {', '.join(others)} with --resume, wanted it alone: a run keeps its configuration")
