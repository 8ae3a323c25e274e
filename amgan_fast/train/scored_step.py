"""What metrics of one's own are computed from."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn

from amgan_fast.data import Dataset
from amgan_fast.evaluate import TrainedClassifier
from amgan_fast.nn import Sampler
from amgan_fast.objectives import Objective
from amgan_fast.seeds import Purpose, random_stream


@dataclass(frozen=True)
class ScoredStep:
    """A run at a step whose samples are scored, as :meth:`amgan_fast.train.Observer.metrics` is given it.

    Networks are the run's own, in evaluation mode, and gradients are off: who changes weights changes the run.

    >>> import torch
    >>> from amgan_fast.runs import Config
    >>> from amgan_fast.train import Observer, ScoredStep, train
    >>> class Ink(Observer):
    ...     def metrics(self, scored: ScoredStep) -> dict[str, float]:
    ...         images = torch.cat([images for images, _ in scored.sampler.batches(100, scored.random())])
    ...         return {"ink": images.mean()}
    ...
    ...     def logged(self, row: dict) -> None:
    ...         print(row["step"], -1 < row["ink"] < 1)
    ...
    >>> _ = train(Config(steps=10, score_samples=500, final_samples=500), observer=Ink())
    10 True
    """

    step: int
    sampler: Sampler
    """The averaged generator, whose samples are scored, and what it is fed with."""
    discriminator: nn.Module
    """[N, C, H, W] in [-1, 1] -> logits."""
    objective: Objective
    """What the logits mean: ``objective.class_logits``, ``objective.realness``."""
    dataset: Dataset
    """On the device where it fits there."""
    classifier: TrainedClassifier
    """What samples are scored with."""
    seed: int
    """Of the run."""

    def random(self) -> torch.Generator:
        """Random numbers on the generator's device, for latents: at every step the same, which are no other's."""
        return random_stream(self.seed, Purpose.OWN_METRICS, self.sampler.device)
