"""The rows of metrics.jsonl: losses and scores over the steps."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch

from amgan_fast.evaluate import score_generator
from amgan_fast.metrics import SCORES, without_score_warnings
from amgan_fast.seeds import Purpose
from amgan_fast.train.evaluation_mode import evaluation_mode
from amgan_fast.train.moment import Moment, Numbers
from amgan_fast.train.scored_step import ScoredStep
from amgan_fast.train.training import Training


@dataclass(frozen=True)
class _Losses:
    step: int
    numbers: Numbers


class Log:
    """Writes a row wherever the settings say, on any device at the same steps and with the same numbers.

    Reading losses as soon as they are asked for would have a GPU wait for the host after every few steps. They are read
    once they have come, and waited for when the next ones are due.
    """

    def __init__(self, training: Training) -> None:
        self._training = training
        self._coming: _Losses | None = None
        self._since = Moment(training.job.device)
        """When the steps of the next row began."""
        self._steps = training.step.steps
        """How many there were then."""

    def losses(self) -> None:
        """Those of the steps since the last row become one."""
        self._coming = self._next()
        self.write_what_has_come()

    def scores(self) -> bool:
        """A row of losses and scores, and a grid of samples; whether the AM Score is the lowest until now."""
        training = self._training
        lowest = min(
            (row["am_score"] for row in training.journal.rows if row.get("am_score") is not None), default=None
        )
        row = self._row(self._next()) | _scores(training)
        row |= _own_metrics(training, row)
        training.journal.grid(training.step.steps, training.step.sampler, training.job.random(Purpose.PICTURES))
        self._log(row)
        return lowest is None or row["am_score"] < lowest

    def write_what_has_come(self) -> None:
        if self._coming is not None and self._coming.numbers.moment.has_come():
            self.write()

    def write(self) -> None:
        """All rows that are due; waits for the device where they have not come."""
        if (coming := self._coming) is not None:
            self._coming = None
            self._log(self._row(coming))

    def _next(self) -> _Losses:
        self.write()
        step = self._training.step
        return _Losses(step.steps, Numbers(step.pop_losses_there()))

    def _row(self, coming: _Losses) -> dict[str, Any]:
        """
        Raises:
            FloatingPointError: a loss is not finite.
        """
        training = self._training
        discriminator_loss, generator_loss = coming.numbers.read()
        if not math.isfinite(discriminator_loss + generator_loss):
            found = f"discriminator loss {discriminator_loss}, generator loss {generator_loss}; wanted finite losses"
            raise training.diverged(found, coming.step)
        seconds = coming.numbers.moment.seconds_since(self._since)
        images = (coming.step - self._steps) * training.job.config.batch_size
        training.seconds += seconds
        self._since, self._steps = coming.numbers.moment, coming.step
        return {
            "step": coming.step,
            "discriminator_loss": discriminator_loss,
            "generator_loss": generator_loss,
            "seconds": training.seconds,
            "images_per_second": images / seconds,
        }

    def _log(self, row: dict[str, Any]) -> None:
        training = self._training
        training.journal.log(row)
        training.job.observer.progress("step", row["step"], training.job.config.steps)
        if row["step"] == training.step.steps:  # scoring and writing are no training time, but beside later steps
            self._since = Moment(training.job.device)


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
    if (probability := training.step.augmentation_probability()) is not None:
        row["augment"] = probability
    return row


def _own_metrics(training: Training, row: dict[str, Any]) -> dict[str, float]:
    """Those of the observers, of which one process has some. No two processes wait for each other here."""
    job, step = training.job, training.step
    scored = ScoredStep(
        step=step.steps,
        sampler=step.sampler,
        discriminator=step.discriminator,
        objective=step.objective,
        dataset=training.dataset,
        classifier=training.classifier,
        seed=job.config.seed,
    )
    with evaluation_mode(step.discriminator), torch.no_grad():
        return job.observer.metrics_beside(row.keys(), scored)
