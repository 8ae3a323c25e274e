"""A run that is saved, and that goes on from where it was."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch

from amgan_fast.errors import InputError
from amgan_fast.files import contents_of
from amgan_fast.processes import gather
from amgan_fast.runs import Checkpoint, put_previous_in_place
from amgan_fast.seeds import Purpose, derive_seed
from amgan_fast.train.job import Job
from amgan_fast.train.random_state import random_state, set_random_state
from amgan_fast.train.training import Training


def last_checkpoint(job: Job) -> Checkpoint | None:
    """The last one that is whole, which then has the last one's name; None where none was written.

    Raises:
        InputError: none can be read, or its configuration is another than the job's.
    """
    folder = job.folder
    if not folder.has_checkpoint:
        job.observer.message(
            f"{folder.path} has no {folder.checkpoint.name} yet: starting from its {folder.config.name}"
        )
        return None
    checkpoint, damage = Checkpoint.load_last(folder.checkpoint)
    # How many steps there are to be makes no difference to those that were taken.
    if changed := replace(job.config, steps=1).differences(checkpoint.config | {"steps": 1}):
        raise InputError(
            f"{folder.checkpoint} was trained with another configuration than {folder.config.name} has now: "
            f"{'; '.join(changed)}; wanted the same, or a new run"
        )
    if damage:
        job.observer.message(damage)
        gather(None, job.share)  # every process has read what now gets another name
        if job.writes:
            put_previous_in_place(folder.checkpoint)
    return checkpoint


def save_checkpoint(training: Training, *, best: bool = False) -> None:
    """
    Args:
        best: as the copy of the best step until now, not as the one that the run goes on from.

    Raises:
        FloatingPointError: weights are no longer finite; the checkpoint before stays.
    """
    job, step, images = training.job, training.step, training.images
    random = gather(random_state(job.device, step.generators), job.share)
    if not step.is_finite():
        raise training.diverged("weights that are not finite")
    if job.writes:
        training.journal.sync()
        checkpoint = Checkpoint(
            config=job.config.to_dict(),
            image_shape=list(training.dataset.image_shape),
            class_frequencies=step.sampler.latent.class_frequencies,
            step=step.state_dict(),
            batches=images.labelled.state_dict(),
            unlabelled=None if images.unlabelled is None else images.unlabelled.state_dict(),
            random=random,
            seconds=training.seconds,
        )
        if best:
            checkpoint.save(job.folder.best_checkpoint, keeps_previous=False)
            return
        checkpoint.save(job.folder.checkpoint)
        training.last_good = step.steps
        job.observer.saved(step.steps, job.folder.checkpoint)


def go_back_to(training: Training, checkpoint: Checkpoint | None) -> None:
    """Let a run that was just built, and has no steps yet, stand where the checkpoint was written; None: at its
    beginning. What was logged after that is forgotten.

    Raises:
        InputError: the checkpoint does not fit.
    """
    if checkpoint is not None:
        images = training.images
        with contents_of(training.job.folder.checkpoint):
            training.step.load_state_dict(checkpoint.step)
            images.labelled.load_state_dict(checkpoint.batches)
            if images.unlabelled is not None:
                images.unlabelled.load_state_dict(checkpoint.unlabelled or {})
            _set_random_state(training, checkpoint.random)
        training.seconds = checkpoint.seconds
        training.last_good = checkpoint.steps
    training.journal.go_back_to(training.step.steps)


def _set_random_state(training: Training, states: list[dict[str, Any]]) -> None:
    """Of every process that wrote the checkpoint, in their order: latents are drawn alike by all of them, noise in
    layers is each one's own."""
    job, step = training.job, training.step
    rank, ranks = job.share.rank, job.share.ranks
    if len(states) == ranks:
        set_random_state(states[rank], job.device, step.generators)
        return
    job.observer.message(
        f"processes: {len(states)} until now, {ranks} from here on, with the same images and latents, but no "
        "longer to the bit what the run would have become"
    )
    set_random_state(states[0], job.device, step.generators)
    if rank:
        numbers = {"rank": rank, "ranks": ranks, "step": step.steps}
        torch.manual_seed(derive_seed(job.config.seed, Purpose.LAYERS_OF_RESUMED_PROCESS, **numbers))
