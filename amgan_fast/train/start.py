"""A run from its beginning, or from where it was stopped, to its end."""

from __future__ import annotations

import signal
from collections.abc import Collection, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path

import torch

from amgan_fast.data import Dataset
from amgan_fast.device import cpu_threads, current_gpu
from amgan_fast.errors import InputError
from amgan_fast.evaluate import TrainedClassifier, load_classifier
from amgan_fast.processes import Share
from amgan_fast.progress import Observer
from amgan_fast.runs import Checkpoint, Config, RunFolder
from amgan_fast.train.capture import is_captured
from amgan_fast.train.checkpoints import go_back_to, last_checkpoint
from amgan_fast.train.checks import check_run
from amgan_fast.train.classifier_training import cached_classifier
from amgan_fast.train.finish import Result, finish
from amgan_fast.train.gradient_mode import with_gradients
from amgan_fast.train.guide import notes_on_guide, read_guide
from amgan_fast.train.init import check_init, start_from
from amgan_fast.train.job import Job
from amgan_fast.train.loop import take_steps
from amgan_fast.train.stopping import TrainingStopped, stop_on_signal
from amgan_fast.train.training import Training


@with_gradients
def train(
    config: Config, out: Path | None = None, observer: Observer | None = None, share: Share | None = None
) -> Result:
    """Train, score and leave a run folder; on a CPU the same configuration gives the same run.

    Args:
        out: the run folder, which must be empty or not exist; None: a new one in ``runs/``.
        observer: told what happens; None: no one.
        share: of several processes in torch's default process group, this one; each takes its part of every batch.

    Raises:
        InputError: something in the configuration or ``out`` cannot be used, and nothing was trained; or a file
            cannot be written, and those before it are as they were; or an observer has raised an error, and the run is
            saved.
        FloatingPointError: a loss is no longer finite; the last good checkpoint is named.
        TrainingStopped: a signal ended it; :func:`resume` goes on.

    >>> from pathlib import Path
    >>> from amgan_fast.runs import Config
    >>> from amgan_fast.train import train
    >>> result = train(Config(steps=10, score_samples=500, final_samples=500), Path("runs/short"))
    >>> result.folder.samples.as_posix()
    'runs/short/samples.png'
    """
    job = Job.of(config, RunFolder.new(out, config), observer, share or Share())
    with current_gpu(job.device):
        dataset, guide, _ = prepare(job)
        with _held(job.folder, job.writes):
            if job.writes:
                job.folder.create(config)
            return _run(job, dataset, guide, None)


def prepare(job: Job) -> tuple[Dataset, TrainedClassifier | None, int]:
    """What a new run is of: images, what guides it, and the bytes that its steps take at least. Nothing is written.

    Raises:
        InputError: as :func:`train`.
    """
    if job.writes:
        job.folder.check_unused()
    dataset, size = _dataset(job)
    if job.config.init is not None:
        check_init(job.config, dataset)
    return dataset, read_guide(job.config, job.folder, dataset, job.device), size


@with_gradients
def resume(
    path: Path,
    observer: Observer | None = None,
    share: Share | None = None,
    *,
    steps: int | None = None,
    allow_code: Collection[str] = (),
) -> Result:
    """Go on with a run from its last checkpoint, as if it had not ended: on a CPU with the same weights to the bit.
    A run that has no checkpoint yet begins anew from its configuration.

    With another number of processes the run sees the same images and latents as before, but no longer to the bit what
    it would have become: each process normalises a part of another size of every batch, and all but the first draw
    new noise in their layers.

    Args:
        steps: in all, more than it has taken: the run ends there, whether it was finished or not, with the weights that
            it would have, had that been its number of steps from the beginning. None: as its configuration has it.
        allow_code: modules that its configuration may name code of, such as an own generator: what a file names is
            not run unless it is allowed.

    Raises:
        InputError: ``path`` is no run or another process goes on with it, its configuration was changed since, no
            checkpoint can be read, or it has taken as many steps as ``steps``.
        FloatingPointError, TrainingStopped: as :func:`train`.

    >>> from pathlib import Path
    >>> from amgan_fast.train import resume
    >>> resume(Path("nowhere"))
    Traceback (most recent call last):
    amgan_fast.errors.InputError: nowhere has no config.toml, wanted the folder of a training run
    """
    share = share or Share()
    folder = RunFolder.open(path)
    with _held(folder, share.rank == 0):
        job = Job.of(Config.load(folder.config, allow_code=allow_code), folder, observer, share)
        checkpoint = last_checkpoint(job)
        if steps is not None:
            job = _extended(job, steps, 0 if checkpoint is None else checkpoint.steps)
        with current_gpu(job.device):
            dataset, _ = _dataset(job)
            guide = read_guide(job.config, folder, dataset, job.device)
            if steps is not None and job.writes:
                job.config.save(folder.config)
            return _run(job, dataset, guide, checkpoint)


