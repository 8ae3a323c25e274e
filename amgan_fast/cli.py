"""The command ``amgan-fast``: parses, then calls one function."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Literal

import typer

from amgan_fast import build_info
from amgan_fast.errors import InputError

app = typer.Typer(
    help="Train AM-GAN and its relatives, and score generative models.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


def main() -> None:
    app()


Device = Annotated[
    Literal["auto", "cpu", "cuda"], typer.Option(help="auto: CUDA where there is a GPU and kernels for it")
]


@app.command()
def train(
    model: Annotated[Literal["amgan", "labelgan", "gan"], typer.Option(help="what the networks minimise")] = "amgan",
    labels: Annotated[
        Literal["dynamic", "predefined"],
        typer.Option(help="dynamic: a sample's class is the likeliest one; predefined: the generator is given it"),
    ] = "dynamic",
    dataset: Annotated[
        Literal["digits", "fashion-mnist"], typer.Option(help="digits come with scikit-learn: nothing to download")
    ] = "digits",
    steps: Annotated[int | None, typer.Option(min=1, help="default: the dataset's recipe")] = None,
    batch_size: Annotated[int | None, typer.Option(min=2, help="default: the dataset's recipe")] = None,
    seed: Annotated[int, typer.Option(min=0, help="the same seed gives the same run on a CPU")] = 0,
    out: Annotated[Path | None, typer.Option(help="run folder, new or empty; default: a new one in runs/")] = None,
    data_dir: Annotated[Path | None, typer.Option(help="the dataset's files, if not in their usual place")] = None,
    device: Device = "auto",
) -> None:
    """Train a generator, score it, and leave a run folder: samples.png, curves.png, summary.json and more."""
    from rich.console import Console

    from amgan_fast.console import ProgressBar, evaluation_table
    from amgan_fast.runs import Config
    from amgan_fast.train import train

    given = {
        "steps": steps,
        "batch_size": batch_size,
        "data_dir": None if data_dir is None else str(data_dir.absolute()),
    }
    console = Console()
    with _errors_in_one_line():
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
    console.print(evaluation_table(result.evaluation, dataset))
    console.print(f"samples: {result.folder.samples}", markup=False, highlight=False, soft_wrap=True)


@app.command()
def evaluate(
    run: Annotated[Path, typer.Option(help="the folder of a training run")],
    samples: Annotated[int, typer.Option(min=1, help="how many samples to score")] = 50_000,
    device: Device = "auto",
    as_json: Annotated[bool, typer.Option("--json", help="print JSON instead of a table")] = False,
) -> None:
    """Score a finished run again, beside held-out real images."""
    from rich.console import Console

    from amgan_fast.console import evaluation_table
    from amgan_fast.evaluate import evaluate_run
    from amgan_fast.runs import Config, RunFolder

    with _errors_in_one_line():
        evaluation = evaluate_run(run, samples=samples, device=device)
    if as_json:
        typer.echo(json.dumps(evaluation.to_dict(), indent=2))
    else:
        Console().print(evaluation_table(evaluation, Config.load(RunFolder(run).config).dataset))


@app.command()
def info(as_json: Annotated[bool, typer.Option("--json", help="print JSON instead of lines")] = False) -> None:
    """Print what this build can do: versions, CPU instruction set, CUDA and why not."""
    facts = build_info()
    if as_json:
        typer.echo(json.dumps(facts, indent=2))
        return
    for name, value in facts.items():
        shown = ", ".join(map(str, value)) if isinstance(value, (list, tuple)) else value
        typer.echo(f"{name}: {shown}")


@contextmanager
def _errors_in_one_line() -> Iterator[None]:
    try:
        yield
    except InputError as error:
        typer.echo(f"amgan-fast: {error}", err=True)
        raise typer.Exit(2) from None
    except FloatingPointError as error:
        typer.echo(f"amgan-fast: training stopped: {error}", err=True)
        raise typer.Exit(1) from None
