"""``amgan-fast train``"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, get_args

import typer

from amgan_fast.cli.command import command, complain
from amgan_fast.errors import InputError
from amgan_fast.option_declarations import DataDir, DatasetName, DeviceName, Labels, ModelName, Option, RecipeName


@dataclass(frozen=True)
class TrainOptions:
    """The settings of :class:`amgan_fast.runs.Config` that have an option of their own; None: not given."""

    model: Annotated[
        ModelName | None,
        Option(f"what the networks minimise: {', '.join(get_args(ModelName))}; default: amgan", placeholder="<name>"),
    ] = None
    labels: Annotated[
        Labels | None,
        Option("dynamic: a sample's class is the likeliest one (default); predefined: the generator is given it"),
    ] = None
    dataset: Annotated[
        DatasetName | None,
        Option(f"{', '.join(get_args(DatasetName))}; default: digits, which need no download", placeholder="<name>"),
    ] = None
    data_dir: DataDir = None
    recipe: Annotated[
        RecipeName | None,
        Option("paper: the dataset's settings (default); modern: with what GANs have been trained with since"),
    ] = None
    steps: Annotated[int | None, Option("default: the dataset's recipe", lowest=1)] = None
    batch_size: Annotated[int | None, Option("default: the dataset's recipe", lowest=2)] = None
    checkpoint_every: Annotated[int | None, Option("steps; default: 200", lowest=1)] = None
    seed: Annotated[int | None, Option("the same seed gives the same run on a CPU", lowest=0)] = None
    device: Annotated[DeviceName | None, Option("default: auto, CUDA where there is a GPU")] = None

    def given(self) -> dict[str, Any]:
        values = {name: value for name, value in vars(self).items() if value is not None}
        return values if self.data_dir is None else values | {"data_dir": str(self.data_dir.absolute())}


@command
def train(
    context: typer.Context,
    *,
    config: Annotated[Path | None, Option("a .toml of settings: a recipe, or the config.toml of a run")] = None,
    resume: Annotated[Path | None, Option("go on with this run; nothing else may be given")] = None,
    settings: TrainOptions,
    setting: Annotated[
        list[str] | None, Option("any other setting, as in config.toml: --set precision=bfloat16", flag="--set")
    ] = None,
    out: Annotated[Path | None, Option("run folder, new or empty; default: a new one in runs/")] = None,
) -> None:
    """Train a generator, score it, and leave a run folder: samples, curves, scores, checkpoints and more.

    Ctrl-C saves the run and ends; --resume goes on. Under torchrun the processes share every batch.
    """
    if resume is not None:
        _refuse_others(context)

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
    chosen = None if resume else Config.compose(config, settings.given(), setting or [], notes.append)
    device = resolve_device("auto" if chosen is None else chosen.device)
    with join_processes(device) as share, ProgressBar(console, share.rank == 0) as progress:
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
    others = [
        f"--{'set' if name == 'setting' else name.replace('_', '-')}"
        for name, value in context.params.items()
        if name != "resume" and value not in (None, [], ())
    ]
    if others:
        raise InputError(f"found {', '.join(others)} with --resume, wanted it alone: a run keeps its configuration")
