"""The end of a run: its scores, its pictures, its summary."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from amgan_fast import build_info
from amgan_fast.evaluate import Evaluation, evaluate_generator
from amgan_fast.processes import copy_from_first
from amgan_fast.runs import RunFolder, Summary, TrainingFacts
from amgan_fast.seeds import Purpose
from amgan_fast.train.accuracy import DiscriminatorAccuracy
from amgan_fast.train.pictures import save_samples, save_training_curves
from amgan_fast.train.training import Training


@dataclass(frozen=True)
class Result:
    """A finished run.

    >>> from amgan_fast.runs import Config
    >>> from amgan_fast.train import train
    >>> result = train(Config(steps=10, score_samples=500, final_samples=500))
    >>> result.evaluation.generated.scores.n, 0 < result.discriminator.accuracy < 1
    (500, True)
    """

    folder: RunFolder
    evaluation: Evaluation
    discriminator: DiscriminatorAccuracy | None = None
    """On all held-out images; None where the model's discriminator has no class outputs."""


def finish(training: Training) -> Result:
    """Score what was trained, and write what is to be seen of it."""
    job, sampler = training.job, training.step.sampler
    copy_from_first(sampler.generator, job.share)  # statistics of batch normalisation are each process's own
    evaluation = evaluate_generator(
        sampler,
        training.classifier,
        training.dataset,
        samples=job.config.final_samples,
        seed=job.config.seed,
        progress=job.observer.progress,
        share=job.share,
    )
    result = Result(job.folder, evaluation, training.discriminator_accuracy())
    if job.writes:
        save_samples(job.folder.samples, sampler, training.classifier, job.random(Purpose.PICTURES))
        held_out = evaluation.held_out
        save_training_curves(job.folder.curves, training.journal.rows, None if held_out is None else held_out.scores)
        summary = _summary(training, result)
        summary.save(job.folder.summary)
        job.observer.finished(summary.to_dict())
    training.journal.close()
    return result


def _summary(training: Training, result: Result) -> Summary:
    job = training.job
    return Summary(
        config=job.config.to_dict(),
        evaluation=result.evaluation.to_dict(),
        discriminator=None if result.discriminator is None else result.discriminator.to_dict(),
        training=TrainingFacts(
            seconds=training.seconds,
            images_per_second=job.config.steps * job.config.batch_size / training.seconds,
            device=str(job.device),
            threads=torch.get_num_threads(),
            processes=job.share.ranks,
        ),
        build=build_info(),
    )
