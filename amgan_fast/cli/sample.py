"""``amgan-fast sample``"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from amgan_fast.cli.command import command
from amgan_fast.errors import InputError, printable
from amgan_fast.option_declarations import AllowCode, Device, Option, SampleFormat
from amgan_fast.user_code import module_names

_FILES = "Files of samples"


@command
def sample(
    run: Annotated[Path, Option("the folder of a training run, or one of its checkpoints")],
    out: Annotated[
        Path | None, Option("folder for the sheets, default: RUN/sheets; with --count, the folder or file of samples")
    ] = None,
    seed: Annotated[
        int | None, Option("of the samples; default: 0 for the sheets, with --count the run's", lowest=0)
    ] = None,
    count: Annotated[int | None, Option("write so many samples, without sheets", _FILES, lowest=1)] = None,
    format: Annotated[
        SampleFormat | None,
        Option("png: a folder of them; npz: uint8 [N, H, W, C] as arr_0, labels as arr_1; default: as --out", _FILES),
    ] = None,
    labels: Annotated[
        str | None,
        Option(
            "of predefined labels, what is asked for: random, balanced, 0,3,7 (each as often) or 0:100,3:50",
            _FILES,
            placeholder="<classes>",
        ),
    ] = None,
    by_class: Annotated[bool, Option("png: a folder for each class, not labels.csv", _FILES)] = False,
    rgb: Annotated[bool, Option("three equal channels of grey images", _FILES)] = False,
    device: Device = "auto",
    allow_code: AllowCode = None,
) -> None:
    """Draw a grid of samples, an interpolation sheet and a sheet with a row a class; or write samples as files."""
    files = count is not None or (labels is not None and ":" in labels)
    if not files and (format is not None or labels is not None or by_class or rgb):
        raise InputError("found options of files without --count, wanted the number of samples")
    if files and out is None:
        raise InputError("found --count without --out, wanted a new folder for png, or a new .npz")

    from rich.console import Console

    from amgan_fast.console import ProgressBar
    from amgan_fast.evaluate import save_samples
    from amgan_fast.evaluate.sheets import save_sheets

    allowed = module_names(allow_code)
    with ProgressBar(Console(stderr=True)) as bar:
        if files and out is not None:
            form: SampleFormat = format or ("npz" if out.suffix == ".npz" else "png")
            save_samples(
                run,
                out,
                count,
                form=form,
                labels=labels,
                by_class=by_class,
                rgb=rgb,
                seed=seed,
                device=device,
                progress=bar.progress,
                allow_code=allowed,
            )
            written = [out]
        else:
            written = save_sheets(
                run,
                out or (run.parent if run.is_file() else run) / "sheets",
                seed=seed or 0,
                device=device,
                progress=bar.progress,
                allow_code=allowed,
            )
    for path in written:
        typer.echo(printable(str(path)))
