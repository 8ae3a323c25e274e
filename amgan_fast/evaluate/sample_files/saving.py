"""From a run to files of its samples."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from pathlib import Path
from typing import get_args

import torch
from torch import Tensor

from amgan_fast.data import to_uint8
from amgan_fast.device import cpu_threads, resolve_device
from amgan_fast.errors import InputError, as_input_error
from amgan_fast.evaluate.classifiers.trained import read_classifier
from amgan_fast.evaluate.sample_files.asked_labels import asked_labels
from amgan_fast.evaluate.sample_files.npz import write_npz
from amgan_fast.evaluate.sample_files.png import write_png_folder
from amgan_fast.files import check_new_folder, check_writable
from amgan_fast.nn import Sampler
from amgan_fast.option_checks import check_that
from amgan_fast.option_declarations import SampleFormat
from amgan_fast.progress import Progress, to_no_one
from amgan_fast.seeds import Purpose, random_stream


def save_samples(
    path: Path,
    out: Path,
    count: int | None = None,
    *,
    form: SampleFormat = "png",
    labels: str | None = None,
    by_class: bool = False,
    rgb: bool = False,
    seed: int | None = None,
    device: str = "auto",
    progress: Progress | None = None,
    allow_code: Collection[str] = (),
) -> int:
    """Write samples of a run's averaged generator, however many, and return their number. Pixels are rounded to 0..255.

    The samples are those of :meth:`amgan_fast.nn.Sampler.batches`, whatever the form; drawn at random, and of the run's
    own seed, those that ``amgan-fast evaluate --run`` scores. In memory are a batch of 500, and labels. The dataset is
    not needed.

    Args:
        path: the run, or one of its checkpoints.
        out: a new .npz file (:func:`amgan_fast.evaluate.sample_files.npz.write_npz`), or a new or empty folder
            (:func:`amgan_fast.evaluate.sample_files.png.write_png_folder`). It is there once it is whole.
        count: how many; None: what ``labels`` says.
        labels: as of :func:`amgan_fast.evaluate.sample_files.asked_labels.asked_labels`, of a generator with predefined
            labels; None: drawn as in training.
        by_class: a folder for each class, of PNG files of such a generator.
        rgb: three equal channels of grey images.
        seed: the samples that a run of this seed is scored with; None: the run's own.
        progress: told how many samples are made.
        allow_code: as of :func:`amgan_fast.evaluate.open_run`.

    Raises:
        InputError: ``path`` is no run, ``out`` is there or cannot be written, or options that do not fit the run.

    >>> from pathlib import Path
    >>> import numpy as np
    >>> from amgan_fast.evaluate import save_samples
    >>> save_samples(Path("runs/digits"), Path("samples.npz"), 1000, form="npz")
    1000
    >>> with np.load("samples.npz") as file:
    ...     print(file["arr_0"].shape, file["arr_0"].dtype)
    (1000, 8, 8, 1) uint8
    """
    from amgan_fast.runs import Config, find_checkpoint, load_sampler

    with as_input_error():
        check_that(form in get_args(SampleFormat), "format", form, f"one of {', '.join(get_args(SampleFormat))}")
    _check_out(out, form, by_class)
    run, checkpoint = find_checkpoint(path)
    run.require_trained()
    config = Config.load(run.config, allow_code=allow_code)
    sampler = load_sampler(config, checkpoint, resolve_device(device))
    asked = _asked(path, sampler, labels, count, by_class)
    count = count if asked is None else len(asked)
    if count is None or count < 1:
        raise InputError(f"count is {count}, wanted at least 1 sample")
    names = read_classifier(run.classifier).class_names if form == "png" else None
    random = random_stream(config.seed if seed is None else seed, Purpose.EVALUATION, sampler.device)
    images = _pixels(sampler, count, random, asked, rgb, progress or to_no_one)
    with cpu_threads(config.threads):
        try:
            if form == "npz":
                write_npz(out, count, images)
            else:
                write_png_folder(out, count, images, class_names=names or (), by_class=by_class)
        except OSError as error:
            raise InputError(f"{out} cannot be written ({error.strerror}); nothing is left of it") from error
    return count


def _check_out(out: Path, form: SampleFormat, by_class: bool) -> None:
    if form == "png":
        check_new_folder("--out", out)
        return
    if by_class:
        raise InputError("found --by-class with --format npz, wanted it with png: labels are in the file")
    if out.suffix != ".npz" or out.exists():
        raise InputError(f"--out is {out}{', which exists' * out.exists()}, wanted a new name that ends in .npz")
    check_writable("--out", out)


def _asked(path: Path, sampler: Sampler, labels: str | None, count: int | None, by_class: bool) -> Tensor | None:
    if sampler.latent.num_labels is not None:
        return asked_labels("random" if labels is None else labels, count, sampler.latent.num_labels)
    if labels is not None or by_class:
        option = "--by-class" if labels is None else f"--labels {labels}"
        raise InputError(f"found {option}, wanted it with predefined labels: {path} has dynamic ones")
    return None


def _pixels(
    sampler: Sampler,
    count: int,
    random: torch.Generator,
    asked: Tensor | None,
    rgb: bool,
    progress: Progress,
) -> Iterator[tuple[Tensor, Tensor | None]]:
    """uint8 [n, C, H, W] and labels, on the CPU."""
    done = 0
    progress("samples", 0, count)
    for images, labels in sampler.batches(count, random, labels=asked):
        pixels = to_uint8(images)
        if rgb:
            pixels = pixels.expand(-1, 3, -1, -1)
        yield pixels.cpu(), None if labels is None else labels.cpu()
        done += len(images)
        progress("samples", done, count)
