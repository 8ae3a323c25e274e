"""A run in memory."""

from __future__ import annotations

from amgan_fast.data import Dataset
from amgan_fast.evaluate import TrainedClassifier
from amgan_fast.train.accuracy import DiscriminatorAccuracy, discriminator_accuracy
from amgan_fast.train.job import Job
from amgan_fast.train.journal import Journal
from amgan_fast.train.real_images import RealImages
from amgan_fast.train.setup import build_step


class Training:
    """A job with all that was built for it, and how far it is.

    Attributes:
        step: networks and optimisers, and how many steps were taken.
        seconds: that steps have taken until now.
        last_good: the step of the last checkpoint; None where there is none.
    """

    def __init__(
        self, job: Job, dataset: Dataset, classifier: TrainedClassifier, guide: TrainedClassifier | None = None
    ) -> None:
        self.job = job
        self.dataset = dataset
        self.classifier = classifier
        self.images = RealImages(job, dataset)
        self.step = build_step(job, dataset, None if guide is None else guide.network)
        self.journal = Journal(job.folder, job.observer, writes=job.writes)
        self.seconds = 0.0
        self.last_good: int | None = None

    def discriminator_accuracy(self, most: int | None = None) -> DiscriminatorAccuracy | None:
        """On held-out images, ``most`` of them at the most."""
        size = self.job.config.batch_size // self.job.share.ranks
        step = self.step
        return discriminator_accuracy(step.discriminator, step.objective, self.dataset, batch_size=size, most=most)

    def diverged(self, found: str, step: int | None = None) -> FloatingPointError:
        """The error that ends a run whose numbers are finite no longer, at ``step`` or now."""
        good = "no checkpoint was written yet"
        if self.last_good is not None:
            good = f"the last good checkpoint is {self.job.folder.checkpoint} of step {self.last_good}"
        return FloatingPointError(f"step {self.step.steps if step is None else step}: {found}; {good}")
