"""The real images of a run's steps."""

from __future__ import annotations

from collections.abc import Iterator

from torch import Tensor

from amgan_fast.data import Batches, Dataset, to_float
from amgan_fast.seeds import Purpose, derive_seed
from amgan_fast.train.job import Job


class RealImages:
    """Batches for ever: images with labels, and where only some are labelled, of all images without theirs.

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

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor, Tensor | None]]:
        return self

    def __next__(self) -> tuple[Tensor, Tensor, Tensor | None]:
        """This process's part of a batch: images as networks take them, their labels, images without labels."""
        images, labels = next(self.labelled)
        unlabelled = None if self.unlabelled is None else to_float(next(self.unlabelled)[0])
        return to_float(images), labels, unlabelled


def _stream(job: Job, dataset: Dataset, purpose: Purpose) -> Batches:
    return Batches(
        dataset.train_images,
        dataset.train_labels,
        job.config.batch_size,
        seed=derive_seed(job.config.seed, purpose),
        device=job.device,
        share=job.share,
    )
