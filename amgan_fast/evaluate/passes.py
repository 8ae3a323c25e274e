"""Once over a source: each sample through the classifier to everything that is measured."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor

from amgan_fast.errors import InputError
from amgan_fast.evaluate.class_labels import classes_of_labels
from amgan_fast.evaluate.classifiers import ImageClassifier
from amgan_fast.evaluate.measurements import Collector, Measurements, Settings
from amgan_fast.evaluate.scoring import DRAWN_AT_ONCE
from amgan_fast.evaluate.share import Share
from amgan_fast.evaluate.sources import Batch, Source

Progress = Callable[[str, int, int], None]
"""Told what is gone through, how many samples of it are done, and of how many."""


class Pass:
    """Over the samples of a source that are this process's; arguments as of :func:`amgan_fast.evaluate.evaluate`.

    Raises:
        InputError: a source that does not fit the classifier, or settings that do not fit the source.
    """

    def __init__(
        self,
        source: Source,
        classifier: ImageClassifier | None,
        reference: Tensor | None,
        settings: Settings,
        share: Share,
        progress: Progress | None = None,
    ) -> None:
        if settings.contiguous and share.ranks > 1:
            raise InputError("splits are contiguous and processes several, wanted splits filled in turn or one process")
        if source.count < settings.splits:
            raise InputError(
                f"{source.description}: {source.count} samples, wanted at least one for each of {settings.splits} "
                "splits (--splits)"
            )
        if (classifier is None) != (source.kind != "images"):
            wanted = f"no classifier for {source.kind}" if classifier else "a classifier for images (--classifier)"
            raise InputError(f"{source.description}: {source.kind}, wanted {wanted}")
        self._source = source
        self._classifier = classifier
        self._reference = reference
        self._settings = settings
        self._share = share
        self._progress = progress or (lambda *_: None)
        self._device = torch.device("cpu") if classifier is None else classifier.device
        probe = next(iter(source.batches(1)), None)
        if probe is None:
            raise InputError(f"{source.description}: not one sample can be read, wanted samples")
        self.num_classes = self._logits(probe).size(1)
        """K, from the first sample: what does not fit shows before the work begins."""
        if reference is not None and len(reference) != self.num_classes:
            raise InputError(
                f"reference has {len(reference)} classes, wanted the {self.num_classes} of the "
                f"{source.kind if classifier is None else 'classifier'}"
            )
        self._classes, self._label_note = classes_of_labels(source, classifier, self.num_classes)
        start, stop = share.bounds(source.count, math.lcm(settings.blocks, DRAWN_AT_ONCE))
        self._range = (start, stop)
        self._wanted = stop - start
        self._collector = Collector(
            self.num_classes, source.count, settings, self._device, from_logits=source.kind != "probabilities"
        )

    def __str__(self) -> str:
        return f"{self._collector.samples:,} of {self._wanted:,} samples of {self._source.description}"

    def run(self) -> Measurements:
        """
        Raises:
            InputError: a sample that cannot be read or scored.
        """
        description, done = self._source.description, 0
        self._progress(description, 0, self._wanted)
        try:
            for batch in self._source.batches(self._settings.batch_size, *self._range):
                logits = self._logits(batch)
                shown = self._shown(batch) if self._collector.wants_images else None
                self._collector.update(logits, self._labels(batch), shown)
                done += len(logits)
                self._progress(description, done, self._wanted)
            if self._share.ranks > 1:
                self._collector.all_reduce()
            return self._collector.compute(self._reference, self._label_note)
        except ValueError as error:
            raise error if isinstance(error, InputError) else InputError(f"{description}: {error}") from error

    def so_far(self) -> list[Measurements]:
        """Of the samples so far, of this process alone; empty where there are none."""
        try:
            return [self._collector.compute(self._reference, self._label_note)]
        except ValueError:
            return []

    def _labels(self, batch: Batch) -> Tensor | None:
        """Of a batch, as classes of the classifier."""
        if batch.labels is None or self._classes is None:
            return None
        return self._classes.to(batch.labels.device)[batch.labels]

    @torch.no_grad()
    def _logits(self, batch: Batch) -> Tensor:
        if self._classifier is not None:
            return self._classifier.logits(batch.values)
        assert isinstance(batch.values, Tensor)
        return batch.values

    def _shown(self, batch: Batch) -> Tensor | None:
        """The images of a batch as they come, or as the classifier sees them where it has them resized."""
        if self._classifier is None:
            return None
        if isinstance(batch.values, Tensor) and self._classifier.inputs.resize == "none":
            return batch.values
        pixels = replace(self._classifier.inputs, value_range="byte", dtype=torch.float32)
        return pixels(batch.values, self._device).round().to(torch.uint8)
