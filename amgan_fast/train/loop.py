"""The steps of a run, and what is logged and saved on the way."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from amgan_fast.errors import InputError
from amgan_fast.processes import gather
from amgan_fast.train.capture import CapturedStep, is_captured
from amgan_fast.train.checkpoints import save_checkpoint
from amgan_fast.train.log import Log
from amgan_fast.train.moment import Moment
from amgan_fast.train.pace import CheckpointPace
from amgan_fast.train.stopping import Stop, TrainingStopped
from amgan_fast.train.training import Training


def take_steps(training: Training, stop: Stop) -> None:
    """All steps that are left.

    Raises:
        FloatingPointError: a loss, a weight or a sample is no longer finite.
        TrainingStopped: after the step in which ``stop`` was set, which is saved.
        InputError: after a step in which an observer has failed, which is saved.
    """
    job, step = training.job, training.step
    config, share = job.config, job.share
    advance = _step_on_what_is_taken(training)
    job.observer.progress("step", step.steps, config.steps)
    log, pace = Log(training), CheckpointPace(job.device, config.checkpoint_minutes)
    if failure := gather(job.observer.failure, share)[0]:
        raise failure
    while step.steps < config.steps:
        advance(*training.images.take())
        last = step.steps == config.steps
        if step.steps % config.score_every == 0 or last:  # where losses are logged, too
            is_best = log.scores()
            if config.keep_best and gather(is_best, share)[0]:
                save_checkpoint(training, best=True)
        elif step.steps % config.log_every == 0:
            log.losses()
        else:
            log.write_what_has_come()
        # Whether one is due is what the first of several processes says, and it has the observers. The others are not
        # to wait at each step to be told.
        regular = step.steps % config.checkpoint_every == 0
        due = regular and gather(pace.is_due(), share)[0]
        if not due and (share.ranks == 1 or step.steps % config.log_every == 0):
            due = gather(pace.is_overdue(), share)[0]
        failure = gather(job.observer.failure, share)[0] if regular or last or share.ranks == 1 else None
        if due or last or stop.signal or failure:
            log.write()
            Moment(job.device).wait()
            with pace.saving():
                save_checkpoint(training)
            if stop.signal:  # only here is what it says true: that this step is saved
                raise TrainingStopped(job.folder, step.steps, stop.signal)
            if failure:
                going_on = f"amgan-fast train --resume {job.folder.path} goes on"
                raise InputError(f"{failure}; saved at step {step.steps}, {going_on}") from failure.__cause__


def _step_on_what_is_taken(training: Training) -> Callable[..., None]:
    """A step on what :meth:`amgan_fast.train.real_images.RealImages.take` gave."""
    job, step, prepare = training.job, training.step, training.images.prepare
    if is_captured(job.config, job.device, job.share.ranks):
        return CapturedStep(step, prepare)

    def advance(*taken: Tensor) -> None:
        step(*prepare(*taken))

    return advance
