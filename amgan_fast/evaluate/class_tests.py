"""What samples are worth to a classifier that is trained on them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal, TypeAlias

import torch
from torch import Tensor

from amgan_fast.data import Dataset, to_float, to_uint8
from amgan_fast.errors import InputError
from amgan_fast.evaluate.class_labels import classes_of_labels
from amgan_fast.evaluate.classifiers.image_classifier import ImageClassifier
from amgan_fast.evaluate.classifiers.trained import TrainedClassifier
from amgan_fast.evaluate.full_precision import full_precision
from amgan_fast.evaluate.sources import Source
from amgan_fast.memory import fits_in_half_of
from amgan_fast.metrics import Numbers, share_interval
from amgan_fast.progress import Progress

_BATCH_SIZE = 500

Trainer: TypeAlias = Callable[[Dataset], TrainedClassifier]
"""Trains a classifier on the training images of a dataset: :func:`amgan_fast.train.train_classifier`."""


@dataclass(frozen=True, repr=False)
class ClassAccuracy(Numbers):
    """Of the real images of one class."""

    name: str
    n: int
    accuracy: float | None
    """None where there are no images."""
    ci95: tuple[float, float] | None


@dataclass(frozen=True, repr=False)
class ClassificationAccuracy(Numbers):
    """The classification accuracy score: what a classifier that has seen samples alone makes of real images (Ravuri and
    Vinyals, arXiv 1905.10887; GAN-train of Shmelkov et al., arXiv 1807.09499).

    >>> from amgan_fast.evaluate import ClassificationAccuracy
    >>> found = ClassificationAccuracy(0.9, (0.83, 0.94), 1000, 100, "asked for", ())
    >>> found.rows(1)[0]
    ('GAN-train accuracy (CAS)', ['90.00%'])
    """

    accuracy: float
    """The fraction of the held-out real images that it names the class of."""
    ci95: tuple[float, float]
    """Wilson's, over images. What another training of the classifier would make of it is not in it."""
    n_train: int
    """Samples it was trained on."""
    n_test: int
    """Real images."""
    labels: Literal["asked for", "the classifier's"]
    """Where the samples' labels are from: without any they are the classes that the evaluation's classifier sees, and
    the score is less than it seems to be."""
    classes: tuple[ClassAccuracy, ...]

    def rows(self, columns: int) -> list[tuple[str, list[str]]]:
        """(name, cells for generated samples and what else there is), as of :func:`amgan_fast.evaluate.score_rows`."""
        rest = ["-"] * (columns - 1)
        low, high = self.ci95
        return [
            ("GAN-train accuracy (CAS)", [f"{self.accuracy:.2%}", *rest]),
            ("  95% interval", [f"{low:.2%} to {high:.2%}", *rest]),
        ]

    @property
    def note(self) -> str:
        """What it is of."""
        labels = "they were asked for" if self.labels == "asked for" else "that the classifier gives them"
        return (
            f"a classifier trained on {self.n_train:,} samples with the labels {labels}, tested on {self.n_test:,} "
            "held-out images; the interval is over images, not over trainings"
        )


def classification_accuracy(
    source: Source, classifier: ImageClassifier, dataset: Dataset, train: Trainer, progress: Progress
) -> ClassificationAccuracy:
    """Train a classifier on samples, as many as the dataset has training images or as there are, and test it on the
    dataset's held-out images.

    Args:
        source: the samples, of the dataset's size.
        classifier: gives labels to samples that have none.
        dataset: the real images.
        train: how.
        progress: told of the samples.

    Raises:
        InputError: images of another size than the dataset's, labels that are not its classes, too many images for
            the memory, or what the training refuses.
    """
    channels, height, width = dataset.image_shape
    count = min(source.count, len(dataset.train_images))
    if not fits_in_half_of(torch.device("cpu"), count * channels * height * width):
        raise InputError(f"--cas wants {count:,} samples in memory at once, wanted fewer, or smaller ones")
    classes, note = classes_of_labels(source, classifier, dataset.num_classes)
    if source.num_labels is not None and classes is None:
        raise InputError(f"found --cas, and the samples' labels are of unknown classes ({note}), wanted the dataset's")
    images, labels = _gathered(source, classifier, classes, count, dataset, progress)
    samples = replace(
        dataset, name=f"samples beside {dataset.name}", train_images=images, train_labels=labels, stratified=False
    )
    trained = train(samples)
    found = _predicted(trained, dataset)
    right = found == dataset.test_labels
    n = len(right)
    accuracy = float(right.double().mean())
    return ClassificationAccuracy(
        accuracy,
        share_interval(accuracy, n),
        count,
        n,
        "the classifier's" if classes is None else "asked for",
        tuple(_of_class(k, name, right, dataset.test_labels) for k, name in enumerate(dataset.names)),
    )


def _gathered(
    source: Source,
    classifier: ImageClassifier,
    classes: Tensor | None,
    count: int,
    dataset: Dataset,
    progress: Progress,
) -> tuple[Tensor, Tensor]:
    """uint8 [N, C, H, W] and int64 [N], where the dataset is."""
    device = dataset.test_images.device
    images, labels, done = [], [], 0
    for batch in source.batches(_BATCH_SIZE, 0, count):
        values = batch.values
        if not isinstance(values, Tensor) or tuple(values.shape[1:]) != dataset.image_shape:
            shape = tuple(values[0].shape)
            raise InputError(
                f"{source.description}: images of {' x '.join(map(str, shape))} with --cas, wanted those of "
                f"{dataset.name}, {' x '.join(map(str, dataset.image_shape))}"
            )
        found = classifier.logits(values).argmax(1) if classes is None or batch.labels is None else None
        images.append((values if values.dtype == torch.uint8 else to_uint8(values)).to(device))
        labels.append((classes[batch.labels.cpu()] if found is None else found).to(device))  # type: ignore[index,union-attr]
        done += len(values)
        progress("samples to train on", done, count)
    return torch.cat(images), torch.cat(labels)


@torch.no_grad()
def _predicted(trained: TrainedClassifier, dataset: Dataset) -> Tensor:
    with full_precision():
        parts = [trained.network(to_float(part)).argmax(1) for part in dataset.test_images.split(_BATCH_SIZE)]
    return torch.cat(parts)


def _of_class(k: int, name: str, right: Tensor, labels: Tensor) -> ClassAccuracy:
    mine = right[labels == k].double()
    if not len(mine):
        return ClassAccuracy(name, 0, None, None)
    accuracy = float(mine.mean())
    return ClassAccuracy(name, len(mine), accuracy, share_interval(accuracy, len(mine)))
