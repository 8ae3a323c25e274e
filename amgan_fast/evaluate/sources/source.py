"""What is scored: images, or what a classifier made of them, a batch at a time, from wherever they are."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from amgan_fast.evaluate.sources.record import Contents, SourceRecord
from amgan_fast.metrics import Sampling


@dataclass(frozen=True, eq=False)
class Batch:
    """Some samples of a source, in its order."""

    values: Tensor | list[Tensor]
    """Images: uint8 [N, C, H, W], or a list of N uint8 [C, H, W] where their sizes differ, or what a generator makes,
    float [N, C, H, W] in [-1, 1]. Logits or probabilities: [N, K], floating point."""
    labels: Tensor | None = None
    """int64 [N]: the true class, or the one that was asked for, as :attr:`Source.class_names` counts; None where no
    one knows."""


class Source(ABC):
    """Samples in a fixed order, of which any range can be read: by several processes, say, each its own."""

    kind: Literal["images", "logits", "probabilities"]
    description: str
    """One line for people: what there is and where it is from; less of it as samples turn out to be unreadable."""
    count: int
    """Samples in all, those included that turn out to be unreadable."""
    unit: int = 1
    """Samples that are read or made together: ranges best begin and end at multiples of it."""
    is_computed: bool = False
    """Whether samples are computed, by all of PyTorch's threads, rather than read."""
    num_labels: int | None = None
    """How many different labels there may be; None: samples have none."""
    class_names: tuple[str, ...] = ()
    """What each label is called; empty: labels are numbers of the classifier's classes."""
    has_all_classes: bool = False
    """Whether ``class_names`` are all classes of a dataset or a run; otherwise those that happen to be there."""
    sampling: Sampling | None = None
    """How labels came about: drawn at random, or so many of each; None: what they are, the counts tell."""
    label_shares: Tensor | None = None
    """float64 [:attr:`num_labels`], the share of each label in what the samples are from; None: not known."""
    label_origin: str = "the source"
    """Where labels are from, for messages."""
    skipped: list[str]
    """Samples left out so far, by name and reason: those the user allowed to be."""
    _labels: Tensor | None = None
    """int64 [N], of all samples, where that is known without reading these."""

    def leave_out(self, sample: str) -> None:
        """
        Args:
            sample: left out, name and reason, by this process or by another; one that is known already counts once.
        """
        if sample not in self.skipped:
            self.skipped.append(sample)

    def record(self) -> SourceRecord:
        """What there is to say of it without its samples."""
        return SourceRecord(self.kind, self.count, self.fingerprint(), self._contents(), tuple(self.skipped))

    def fingerprint(self) -> str:
        """SHA-256 of what tells these samples from others, as far as that is to be had without reading them all."""
        digest = hashlib.sha256(self._identity())
        digest.update(repr((self.kind, self.count, self.num_labels, self.class_names)).encode(errors="surrogateescape"))
        if self._labels is not None:
            digest.update(self._labels.cpu().numpy().tobytes())
        return digest.hexdigest()

    def labels_before(self, start: int) -> Tensor | None:
        """int64 [:attr:`num_labels`], on the CPU: how many of the samples before ``start`` have each label, those
        included that turn out to be unreadable; None: samples have none."""
        if self._labels is None or self.num_labels is None:
            return None
        return torch.bincount(self._labels[:start].cpu(), minlength=self.num_labels)

    def _contents(self) -> Contents:
        """What :attr:`description` says."""
        return Contents(self.description)

    def _identity(self) -> bytes:
        """What tells the samples from others that are as many and have the same labels."""
        return b""

    @abstractmethod
    def batches(self, batch_size: int, start: int = 0, stop: int | None = None) -> Iterator[Batch]:
        """Samples ``start`` to ``stop`` (None: the last), ``batch_size`` at a time, the last batch smaller.

        Nothing is kept: memory does not grow with the number of samples.

        Raises:
            InputError: a sample cannot be read. Its name is in the message.
        """


def batch_ranges(count: int, batch_size: int, start: int = 0, stop: int | None = None) -> Iterator[range]:
    """Samples ``start`` to ``stop`` (None: ``count``), ``batch_size`` at a time, the last range shorter.

    Raises:
        ValueError: a range that is not within ``count`` samples, or ``batch_size`` below 1.
    """
    stop = count if stop is None else stop
    if batch_size < 1:
        raise ValueError(f"batch_size is {batch_size}, wanted at least 1")
    if not 0 <= start <= stop <= count:
        raise ValueError(f"start is {start} and stop {stop}, wanted 0 <= start <= stop <= {count}")
    return (range(first, min(first + batch_size, stop)) for first in range(start, stop, batch_size))
