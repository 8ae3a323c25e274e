"""What a run would be, and about how long it would take."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import torch
from torch import nn

from amgan_fast.data import Dataset
from amgan_fast.device import cpu_threads, current_gpu
from amgan_fast.evaluate import TrainedClassifier, score_generator
from amgan_fast.metrics import without_score_warnings
from amgan_fast.nn import Sampler, build_classifier
from amgan_fast.processes import Share
from amgan_fast.progress import Observer
from amgan_fast.runs import Config, RunFolder
from amgan_fast.runs.toml import toml_text
from amgan_fast.seeds import Purpose
from amgan_fast.train.classifier_training import cached_classifier_path
from amgan_fast.train.gradient_mode import with_gradients
from amgan_fast.train.job import Job
from amgan_fast.train.moment import Moment
from amgan_fast.train.real_images import RealImages
from amgan_fast.train.setup import build_step
from amgan_fast.train.start import prepare
from amgan_fast.train.step import AdversarialStep

_WARM_UP = 2  # steps: optimisers make their state, libraries choose their kernels
_SECONDS = 2.0  # that steps are tried for, and scores
_FEWEST = 3
_SAMPLES = 500


@dataclass(frozen=True)
class Times:
    """What a run takes, as measured now."""

    step: float
    """Seconds."""
    sample: float
    """Seconds of one that is made and scored."""

    def of_run(self, config: Config, taken: int = 0) -> float:
        """Seconds of its steps and scores, behind the ``taken`` first steps; without the classifier's training,
        checkpoints and pictures."""
        scorings = config.steps // config.score_every - taken // config.score_every
        scored = scorings * config.score_samples + config.final_samples
        return (config.steps - taken) * self.step + scored * self.sample


@dataclass(frozen=True)
class Estimate:
    """A run that was not made."""

    config: Config
    dataset: str
    """In a line."""
    folder: Path
    classifier: Path | None
    """Where the classifier is that the run will be scored with; None: it will be trained first."""
    generator_parameters: int
    discriminator_parameters: int
    bytes_at_least: int
    """That weights, gradients, averages and what a step keeps take, without what an own network does that cannot be
    told from shapes."""
    times: Times

    @property
    def seconds(self) -> float:
        """:meth:`Times.of_run`."""
        return self.times.of_run(self.config)

    def lines(self) -> list[str]:
        """For the terminal: the configuration as TOML, then what is known beside it."""
        config = self.config
        classifier = "is to be trained first" if self.classifier is None else str(self.classifier)
        rate = config.batch_size / self.times.step
        return [
            *toml_text(config.to_dict()).splitlines(),
            "",
            f"dataset:       {self.dataset}",
            f"run folder:    {self.folder}",
            f"classifier:    {classifier}",
            f"generator:     {self.generator_parameters:,} parameters",
            f"discriminator: {self.discriminator_parameters:,} parameters",
            f"memory:        {self.bytes_at_least / 2**20:,.0f} MiB at least, beside the images",
            f"speed:         {1000 * self.times.step:,.2f} ms a step, {rate:,.0f} images/s, as measured now",
            f"time:          about {timedelta(seconds=round(self.seconds))} for {config.steps:,} steps and scores",
            "nothing was trained, and nothing written",
        ]


def dry_run(
    config: Config, out: Path | None = None, observer: Observer | None = None, share: Share | None = None
) -> Estimate:
    """Check all that :func:`amgan_fast.train.train` checks, take a few steps in memory, score a few samples with an
    untrained classifier, and say what the run would be. Nothing is written.

    A step that would be replayed as a CUDA graph takes longer here, where it is not.

    Raises:
        InputError: as :func:`amgan_fast.train.train`.

    >>> from amgan_fast.runs import Config
    >>> from amgan_fast.train import dry_run
    >>> estimate = dry_run(Config(steps=100))
    >>> estimate.generator_parameters, estimate.seconds > 0
    (91200, True)
    """
    job = Job.of(config, RunFolder.new(out, config), observer, share or Share())
    with current_gpu(job.device):
        dataset, guide, size = prepare(job)
        step, times = try_steps(job, dataset, guide)
    kept = cached_classifier_path(dataset)
    return Estimate(
        config,
        dataset.describe(),
        job.folder.path,
        kept if kept.exists() else None,
        _parameters(step.generator),
        _parameters(step.discriminator),
        bytes_at_least=size,
        times=times,
    )


@with_gradients
def try_steps(job: Job, dataset: Dataset, guide: TrainedClassifier | None) -> tuple[AdversarialStep, Times]:
    """A new run's step after some of them, and what they and the scoring of samples took."""
    config, devices = job.config, [job.device] if job.device.type == "cuda" else []
    with cpu_threads(config.threads), torch.random.fork_rng(devices):
        step = build_step(job, dataset, None if guide is None else guide.network)
        return step, Times(_time_of_a_step(job, dataset, step), _time_of_a_sample(job, dataset, step.sampler))


def _parameters(network: nn.Module) -> int:
    return sum(one.numel() for one in network.parameters())


def _time_of_a_step(job: Job, dataset: Dataset, step: AdversarialStep) -> float:
    images = RealImages(job, dataset)

    def once() -> None:
        step(*images.prepare(*images.take()))

    for _ in range(_WARM_UP):
        once()
    return _time_of(once, job.device)


def _time_of_a_sample(job: Job, dataset: Dataset, sampler: Sampler) -> float:
    classifier = build_classifier("cnn", dataset.image_shape, dataset.num_classes).to(job.device).eval()
    samples = min(_SAMPLES, job.config.score_samples)

    def once() -> None:
        random = job.random(Purpose.SCORES_ON_THE_WAY)
        reference = dataset.class_frequencies().to(job.device)
        with without_score_warnings():
            score_generator(sampler, classifier, reference, samples=samples, random=random)

    return _time_of(once, job.device) / samples


def _time_of(work: Callable[[], None], device: torch.device) -> float:
    """Seconds, the median of as many as there is time for."""
    times: list[float] = []
    start = time.perf_counter()
    while len(times) < _FEWEST or time.perf_counter() - start < _SECONDS:
        before = Moment(device)
        work()
        times.append(Moment(device).seconds_since(before))
    return sorted(times)[len(times) // 2]
