"""``amgan-fast compare``"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from signal import SIGINT
from typing import Annotated, Any

import typer

from amgan_fast.cli.command import command, complain
from amgan_fast.cli.dataset_option import Dataset
from amgan_fast.files import file_name
from amgan_fast.option_declarations import (
    LABEL_NAMES,
    MODEL_NAMES,
    NAMES_OF_MODELS,
    AllowCode,
    DataDir,
    Device,
    Option,
    RecipeName,
    check_dataset,
)
from amgan_fast.user_code import module_names

_SHARED = "Settings that all runs share"


@command
def compare(
    dataset: Dataset = "digits",
    data_dir: DataDir = None,
    config: Annotated[Path | None, Option("a .toml of settings that all runs share", _SHARED)] = None,
    setting: Annotated[
        list[str] | None,
        Option(
            "any other setting, as in config.toml: --set steps=1000", _SHARED, flag="--set", placeholder="<name=value>"
        ),
    ] = None,
    recipe: Annotated[RecipeName | None, Option("as of amgan-fast train; all runs share it", _SHARED)] = None,
    models: Annotated[
        str | None,
        Option(
            f"some of {NAMES_OF_MODELS}, module:Class, with commas between; default: those of the paper's tables",
            placeholder="<names>",
            values=MODEL_NAMES,
            several=True,
        ),
    ] = None,
    labels: Annotated[
        str,
        Option(
            "dynamic, predefined, or both with a comma between",
            placeholder="<names>",
            values=LABEL_NAMES,
            several=True,
        ),
    ] = "dynamic,predefined",
    seeds: Annotated[int, Option("runs of each, from --seed on", lowest=1)] = 3,
    seed: Annotated[int, Option("the first", lowest=0)] = 0,
    jobs: Annotated[int, Option("runs at the same time, in processes of their own", lowest=1)] = 1,
    out: Annotated[Path | None, Option("folder, new or to go on with; default: compare/DATASET")] = None,
    device: Device = "auto",
    allow_code: AllowCode = None,
    dry_run: Annotated[
        bool, Option("print settings, runs and about how long they take, and train and write nothing")
    ] = False,
) -> None:
    """Train every model with both labellings and several seeds, and write the paper's tables 1 and 3 and its curves.

    Runs that are finished stay as they are and those that were stopped go on: the same command does for both.
    """
    check_dataset(dataset)

    from rich.console import Console

    from amgan_fast.compare import COMPARED, plan
    from amgan_fast.compare import compare as run_all
    from amgan_fast.compare import dry_run as estimate
    from amgan_fast.console import ProgressBar, print_line
    from amgan_fast.runs import Config
    from amgan_fast.train import TrainingStopped

    console = Console()
    root = out or Path("compare") / file_name(dataset)
    options: dict[str, Any] = {"dataset": dataset, "seed": seed, "device": device}
    if recipe is not None:
        options["recipe"] = recipe
    if data_dir is not None:
        options["data_dir"] = str(data_dir.absolute())
    notify = partial(print_line, console)
    base = Config.compose(config, options, setting or [], notify, allow_code=module_names(allow_code))
    names = [name.strip() for name in models.split(",")] if models else COMPARED
    cells = plan(base, models=names, labels=labels.split(","), seeds=seeds)
    if dry_run:
        with ProgressBar(console) as progress:
            found = estimate(root, cells, jobs=jobs, observer=progress)
        for line in found.lines():
            print_line(console, line)
        return
    with ProgressBar(console) as progress:
        try:
            run_all(root, cells, jobs=jobs, observer=progress)
        except (TrainingStopped, KeyboardInterrupt) as stopped:
            complain("stopped; the same command goes on")
            raise typer.Exit(128 + (stopped.signal if isinstance(stopped, TrainingStopped) else SIGINT)) from None
    console.print((root / "comparison.md").read_text(encoding="utf-8"), markup=False, highlight=False, soft_wrap=True)
    print_line(console, f"tables and curves: {root}")
