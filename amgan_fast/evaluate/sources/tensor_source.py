"""The images of a dataset."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from amgan_fast.data import Dataset
from amgan_fast.evaluate.sources.source import Batch, Source, batch_ranges
from amgan_fast.images import LazyImages, workers_for
from amgan_fast.tensor_files import tensor_bytes


class TensorSource(Source):
    """Labelled images in memory, on any device, or in the files of a dataset that does not fit there.

    Args:
        images: uint8 [N, C, H, W], N at least 1, or what stands for it.
        labels: int64 [N], 0 or more.
        description: what they are, in one line.
        class_names: what each label is called, of all classes there are; empty: by its number.

    Raises:
        TypeError: images that are not uint8.
        ValueError: shapes that do not fit, or no images.

    >>> from amgan_fast.data import load_dataset
    >>> from amgan_fast.evaluate.sources import TensorSource
    >>> digits = TensorSource.held_out(load_dataset("digits"))
    >>> digits.description, [len(batch.values) for batch in digits.batches(200)]
    ('360 held-out images of digits', [200, 160])
    """

    kind = "images"
    _labels: Tensor

    def __init__(
        self, images: Tensor | LazyImages, labels: Tensor, description: str, class_names: tuple[str, ...] = ()
    ) -> None:
        if isinstance(images, Tensor) and images.dtype != torch.uint8:
            raise TypeError(f"images are {images.dtype}, wanted torch.uint8")
        if len(images.shape) != 4 or not len(images):
            raise ValueError(f"images are {list(images.shape)}, wanted [N, C, H, W] with N at least 1")
        if len(labels.shape) != 1 or len(labels) != len(images):
            raise ValueError(f"labels are {list(labels.shape)}, wanted [{len(images)}], one for each image")
        self.description = description
        self.count = len(images)
        self.num_labels = len(class_names) or int(labels.max()) + 1
        self.class_names = class_names
        self.has_all_classes = bool(class_names)
        self.label_origin = description
        self.skipped = []
        self._images = images
        self._labels = labels

    @classmethod
    def training(cls, dataset: Dataset) -> TensorSource:
        return cls._of(dataset, "training", dataset.train_images, dataset.train_labels)

    @classmethod
    def held_out(cls, dataset: Dataset) -> TensorSource:
        """The images that no one trained on."""
        source = cls._of(dataset, "held-out", dataset.test_images, dataset.test_labels)
        source.label_shares = dataset.class_frequencies()
        return source

    @classmethod
    def _of(cls, dataset: Dataset, part: str, images: Tensor | LazyImages, labels: Tensor) -> TensorSource:
        source = cls(images, labels, f"{len(images):,} {part} images of {dataset.name}", dataset.names)
        source.sampling = "per-class" if dataset.stratified else None  # both parts have so many of each class
        return source

    def batches(self, batch_size: int, start: int = 0, stop: int | None = None) -> Iterator[Batch]:
        ranges = [slice(here.start, here.stop) for here in batch_ranges(self.count, batch_size, start, stop)]
        for here, images in zip(ranges, self._in(ranges), strict=True):
            yield Batch(images, self._labels[here])

    def _identity(self) -> bytes:
        return tensor_bytes(self._images) if isinstance(self._images, Tensor) else self._images.identity()

    def _in(self, ranges: list[slice]) -> Iterator[Tensor]:
        images = self._images
        if isinstance(images, Tensor):
            return (images[here] for here in ranges)
        indices = [torch.arange(here.start, here.stop) for here in ranges]
        return images.read_there(indices, workers=workers_for(sum(map(len, indices))))
