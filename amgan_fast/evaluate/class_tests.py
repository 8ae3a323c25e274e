"""What samples are worth to a classifier that is trained on them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal, TypeAlias

import torch
from torch import Tensor

from amgan_fast.data import Dataset, to_float, to_uint8
from amgan_fast.errors import InputError, some_of
from amgan_fast.evaluate.class_labels import classes_of_labels, matched_names
from amgan_fast.evaluate.classifiers.image_classifier import ImageClassifier
from amgan_fast.evaluate.classifiers.trained import TrainedClassifier
from amgan_fast.evaluate.full_precision import full_precision
from amgan_fast.evaluate.sources import Batch, Source
from amgan_fast.memory import fits_in_half_of
from amgan_fast.metrics import Numbers, share_interval
from amgan_fast.metrics.split_mix import split_mix
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


class ClassTest:
    """A classifier to be trained on samples, as many as the dataset has training images or as there are, and tested on
    the dataset's held-out images. What does not fit shows before anything is trained, or scored.

    Args:
        source: the samples, of the dataset's size.
        classifier: gives labels to samples that have none.
        dataset: the real images.

    Raises:
        InputError: images of another size than the dataset's, labels that are not its classes, a classifier of other
            classes for samples without labels, or too many images for the memory.
    """

    def __init__(self, source: Source, classifier: ImageClassifier, dataset: Dataset) -> None:
        self._source = source
        self._classifier = classifier
        self._dataset = dataset
        self._count = min(source.count, len(dataset.train_images))
        channels, height, width = dataset.image_shape
        if not fits_in_half_of(torch.device("cpu"), self._count * channels * height * width):
            raise InputError(f"--cas wants {self._count:,} samples in memory at once, wanted fewer, or smaller ones")
        probe = next(source.batches(1))
        self._require_shape(probe)
        self._of_label = _of_labels(source, classifier, dataset, probe)

    def run(self, train: Trainer, progress: Progress) -> ClassificationAccuracy:
        """
        Args:
            train: how.
            progress: told of the samples.

        Raises:
            InputError: a sample that cannot be read, or what the training refuses.
            FloatingPointError: the training's loss is no longer finite.
        """
        dataset = self._dataset
        images, labels = self._gathered(progress)
        samples = replace(
            dataset, name=f"samples beside {dataset.name}", train_images=images, train_labels=labels, stratified=False
        )
        right = _predicted(train(samples), dataset) == dataset.test_labels
        accuracy = float(right.double().mean())
        return ClassificationAccuracy(
            accuracy,
            share_interval(accuracy, len(right)),
            len(images),
            len(right),
            "the classifier's" if self._source.num_labels is None else "asked for",
            tuple(_of_class(k, name, right, dataset.test_labels) for k, name in enumerate(dataset.names)),
        )

    def _gathered(self, progress: Progress) -> tuple[Tensor, Tensor]:
        """uint8 [N, C, H, W] and int64 [N], where the dataset is: from everywhere among the samples, which may come in
        an order of classes."""
        source, device = self._source, self._dataset.test_images.device
        stop = source.count
        wanted = torch.ones(stop, dtype=torch.bool)
        if source.sampling == "random":
            stop = self._count
        elif self._count < stop:
            wanted[split_mix(torch.arange(stop)).topk(stop - self._count).indices] = False
        images, labels, done = [], [], 0
        for batch in source.batches(_BATCH_SIZE, 0, stop):
            values = self._require_shape(batch)
            mine = wanted[done : done + len(values)]
            done += len(values)
            values = values[mine.to(values.device)]
            if len(values):
                given = None if batch.labels is None else batch.labels.cpu()[mine]
                found = self._classifier.logits(values).argmax(1).cpu() if given is None else given
                images.append((values if values.dtype == torch.uint8 else to_uint8(values)).to(device))
                labels.append(self._of_label[found].to(device))
            progress("samples to train on", done, stop)
        return torch.cat(images), torch.cat(labels)

    def _require_shape(self, batch: Batch) -> Tensor:
        """Its images."""
        values, wanted = batch.values, self._dataset.image_shape
        if isinstance(values, Tensor) and tuple(values.shape[1:]) == wanted:
            return values
        found = " x ".join(map(str, values[0].shape))
        raise InputError(
            f"{self._source.description}: images of {found} with --cas, wanted those of {self._dataset.name}, "
            f"{' x '.join(map(str, wanted))}"
        )


def _of_labels(source: Source, classifier: ImageClassifier, dataset: Dataset, probe: Batch) -> Tensor:
    """int64, by label of the source, or without labels by class of the classifier: the class of the dataset."""
    if source.num_labels is not None and source.class_names:
        matched = matched_names(source.class_names, dataset.names)
        if None not in matched:
            return torch.tensor(matched)
    num_classes = classifier.num_classes or classifier.logits(probe.values[:1]).size(1)
    of_class = _of_classes(classifier, num_classes, dataset)
    if source.num_labels is None:
        return of_class
    classes, note = classes_of_labels(source, classifier, num_classes)
    if classes is None:
        raise InputError(f"found --cas, and the samples' labels are of unknown classes ({note}), wanted the dataset's")
    return of_class[classes]


def _of_classes(classifier: ImageClassifier, num_classes: int, dataset: Dataset) -> Tensor:
    """int64 [K]: the class of the dataset that each class of the classifier is."""
    names = classifier.class_names
    if names is None and num_classes == dataset.num_classes and classifier.dataset in (None, dataset.name):
        return torch.arange(num_classes)
    matched = [None] if names is None else matched_names(names, dataset.names)
    if None in matched:
        known = f"{num_classes:,} classes" if names is None else some_of(names)
        raise InputError(
            f"found --cas with the classes of {classifier.name} ({known}), wanted those of {dataset.name}: "
            f"{some_of(dataset.names)}"
        )
    return torch.tensor(matched)


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
