"""The steps of a run, and what is logged and saved on the way."""

from __future__ import annotations

import math
import time
from typing import Any

from amgan_fast.evaluate import score_generator
from amgan_fast.metrics import SCORES, without_score_warnings
from amgan_fast.seeds import Purpose
from amgan_fast.train.capture import CapturedStep
from amgan_fast.train.checkpoints import save_checkpoint
from amgan_fast.train.stopping import Stop, TrainingStopped
from amgan_fast.train.training import Training


def take_steps(training: Training, stop: Stop) -> None:
    """All steps that are left.

    Raises:
        FloatingPointError: a loss, a weight or a sample is no longer finite.
        TrainingStopped: after the step in which ``stop`` was set, which is saved.
    """
    config, step = training.job.config, training.step
    advance = CapturedStep(step) if config.cuda_graph else step
    training.job.observer.progress("step", step.steps, config.steps)
    timer = _Timer()
    while step.steps < config.steps:
        advance(*next(training.images))
        last = step.steps == config.steps
        if step.steps % config.log_every == 0 or last:
            _log(training, timer.lap(), scored=step.steps % config.score_every == 0 or last)
            timer.lap()  # scoring and writing are no training time
        if step.steps % config.checkpoint_every == 0 or last or stop.signal:
            save_checkpoint(training)
            if stop.signal:  # only here is what it says true: that this step is saved
                raise TrainingStopped(training.job.folder, step.steps, stop.signal)


def _log(training: Training, seconds: float, *, scored: bool) -> None:
    """A row of metrics.jsonl, and with scores a grid of samples; ``seconds`` of training since the last one."""
    job, step, journal = training.job, training.step, training.journal
    training.seconds += seconds
    images = (step.steps - journal.last_step) * job.config.batch_size
    row = _losses(training) | {"seconds": training.seconds, "images_per_second": images / seconds}
    if scored:
        row |= _scores(training)
        journal.grid(step.steps, step.sampler, job.random(Purpose.PICTURES))
    journal.log(row)
    job.observer.progress("step", step.steps, job.config.steps)


def _losses(training: Training) -> dict[str, Any]:
    step = training.step
    discriminator_loss, generator_loss = step.pop_losses()
    if not math.isfinite(discriminator_loss + generator_loss):
        found = f"discriminator loss {discriminator_loss}, generator loss {generator_loss}; wanted finite losses"
        raise training.diverged(found)
    return {"step": step.steps, "discriminator_loss": discriminator_loss, "generator_loss": generator_loss}


def _scores(training: Training) -> dict[str, Any]:
    job, samples = training.job, training.job.config.score_samples
    classifier = training.classifier
    random = job.random(Purpose.SCORES_ON_THE_WAY)
    try:
        with without_score_warnings():  # of corrected scores and intervals, which are not logged
            scores = score_generator(
                training.step.sampler, classifier.network, classifier.reference, samples=samples, random=random
            )
    except ValueError as error:  # samples that are not finite, of weights that still are or no longer
        raise training.diverged(f"samples cannot be scored ({error})") from error
    row = {name.field: getattr(scores, name.field) for name in SCORES if name.in_journal}
    row["class_distribution"] = scores.class_distribution
    if accuracy := training.discriminator_accuracy(samples):
        row |= {"discriminator_accuracy": accuracy.accuracy, "discriminator_accuracy_ci95": list(accuracy.ci95)}
    return row


class _Timer:
    def __init__(self) -> None:
        self._since = time.perf_counter()

    def lap(self) -> float:
        """Seconds since the last call."""
        now = time.perf_counter()
        seconds, self._since = now - self._since, now
        return seconds
