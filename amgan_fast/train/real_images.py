"""The real images of a run's steps."""

from __future__ import annotations

from torch import Tensor

from amgan_fast.data import Batches, Dataset, to_float
from amgan_fast.seeds import Purpose, derive_seed
from amgan_fast.train.job import Job


class RealImages:
    """Batches for ever: images with labels, and where only some are labelled, of all images without theirs.

    What the host has to do for a batch is :meth:`take`, what the device has to do :meth:`prepare`, as of
    :class:`amgan_fast.data.Batches`.

    Attributes:
        labelled: the stream of images with labels.
        unlabelled: that of all images; None where all are labelled.
    """

    def __init__(self, job: Job, dataset: Dataset) -> None:
        self.labelled, self.unlabelled = _stream(job, dataset, Purpose.ORDER), None
        if (count := job.config.labelled_per_class) is not None:
            some = dataset.labelled_subset(count, seed=derive_seed(job.config.seed, Purpose.LABELLED))
            self.labelled = _stream(job, some, Purpose.ORDER)
            self.unlabelled = _stream(job, dataset, Purpose.UNLABELLED_ORDER)

    def take(self) -> tuple[Tensor, ...]:
        """What :meth:`prepare` makes this process's part of the next batch of; always as many, of the same shapes."""
        return (*self.labelled.take(), *(() if self.unlabelled is None else self.unlabelled.take()))

    def prepare(self, *taken: Tensor) -> tuple[Tensor, Tensor, Tensor | None]:
        """Images as networks take them, their labels, images without labels."""
        if self.unlabelled is None:
            images, labels = self.labelled.gather(*taken)
            return to_float(images), labels, None
        half = len(taken) // 2  # both streams are of one dataset, and take alike
        images, labels = self.labelled.gather(*taken[:half])
        unlabelled, _ = self.unlabelled.gather(*taken[half:])
        return to_float(images), labels, to_float(unlabelled)


def _stream(job: Job, dataset: Dataset, purpose: Purpose) -> Batches:
    return Batches(
        dataset.train_images,
        dataset.train_labels,
        job.config.batch_size,
        seed=derive_seed(job.config.seed, purpose),
        device=job.device,
        share=job.share,
    )