def _extended(job: Job, steps: int, taken: int) -> Job:
    if steps <= taken:
        raise InputError(f"steps is {steps:,}, wanted more than the {taken:,} that {job.folder.path} has taken")
    return replace(job, config=replace(job.config, steps=steps))


@contextmanager
def _held(folder: RunFolder, writes: bool) -> Iterator[None]:
    """No other run may use the folder. Ctrl-C comes here before the first step and after the last one, when there is
    nothing to be saved; between them it is :func:`stop_on_signal`'s."""
    with folder.hold() if writes else nullcontext():
        try:
            yield
        except KeyboardInterrupt:
            steps = Checkpoint.load_last(folder.checkpoint)[0].steps if folder.has_checkpoint else 0
            raise TrainingStopped(folder, steps, signal.SIGINT) from None


def _dataset(job: Job) -> tuple[Dataset, int]:
    """The images on the device, once it is sure that the run can be one of so many processes there, and the bytes that
    its steps take at least."""
    config = job.config
    if config.batch_size % job.share.ranks:
        raise InputError(f"batch_size is {config.batch_size}, wanted a multiple of the {job.share.ranks} processes")
    is_captured(config, job.device, job.share.ranks)  # refuses what it cannot be
    dataset = config.load_dataset(job.observer.progress)
    job.observer.message(dataset.describe())
    size = check_run(config, dataset, job.device, job.share.ranks)
    if config.batch_size > (count := len(dataset.train_images)):
        job.observer.message(
            f"batch_size is {config.batch_size}: a batch has some of the {count} images more than once"
        )
    return dataset.to_if_it_fits(job.device), size


def _run(job: Job, dataset: Dataset, guide: TrainedClassifier | None, checkpoint: Checkpoint | None) -> Result:
    config, device = job.config, job.device
    if guide is not None and job.writes and checkpoint is None:
        guide.save(job.folder.guidance_classifier)
    captured = is_captured(config, device, job.share.ranks)
    job.observer.message(f"run: {job.folder.path} on {device}{', each step one CUDA graph' * captured}")
    for note in config.notes():
        job.observer.message(note)
    with cpu_threads(config.threads), torch.random.fork_rng([device] if device.type == "cuda" else []):
        classifier = _classifier(job, dataset, kept=checkpoint is not None)
        if guide is not None:
            for note in notes_on_guide(guide, classifier, dataset):
                job.observer.message(note)
        training = Training(job, dataset, classifier, guide)
        go_back_to(training, checkpoint)
        with job.observer.of_run(job.folder.path, config.to_dict(), training.step.steps):
            if config.init is not None and checkpoint is None:
                start_from(training, Path(config.init))
            with stop_on_signal() as stop:
                take_steps(training, stop)
            return finish(training)


def _classifier(job: Job, dataset: Dataset, *, kept: bool) -> TrainedClassifier:
    """The run's own: the one in its folder, or for a new run that of the cache."""
    if kept:
        return load_classifier(job.folder.classifier, dataset)
    classifier = cached_classifier(dataset, job.observer)
    if job.writes:
        classifier.save(job.folder.classifier)
    return classifier
