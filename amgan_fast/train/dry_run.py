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
from amgan_fast.evaluate import score_generator
from amgan_fast.metrics import without_score_warnings
from amgan_fast.nn import Sampler, build_classifier
from amgan_fast.processes import Share
from amgan_fast.progress import Observer
from amgan_fast.runs import Config, RunFolder
from amgan_fast.runs.toml import toml_text
from amgan_fast.seeds import Purpose
from amgan_fast.train.classifier_training import cached_classifier_path
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
    step_seconds: float
    """Of a step, as measured now."""
    sample_seconds: float
    """Of a sample that is made and scored."""

    @property
    def seconds(self) -> float:
        """Of steps and scores; without the classifier's training, checkpoints and pictures."""
        config = self.config
        scored = (config.steps // config.score_every) * config.score_samples + config.final_samples
        return config.steps * self.step_seconds + scored * self.sample_seconds

    def lines(self) -> list[str]:
        """For the terminal: the configuration as TOML, then what is known beside it."""
        config = self.config
        classifier = "is to be trained first" if self.classifier is None else str(self.classifier)
        rate = config.batch_size / self.step_seconds
        return [
            *toml_text(config.to_dict()).splitlines(),
            "",
            f"dataset:       {self.dataset}",
            f"run folder:    {self.folder}",
            f"classifier:    {classifier}",
            f"generator:     {self.generator_parameters:,} parameters",
            f"discriminator: {self.discriminator_parameters:,} parameters",
            f"memory:        {self.bytes_at_least / 2**20:,.0f} MiB at least, beside the images",
            f"speed:         {1000 * self.step_seconds:,.2f} ms a step, {rate:,.0f} images/s, as measured now",
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
        with cpu_threads(config.threads), torch.random.fork_rng([job.device] if job.device.type == "cuda" else []):
            step = build_step(job, dataset, None if guide is None else guide.network)
            step_seconds = _time_of_a_step(job, dataset, step)
            sample_seconds = _time_of_a_sample(job, dataset, step.sampler)
    kept = cached_classifier_path(dataset)
    return Estimate(
        config,
        dataset.describe(),
        job.folder.path,
        kept if kept.exists() else None,
        _parameters(step.generator),
        _parameters(step.discriminator),
        bytes_at_least=size,
        step_seconds=step_seconds,
        sample_seconds=sample_seconds,
    )


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
