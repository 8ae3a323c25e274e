"""Endless streams of shuffled batches, from images in memory or in files."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from amgan_fast.data.order import ShuffledOrder
from amgan_fast.data.upload import Uploads, is_on, select
from amgan_fast.errors import InputError
from amgan_fast.images import LazyImages, most_workers
from amgan_fast.processes import Share


class Batches:
    """Shuffled batches (images as they are, labels) for ever: every epoch is a new permutation, none is cut short.

    The order is that of :class:`ShuffledOrder`: it depends on ``seed`` and the number of images alone. A batch that
    reaches the end of an epoch is completed from the next.

    Several processes that share the work pass the same ``seed`` and each its ``share``: they cut the batches that one
    process would get into equal parts, so together they see the same images at the same steps, each once.

    Worker processes read ahead of images in files, in an order of their own that starts where the stream's stands,
    which counts what was given and not what was read. So to go on from a state is to start reading there: nothing is
    read to be skipped.

    Args:
        images: [N, ...], N at least 1.
        labels: int64 [N], on the device of ``images``.
        batch_size: images a step, of all processes together; a multiple of their number.
        device: where batches are wanted; None: where the images are. From the CPU they go to CUDA through pinned
            memory, without waiting, while it computes.
        share: which part of every batch this stream gives; None: all.
        workers: processes that read images in files, 0 for this one; None: the CPUs shared out among the processes of
            ``share``, at most 8.

    Raises:
        ValueError: images and labels that differ in number, or a number out of its range.
        InputError: ``batch_size`` cannot be shared out evenly; or, from ``next``, a file that cannot be read.

    >>> import torch
    >>> from amgan_fast.data import Batches
    >>> batches = Batches(torch.zeros(5, 1, 8, 8), torch.arange(5), 3, seed=0)
    >>> images, labels = next(batches)
    >>> images.shape
    torch.Size([3, 1, 8, 8])
    """

    def __init__(
        self,
        images: Tensor | LazyImages,
        labels: Tensor,
        batch_size: int,
        *,
        seed: int,
        device: torch.device | str | None = None,
        share: Share | None = None,
        workers: int | None = None,
    ) -> None:
        share = share or Share()
        if len(images) != len(labels) or not len(images):
            raise ValueError(f"images are {len(images)} and labels {len(labels)}, wanted as many, at least 1")
        if batch_size < 1:
            raise ValueError(f"batch_size is {batch_size}, wanted at least 1")
        if batch_size % share.ranks:
            raise InputError(
                f"batch_size is {batch_size}, wanted a multiple of the {share.ranks} processes that share it"
            )
        size = batch_size // share.ranks
        self._images = images
        self._labels = labels
        self._batch_size = batch_size
        self._part = slice(share.rank * size, (share.rank + 1) * size)
        self._device = torch.device(device) if device is not None else images.device
        self._uploads = Uploads(self._device)
        self._resident = images if isinstance(images, Tensor) and is_on(images, self._device) else None
        self._order = ShuffledOrder(len(images), seed=seed, device=labels.device)
        self._workers = most_workers(share.ranks) if workers is None else workers
        self._reader: Iterator[Tensor] | None = None  # of images in files, once the first batch is asked for

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        return self

    def __next__(self) -> tuple[Tensor, Tensor]:
        return self.gather(*self.take())

    def take(self) -> tuple[Tensor, ...]:
        """The next batch as :meth:`gather` takes it, on the device: its indices where the images are there too, or else
        images and labels."""
        if isinstance(self._images, LazyImages):  # reading begins where the order stands
            images = self._read(self._images)
            indices = self._take()
        else:
            indices = self._take()
            if self._resident is not None:
                return (indices,)
            images = select(self._images, indices, self._device)
        return self._uploads(images), self._uploads(self._labels.index_select(0, indices))

    def gather(self, *taken: Tensor) -> tuple[Tensor, Tensor]:
        """(images, labels) of what :meth:`take` gave: operations of the device alone, which a CUDA graph may repeat
        with other indices."""
        if self._resident is None:
            images, labels = taken
            return images, labels
        (indices,) = taken
        return self._resident.index_select(0, indices), self._labels.index_select(0, indices)

    def state_dict(self) -> dict[str, Any]:
        """Where the stream stands, 5 KiB, the same in every process; it does not depend on the batch size."""
        return self._order.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on with the very batches that followed when ``state`` was taken.

        Raises:
            InputError: a state of another number of images, or none at all.
        """
        self._order.load_state_dict(state)
        self._reader = None

    def _take(self) -> Tensor:
        return self._order.take(self._batch_size)[self._part]

    def _read(self, images: LazyImages) -> Tensor:
        if self._reader is None:
            indices = _ahead(self._order, len(images), self._batch_size, self._part)
            pin_memory = self._device.type == "cuda"
            self._reader = images.read(indices, workers=self._workers, pin_memory=pin_memory)
        return next(self._reader)


def _ahead(order: ShuffledOrder, size: int, batch_size: int, part: slice) -> Iterator[Tensor]:
    """What follows in ``order``, which stays where it is.

    No method: the workers are stopped once nothing refers to the stream, so what it reads from must not refer to it.
    """
    ahead = ShuffledOrder(size, seed=0)
    ahead.load_state_dict(order.state_dict())
    while True:
        yield ahead.take(batch_size)[part]
