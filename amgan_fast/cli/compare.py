"""``amgan-fast compare``"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Annotated, Any, get_args

import typer

from amgan_fast.cli.command import command, complain
from amgan_fast.cli.dataset_option import Dataset
from amgan_fast.option_declarations import DataDir, Device, ModelName, Option, RecipeName


@command
def compare(
    dataset: Dataset = "digits",
    data_dir: DataDir = None,
    config: Annotated[Path | None, Option("a .toml of settings that all runs share")] = None,
    setting: Annotated[
        list[str] | None, Option("any other setting, as in config.toml: --set steps=1000", flag="--set")
    ] = None,
    recipe: Annotated[RecipeName | None, Option("as of amgan-fast train; all runs share it")] = None,
    models: Annotated[
        str | None, Option(f"some of {','.join(get_args(ModelName))}; default: those of the paper's tables")
    ] = None,
    labels: Annotated[str, Option("dynamic, predefined, or both with a comma between")] = "dynamic,predefined",
    seeds: Annotated[int, Option("runs of each, from --seed on", lowest=1)] = 3,
    seed: Annotated[int, Option("the first", lowest=0)] = 0,
    jobs: Annotated[int, Option("runs at the same time, in processes of their own", lowest=1)] = 1,
    out: Annotated[Path | None, Option("folder, new or to go on with; default: compare/DATASET")] = None,
    device: Device = "auto",
) -> None:
    """Train every model with both labellings and several seeds, and write the paper's tables 1 and 3 and its curves.

    Runs that are finished stay as they are and those that were stopped go on: the same command does for both.
    """
    from rich.console import Console

    from amgan_fast.compare import COMPARED, plan
    from amgan_fast.compare import compare as run_all
    from amgan_fast.console import ProgressBar, print_line
    from amgan_fast.runs import Config
    from amgan_fast.train import TrainingStopped

    console = Console()
    root = out or Path("compare") / dataset
    options: dict[str, Any] = {"dataset": dataset, "seed": seed, "device": device}
    if recipe is not None:
        options["recipe"] = recipe
    if data_dir is not None:
        options["data_dir"] = str(data_dir.absolute())
    base = Config.compose(config, options, setting or [], partial(print_line, console))
    cells = plan(base, models=models.split(",") if models else COMPARED, labels=labels.split(","), seeds=seeds)
    with ProgressBar(console) as progress:
        try:
            run_all(root, cells, jobs=jobs, observer=progress)
        except (TrainingStopped, KeyboardInterrupt):
            complain("stopped; the same command goes on")
            raise typer.Exit(130) from None
    console.print((root / "comparison.md").read_text(encoding="utf-8"), markup=False, highlight=False, soft_wrap=True)
    print_line(console, f"tables and curves: {root}")
