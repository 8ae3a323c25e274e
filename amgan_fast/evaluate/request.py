"""What a user asks for, as paths and names, made into sources, a classifier and a reference."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import dataclass, fields, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch

from amgan_fast.data import DATASETS, Dataset, load_dataset
from amgan_fast.device import cpu_threads
from amgan_fast.errors import InputError, as_input_error
from amgan_fast.evaluate.classifiers import ImageClassifier, open_classifier
from amgan_fast.evaluate.evaluation import Evaluation, evaluate
from amgan_fast.evaluate.measurements import Settings
from amgan_fast.evaluate.passes import Progress, of_files
from amgan_fast.evaluate.reference import Reference, measure_reference, read_reference
from amgan_fast.evaluate.run import OpenRun, held_out_images, open_run, training_images
from amgan_fast.evaluate.sources import (
    ImageFolderSource,
    LogitsSource,
    NpzSource,
    Source,
    open_source,
)
from amgan_fast.evaluate.sources.opening import refuse_another_kind
from amgan_fast.option_checks import LARGEST_INT, MOST_PROCESSES, check_range
from amgan_fast.processes import Share

_SOURCES = ("run", "images", "npz", "logits", "probabilities")
_RANGES = {
    "samples": (1, LARGEST_INT),
    "splits": (1, 100_000),
    "batch_size": (1, LARGEST_INT),
    "workers": (0, MOST_PROCESSES),
    "input_size": (1, 16_384),
}
_SAMPLES = 50_000


@dataclass(frozen=True)
class Request:
    """The options of ``amgan-fast evaluate``; exactly one of ``run``, ``images``, ``npz``, ``logits`` and
    ``probabilities`` is given. With the last, a ``.npy`` [N, K] as ``reference`` or ``held_out`` holds them too."""

    run: Path | None = None
    images: Path | None = None
    npz: Path | None = None
    logits: Path | None = None
    probabilities: Path | None = None
    labels: Path | None = None
    samples: int | None = None
    """With ``run``; None: 50,000."""
    skip_unreadable: bool = False
    allow_empty: bool = False
    classifier: str | None = None
    weights: Path | None = None
    last_bias: bool = True
    resize: str | None = None
    input_range: str | None = None
    input_size: int | None = None
    dtype: str = "float32"
    dataset: str | None = None
    data_dir: Path | None = None
    reference: Path | None = None
    held_out: Path | None = None
    splits: int = 10
    contiguous: bool = False
    skip_non_finite: bool = False
    batch_size: int | None = None
    workers: int = 0
    report: Path | None = None


def evaluate_request(
    request: Request, device: torch.device, progress: Progress | None = None, share: Share | None = None
) -> Evaluation:
    """Open everything, then evaluate.

    Raises:
        InputError: options that do not go together, or a file that cannot be used; nothing was scored.
        EvaluationError, EvaluationInterrupted: as :func:`amgan_fast.evaluate.evaluate`.
    """
    share, progress = share or Share(), progress or (lambda *_: None)
    _check(request)
    run = None if request.run is None else open_run(request.run, device, progress)
    classifier = _classifier(request, run, device)
    source = _source(request, run, classifier, progress)
    dataset = _dataset(request, run, classifier, device, progress)
    if classifier is not None and dataset is not None and _is_of(classifier, dataset):
        classifier = replace(classifier, class_names=dataset.class_names)  # files of earlier versions keep no names
    settings = Settings(
        batch_size=request.batch_size,
        splits=request.splits,
        contiguous=request.contiguous,
        skip_non_finite=request.skip_non_finite,
        modes=request.report is not None,
    )
    with nullcontext() if run is None else cpu_threads(run.config.threads):
        return evaluate(
            source,
            classifier,
            reference=_reference(request, classifier, dataset, settings, share, progress),
            held_out=_held_out(request, classifier, dataset, progress),
            settings=settings,
            progress=progress,
            share=share,
        )


def _check(request: Request) -> None:
    for name, (lowest, highest) in _RANGES.items():
        if (value := getattr(request, name)) is not None:
            with as_input_error():
                check_range(name, value, lowest, highest)
    given = [name for name in _SOURCES if getattr(request, name) is not None]
    if len(given) != 1:
        found = " and ".join(f"--{name}" for name in given) or "nothing to score"
        raise InputError(f"found {found}, wanted one of --run, --images, --npz, --logits and --probabilities")
    refuse_another_kind(f"--{given[0]}", getattr(request, given[0]))
    outputs = given[0] in ("logits", "probabilities")
    if request.labels is not None and request.run is not None:
        raise InputError("found --labels with --run, wanted one of them: a generator knows what it was asked for")
    if outputs and request.classifier is not None:
        raise InputError(
            f"found --classifier with --{given[0]}, wanted one of them: {given[0]} are a classifier's output"
        )
    if request.run is None and not outputs and request.classifier is None:
        raise InputError(f"found --{given[0]} without --classifier, wanted a classifier to score images with")
    if request.data_dir is not None and request.dataset is None:
        raise InputError("found --data-dir without --dataset, wanted the name of the dataset that is there")
    _refuse_what_does_nothing(request, outputs)


def _refuse_what_does_nothing(request: Request, outputs: bool) -> None:
    """
    Args:
        outputs: whether logits or probabilities are scored, not images.
    """
    folders = request.images is not None or any(
        path is not None and path.is_dir() for path in (request.reference, request.held_out)
    )
    rules = (
        (request.run is not None, "--run", ("samples",)),
        (request.classifier is not None, "--classifier", ("weights", "last_bias", "input_range", "input_size")),
        (not outputs, "--run or --classifier", ("resize", "dtype", "dataset")),
        (folders or request.dataset == "image-folder", "a folder of images", ("skip_unreadable",)),
        (folders, "a folder of images", ("workers", "allow_empty")),
    )
    defaults = {field.name: field.default for field in fields(request)}
    for used, user, names in rules:
        given = [name for name in names if getattr(request, name) != defaults[name]]
        if given and not used:
            option = "no-last-bias" if given[0] == "last_bias" else given[0].replace("_", "-")
            raise InputError(f"found --{option} without {user}, wanted it with {user} alone: it would do nothing")


def _classifier(request: Request, run: OpenRun | None, device: torch.device) -> ImageClassifier | None:
    if request.logits is not None or request.probabilities is not None:
        return None
    dtype = getattr(torch, request.dtype)
    if request.classifier is not None:
        return open_classifier(
            request.classifier,
            device=device,
            resize=request.resize,
            value_range=request.input_range,
            size=None if request.input_size is None else (request.input_size, request.input_size),
            dtype=dtype,
            weights=request.weights,
            last_bias=request.last_bias,
        )
    assert run is not None
    return run.classifier.for_images(resize=request.resize or "none", dtype=dtype)


def _source(request: Request, run: OpenRun | None, classifier: ImageClassifier | None, progress: Progress) -> Source:
    if run is not None:
        return run.source(_SAMPLES if request.samples is None else request.samples)
    if request.logits is not None:
        return LogitsSource(request.logits, labels=request.labels)
    if request.probabilities is not None:
        return LogitsSource(request.probabilities, labels=request.labels, probabilities=True)
    if request.npz is not None:
        return NpzSource(request.npz, labels=request.labels)
    assert request.images is not None
    return ImageFolderSource(request.images, labels=request.labels, **_folder_options(request, classifier, progress))


def _open(path: Path, request: Request, classifier: ImageClassifier | None, progress: Progress) -> Source:
    """Real samples."""
    probabilities = request.probabilities is not None
    return open_source(path, probabilities=probabilities, **_folder_options(request, classifier, progress))


def _folder_options(request: Request, classifier: ImageClassifier | None, progress: Progress) -> dict[str, Any]:
    return {
        "channels": None if classifier is None else classifier.inputs.channels,
        "mixed_sizes": classifier is not None and classifier.inputs.resize != "none",
        "skip_unreadable": request.skip_unreadable,
        "allow_empty": request.allow_empty,
        "workers": request.workers,
        "progress": partial(progress, "headers of image files"),
    }


def _dataset(
    request: Request,
    run: OpenRun | None,
    classifier: ImageClassifier | None,
    device: torch.device,
    progress: Progress,
) -> Dataset | None:
    """The real images: those asked for, of the run, or those the classifier knows, if they are here."""
    if request.dataset is not None:
        skip_unreadable = request.skip_unreadable and request.dataset == "image-folder"
        dataset = load_dataset(
            request.dataset, request.data_dir, progress=of_files(progress), skip_unreadable=skip_unreadable
        )
        return dataset.to(device)
    if run is not None:
        return run.dataset
    if classifier is None or classifier.dataset not in DATASETS or request.held_out is not None:
        return None
    try:
        dataset = load_dataset(classifier.dataset, progress=of_files(progress))
    except InputError:  # its files may be elsewhere, and nobody asked for them
        return None
    return dataset.to(device) if dataset.fingerprint() == classifier.fingerprint else None


def _reference(
    request: Request,
    classifier: ImageClassifier | None,
    dataset: Dataset | None,
    settings: Settings,
    share: Share,
    progress: Progress,
) -> Reference | None:
    if request.reference is not None:
        known = read_reference(request.reference)
        if known is not None:
            return known
        source = _open(request.reference, request, classifier, progress)
        return measure_reference(source, classifier, settings, share, progress)
    if classifier is None:
        return None
    if classifier.reference is not None and (request.dataset is None or _is_of(classifier, dataset)):
        return Reference(classifier.reference)
    if dataset is None:
        return None
    return measure_reference(training_images(dataset), classifier, settings, share, progress)


def _is_of(classifier: ImageClassifier, dataset: Dataset | None) -> bool:
    return dataset is not None and dataset.fingerprint() == classifier.fingerprint


def _held_out(
    request: Request, classifier: ImageClassifier | None, dataset: Dataset | None, progress: Progress
) -> Source | None:
    if request.held_out is not None:
        return _open(request.held_out, request, classifier, progress)
    if dataset is None or classifier is None:
        return None
    return held_out_images(dataset)
