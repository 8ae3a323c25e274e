"""A quick look at what a run's generator makes."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

import torch
from torch import Tensor

from amgan_fast.data import to_uint8
from amgan_fast.device import cpu_threads
from amgan_fast.drawing import save_sheet
from amgan_fast.errors import InputError
from amgan_fast.evaluate.gallery import class_sheet, sheet_names
from amgan_fast.evaluate.interpolation import interpolate_latents, save_interpolation
from amgan_fast.evaluate.run import OpenRun, open_run
from amgan_fast.progress import Progress, to_no_one
from amgan_fast.seeds import Purpose, random_stream

_ROWS, _COLUMNS = 10, 12
_SHEETS = ("grid.png", "interpolation.png", "classes.png")


def save_sheets(
    path: Path,
    out: Path,
    *,
    seed: int = 0,
    device: str = "auto",
    progress: Progress | None = None,
    allow_code: Collection[str] = (),
) -> list[Path]:
    """Draw three sheets of a run's averaged generator, and return where they are.

    - ``grid.png``: the first samples.
    - ``interpolation.png``: straight lines in latent space, one row each; with predefined labels row i is of class i.
    - ``classes.png``: a row for each class, of the first ten: what was asked for, or with dynamic labels what the run's
      classifier sees.

    Args:
        path: the run.
        out: a folder; it is made.
        seed: of the samples.
        progress: told of image files that are read, and of sheets that are drawn.
        allow_code: as of :func:`amgan_fast.evaluate.open_run`.

    Raises:
        InputError: ``path`` is no run, or ``out`` cannot be written to.
    """
    run = open_run(path, device, progress, allow_code=allow_code)
    random = random_stream(seed, Purpose.SHEETS, run.dataset.test_images.device)
    drawn = progress or to_no_one
    try:
        out.mkdir(parents=True, exist_ok=True)
        with cpu_threads(run.config.threads), torch.no_grad():
            drawn("sheets", 0, len(_SHEETS))
            save_sheet(out / "grid.png", _grid(run, random))
            drawn("sheets", 1, len(_SHEETS))
            _interpolate(out / "interpolation.png", run, random)
            drawn("sheets", 2, len(_SHEETS))
            rows = min(_ROWS, run.dataset.num_classes)
            classes, judge = run.dataset.num_classes, run.classifier.for_images()
            sheet = class_sheet(
                run.sampler,
                judge.logits,
                random,
                num_classes=classes,
                rows=rows,
                columns=_COLUMNS,
            )
            save_sheet(out / "classes.png", sheet, sheet_names(run.sampler, run.dataset.class_names, rows))
            drawn("sheets", 3, len(_SHEETS))
    except OSError as error:
        raise InputError(f"{out} cannot be written to ({error.strerror}), wanted a folder for --out") from None
    return [out / name for name in _SHEETS]


def _grid(run: OpenRun, random: torch.Generator) -> Tensor:
    images = torch.cat([batch for batch, _ in run.sampler.batches(_ROWS * _COLUMNS, random)])
    return to_uint8(images).unflatten(0, (_ROWS, _COLUMNS))


def _interpolate(path: Path, run: OpenRun, random: torch.Generator) -> None:
    generator, latent = run.sampler.generator, run.sampler.latent
    start, end = (latent.noise(_ROWS, random) for _ in range(2))
    condition = None
    if (classes := latent.num_labels) is not None:
        condition = torch.eye(classes, device=start.device)[torch.arange(_ROWS) % classes]
    save_interpolation(path, interpolate_latents(generator, start, end, steps=_COLUMNS, condition=condition))
