"""``amgan-fast train``"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from amgan_fast.cli.common import DataDir, DatasetName, Device, errors_in_one_line


def train(
    model: Annotated[Literal["amgan", "labelgan", "gan"], typer.Option(help="what the networks minimise")] = "amgan",
    labels: Annotated[
        Literal["dynamic", "predefined"],
        typer.Option(help="dynamic: a sample's class is the likeliest one; predefined: the generator is given it"),
    ] = "dynamic",
    dataset: Annotated[DatasetName, typer.Option(help="digits come with scikit-learn: nothing to download")] = "digits",
    steps: Annotated[int | None, typer.Option(min=1, help="default: the dataset's recipe")] = None,
    batch_size: Annotated[int | None, typer.Option(min=2, help="default: the dataset's recipe")] = None,
    seed: Annotated[int, typer.Option(min=0, help="the same seed gives the same run on a CPU")] = 0,
    out: Annotated[Path | None, typer.Option(help="run folder, new or empty; default: a new one in runs/")] = None,
    data_dir: DataDir = None,
    device: Device = "auto",
) -> None:
    """Train a generator, score it, and leave a run folder: samples.png, curves.png, summary.json and more."""
    from rich.console import Console

    from amgan_fast.console import ProgressBar, print_evaluation
    from amgan_fast.runs import Config
    from amgan_fast.train import train

    given = {
        "steps": steps,
        "batch_size": batch_size,
        "data_dir": None if data_dir is None else str(data_dir.absolute()),
    }
    console = Console()
    with errors_in_one_line():
        config = Config.for_dataset(
            dataset,
            model=model,
            labels=labels,
            seed=seed,
            device=device,
            **{name: value for name, value in given.items() if value is not None},
        )
        with ProgressBar(console) as progress:
            result = train(config, out, progress)
    print_evaluation(console, result.evaluation)
    console.print(f"samples: {result.folder.samples}", markup=False, highlight=False, soft_wrap=True)
