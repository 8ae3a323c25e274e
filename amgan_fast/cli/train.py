"""``amgan-fast train``"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any

import typer

from amgan_fast.cli.command import command, complain
from amgan_fast.errors import InputError
from amgan_fast.option_declarations import (
    ALLOW_CODE,
    DATASET_NAMES,
    MODEL_NAMES,
    NAMES_OF_DATASETS,
    NAMES_OF_MODELS,
    DataDir,
    DeviceName,
    Labels,
    Option,
    RecipeName,
    check_dataset,
    check_model,
)
from amgan_fast.user_code import module_names

_WITH_RESUME = ("resume", "steps", "observer", "allow_code")
_SETTINGS, _OWN, _OTHER_RUNS = "Settings", "Own networks, data and observers", "Runs that are there already"


@dataclass(frozen=True)
class TrainOptions:
    """The settings of :class:`amgan_fast.runs.Config` that have an option of their own; None: not given."""

    model: Annotated[
        str | None,
        Option(
            f"what the networks minimise: {NAMES_OF_MODELS}, or module:Class; default: amgan",
            placeholder="<name>",
            values=MODEL_NAMES,
        ),
    ] = None
    labels: Annotated[
        Labels | None,
        Option(
            "dynamic: a sample's class is the likeliest one (default); predefined: the generator is given it",
            placeholder="<how>",
        ),
    ] = None
    dataset: Annotated[
        str | None,
        Option(
            f"{NAMES_OF_DATASETS}, or module:function; default: digits, which need no download",
            placeholder="<name>",
            values=DATASET_NAMES,
        ),
    ] = None
    data_dir: DataDir = None
    generator: Annotated[
        str | None, Option("module:function that makes it; default: the network's", _OWN, placeholder="<name>")
    ] = None
    discriminator: Annotated[
        str | None, Option("module:function that makes all but its last layer", _OWN, placeholder="<name>")
    ] = None
    init: Annotated[
        Path | None, Option("a run, or one of its checkpoints, whose weights to start from", _OTHER_RUNS)
    ] = None
    recipe: Annotated[
        RecipeName | None,
        Option(
            "paper: the dataset's settings (default); modern: with what GANs have been trained with since", _SETTINGS
        ),
    ] = None
    steps: Annotated[int | None, Option("default: the dataset's recipe", lowest=1)] = None
    batch_size: Annotated[int | None, Option("default: the dataset's recipe", _SETTINGS, lowest=2)] = None
    checkpoint_every: Annotated[int | None, Option("steps; default: 200", _SETTINGS, lowest=1)] = None
    seed: Annotated[int | None, Option("the same seed gives the same run on a CPU", lowest=0)] = None
    device: Annotated[DeviceName | None, Option("default: auto, CUDA where there is a GPU")] = None

    def given(self) -> dict[str, Any]:
        values = {name: value for name, value in vars(self).items() if value is not None}
        return {name: str(value.absolute()) if isinstance(value, Path) else value for name, value in values.items()}


@command
def train(
    context: typer.Context,
    *,
    config: Annotated[
        Path | None, Option("a .toml of settings: a recipe, or the config.toml of a run", _SETTINGS)
    ] = None,
    settings: TrainOptions,
    setting: Annotated[
        list[str] | None,
        Option(
            "any other setting, as in config.toml: --set precision=bfloat16",
            _SETTINGS,
            flag="--set",
            placeholder="<name=value>",
        ),
    ] = None,
    out: Annotated[Path | None, Option("run folder, new or empty; default: a new one in runs/")] = None,
    resume: Annotated[
        Path | None,
        Option("go on with this run; with it go --steps, for more of them, --observer and --allow-code", _OTHER_RUNS),
    ] = None,
    observer: Annotated[
        list[str] | None,
        Option(
            "csv, wandb or module:Class, told what happens; any number of them",
            _OWN,
            placeholder="<name>",
            values=("csv", "wandb"),
        ),
    ] = None,
    allow_code: Annotated[str | None, replace(ALLOW_CODE, panel=_OWN)] = None,
    dry_run: Annotated[
        bool, Option("print settings, sizes and about how long it takes, and train and write nothing")
    ] = False,
) -> None:
    """Train a generator, score it, and leave a run folder: samples, curves, scores, checkpoints and more.

    Ctrl-C saves the run and ends; --resume goes on. Under torchrun the processes share every batch.
    """
    if resume is not None:
        _refuse_others(context)
    check_model(settings.model)
    check_dataset(settings.dataset)

    from rich.console import Console

    from amgan_fast.console import ProgressBar, print_evaluation, print_line
    from amgan_fast.device import resolve_device
    from amgan_fast.processes import join_processes
    from amgan_fast.runs import Config
    from amgan_fast.train import Observers, TrainingStopped, observers_named
    from amgan_fast.train import dry_run as estimate
    from amgan_fast.train import resume as go_on
    from amgan_fast.train import train as start

    console = Console()
    notes: list[str] = []
    allowed = module_names(allow_code)
    chosen = None
    if resume is None:
        chosen = Config.compose(config, settings.given(), setting or [], notes.append, allow_code=allowed)
    device = resolve_device("auto" if chosen is None else chosen.device)
    with join_processes(device) as share, ProgressBar(console, share.rank == 0) as progress:
        if share.rank == 0:
            for note in notes:
                progress.message(note)
        if dry_run and chosen is not None:
            found = estimate(chosen, out, progress, share)
            if share.rank == 0:
                for line in found.lines():
                    print_line(console, line)
            return
        try:
            told = Observers([progress, *observers_named((observer or []) if share.rank == 0 else [])])
            if chosen is not None:
                result = start(chosen, out, told, share)
            elif resume is not None:
                result = go_on(resume, told, share, steps=settings.steps, allow_code=allowed)
        except TrainingStopped as stopped:
            if share.rank == 0:
                modules = ",".join(allowed if chosen is None else chosen.modules())
                code = f" --allow-code {modules}" if modules else ""
                complain(f"{stopped}; go on with: amgan-fast train --resume {stopped.folder.path}{code}")
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
        if name not in _WITH_RESUME and value not in (None, [], (), False)
    ]
    if others:
        wanted = "it alone, or with --steps and --observer: a run keeps its configuration otherwise"
        raise InputError(f"found {', '.join(others)} with --resume, wanted {wanted}")
