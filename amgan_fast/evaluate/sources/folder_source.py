"""Images in files."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TypeAlias

import numpy as np
import torch
from torch import Tensor

from amgan_fast.errors import InputError, counted, some_of
from amgan_fast.evaluate.sources.label_file import read_file_labels
from amgan_fast.evaluate.sources.record import Contents
from amgan_fast.evaluate.sources.source import Batch, Source, batch_ranges
from amgan_fast.images import (
    FileReader,
    ImageListing,
    Unreadable,
    find_images,
    most_workers,
    read_headers,
    read_many_pixels,
    read_pixels,
)
from amgan_fast.progress import Progress

_REMEDY = "--skip-unreadable leaves others out"

_Found: TypeAlias = tuple[Tensor | list[np.ndarray], dict[int, Unreadable]]
"""The images of a batch that can be read, and the others by their place there."""


class ImageFolderSource(Source):
    """Images of a folder, or of its class subfolders; which, the description says.

    The files' headers are all read when the source is made: what will not do shows before anything is scored. Formats
    and what becomes of their pixels: :mod:`amgan_fast.images.decoding`; where files are looked for:
    :func:`amgan_fast.images.listing.find_images`. In memory are the files' names, the batch asked for, and those read
    ahead: one for each thread and one more, with ``workers`` two for each.

    Args:
        path: the folder. A label is the place of a subfolder's name in :attr:`class_names`.
        channels: 1 or 3; None: 1 if all images are grey, else 3.
        mixed_sizes: take images of any size. Otherwise all have to be of one.
        skip_unreadable: leave out images that cannot be read, or are not of the most frequent size, and name them in
            :attr:`skipped`, instead of refusing the folder.
        allow_empty: take a class folder without images for a class that has none, instead of refusing the folder.
        labels: a file of the labels of a flat folder, :func:`amgan_fast.evaluate.sources.label_file.read_file_labels`;
            None: there are none but those of class folders.
        workers: processes that read; 0: threads of this one, as many as there are CPUs and at most 8.
        progress: told how many headers have been read, and of how many.

    Raises:
        InputError: no images to be had there, or some that will not do.

    >>> import tempfile
    >>> from pathlib import Path
    >>> from PIL import Image
    >>> from amgan_fast.evaluate.sources import ImageFolderSource
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     for name in ("cat", "dog"):
    ...         (Path(folder) / name).mkdir()
    ...         Image.new("RGB", (8, 8)).save(Path(folder) / name / "0.png")
    ...     source = ImageFolderSource(folder)
    ...     print(source.class_names, [batch.labels.tolist() for batch in source.batches(2)])
    ('cat', 'dog') [[0, 1]]
    """

    kind = "images"
    count: int
    """Images with a good header and of a fitting size, those included that turn out to be broken further on."""
    class_names: tuple[str, ...]
    """The subfolder that each label stands for; empty where there are none."""
    channels: int
    """1 or 3."""

    def __init__(
        self,
        path: str | Path,
        *,
        channels: int | None = None,
        mixed_sizes: bool = False,
        skip_unreadable: bool = False,
        allow_empty: bool = False,
        labels: str | Path | None = None,
        workers: int = 0,
        progress: Progress | None = None,
    ) -> None:
        if channels not in (None, 1, 3):
            raise InputError(f"channels is {channels}, wanted 1 or 3")
        if workers < 0:
            raise InputError(f"workers is {workers}, wanted at least 0")
        self._workers = workers
        self._skip_unreadable = skip_unreadable
        self._labels_path = labels
        self._found = find_images(Path(path), allow_empty=allow_empty)
        if labels is not None:
            self._found = _labelled(self._found, labels)
        headers = read_headers(self._found, workers=workers, progress=progress)
        if not mixed_sizes:
            headers = headers.of_size(headers.usual_size)
        usable, _ = headers.usable(skip_bad=skip_unreadable, remedy=_REMEDY)
        self._labels = usable.labels
        self.count = len(usable)
        self.class_names = usable.class_names
        self.num_labels = len(usable.class_names) or None
        if self._labels is not None and not usable.class_names:
            self.num_labels = int(self._labels.max()) + 1
        self.label_origin = str(path if labels is None else labels)
        self.channels = channels or (1 if headers.grey else 3)
        self.skipped = headers.left_out()
        self.description = self._describe()
        self._files = FileReader(
            usable.folder,
            usable.names,
            partial(read_pixels, channels=self.channels),
            partial(read_many_pixels, channels=self.channels),
        )

    def batches(self, batch_size: int, start: int = 0, stop: int | None = None) -> Iterator[Batch]:
        for samples, (found, bad) in zip(*self._read(batch_size, start, stop), strict=True):
            for unreadable in bad.values():  # left out, or refused
                if not self._skip_unreadable:
                    raise unreadable.refused(_REMEDY)
                self.leave_out(str(unreadable))
            if len(found):
                images = found if isinstance(found, Tensor) else [torch.from_numpy(pixels) for pixels in found]
                good = [i for place, i in enumerate(samples) if place not in bad]
                yield Batch(images, None if self._labels is None else self._labels[good])

    def _read(self, batch_size: int, start: int, stop: int | None) -> tuple[list[range], Iterator[_Found]]:
        ranges = list(batch_ranges(self.count, batch_size, start, stop))
        if self._workers:
            return ranges, self._files.read(ranges, workers=min(self._workers, len(ranges)), collate=_collated)
        return ranges, self._files.read_ahead(ranges, threads=most_workers(), collate=_collated)

    def leave_out(self, sample: str) -> None:
        super().leave_out(sample)
        self.description = self._describe()

    def _identity(self) -> bytes:
        return self._files.identity()

    def _describe(self) -> str:
        return self._contents().without(len(self.skipped))

    def _contents(self) -> Contents:
        found = self._found
        if self._labels_path is not None:
            text = f" of {found.folder}/, labels of {self._labels_path}"
        elif found.class_names:
            classes = counted(len(found.class_names), "class folder")
            text = f" in {classes} of {found.folder}/ ({some_of(found.class_names)})"
        else:
            text = f" of {found.folder}/, no class folders"
        others = f", {counted(found.others, 'other file')} ignored" if found.others else ""
        return Contents(text, len(found), others)


def _collated(found: list[np.ndarray | Unreadable]) -> _Found:
    bad = {place: one for place, one in enumerate(found) if isinstance(one, Unreadable)}
    good = [one for one in found if not isinstance(one, Unreadable)]
    if len({pixels.shape for pixels in good}) == 1:
        # Not by PyTorch, which would have each thread that reads start as many more.
        return torch.from_numpy(np.stack(good)), bad
    return good, bad


def _labelled(found: ImageListing, labels: str | Path) -> ImageListing:
    if found.labels is not None:
        raise InputError(f"{found.folder} has class folders and --labels is {labels}, wanted one of them")
    numbers, class_names = read_file_labels(labels, found.names)
    return replace(found, labels=numbers, class_names=class_names)
