"""Images in files."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import torch

from amgan_fast.data.decoding import read_pixels
from amgan_fast.data.file_reading import Unreadable, read_files
from amgan_fast.data.headers import read_headers
from amgan_fast.data.listing import ImageListing, counted, find_images, some_of
from amgan_fast.data.ranges import batch_ranges
from amgan_fast.errors import InputError
from amgan_fast.evaluate.sources.label_file import read_file_labels
from amgan_fast.evaluate.sources.source import Batch, Source

_REMEDY = "--skip-unreadable leaves others out"


class ImageFolderSource(Source):
    """Images of a folder, or of its class subfolders; which, the description says.

    The files' headers are all read when the source is made: what will not do shows before anything is scored. Formats
    and what becomes of their pixels: :mod:`amgan_fast.data.decoding`; where files are looked for:
    :func:`amgan_fast.data.listing.find_images`. In memory are the files' names, the batch asked for,
    and with ``workers`` two batches for each.

    Args:
        path: the folder. A label is the place of a subfolder's name in :attr:`class_names`.
        channels: 1 or 3; None: 1 if all images are grey, else 3.
        mixed_sizes: take images of any size. Otherwise all have to be of one.
        skip_unreadable: leave out images that cannot be read, or are not of the most frequent size, and name them in
            :attr:`skipped`, instead of refusing the folder.
        allow_empty: take a class folder without images for a class that has none, instead of refusing the folder.
        labels: a file of the labels of a flat folder, :func:`amgan_fast.evaluate.sources.label_file.read_file_labels`;
            None: there are none but those of class folders.
        workers: processes that decode; 0: this one.
        progress: told how many headers have been read, and of how many.

    Raises:
        InputError: no images to be had there, or some that will not do.
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
        progress: Callable[[int, int], None] | None = None,
    ) -> None:
        if channels not in (None, 1, 3):
            raise InputError(f"channels is {channels}, wanted 1 or 3")
        if workers < 0:
            raise InputError(f"workers is {workers}, wanted at least 0")
        self._path = Path(path)
        self._workers = workers
        self._skip_unreadable = skip_unreadable
        files = find_images(self._path, allow_empty=allow_empty)
        if labels is not None:
            files = _labelled(files, labels, self._path)
        headers = read_headers(self._path, files.names, workers=workers, progress=progress)
        if not mixed_sizes:
            headers = headers.of_size(headers.usual_size)
        headers.check(self._path, skip_bad=skip_unreadable, remedy=_REMEDY)
        kept, bad = headers.kept(), headers.bad
        self._names = [files.names[i] for i in kept]
        self._labels = None if files.labels is None else torch.tensor(files.labels)[kept]
        self._files = files
        self.count = len(kept)
        self.class_names = files.class_names
        self.num_labels = len(files.class_names) or None
        if self._labels is not None and not files.class_names:
            self.num_labels = int(self._labels.max()) + 1
        self.label_origin = str(path if labels is None else labels)
        self._labels_path = labels
        self.channels = channels or (1 if headers.grey else 3)
        self.skipped = [f"{self._path / files.names[i]}: {bad[i]}" for i in sorted(bad)]
        self.description = self._describe()

    def batches(self, batch_size: int, start: int = 0, stop: int | None = None) -> Iterator[Batch]:
        ranges = list(batch_ranges(self.count, batch_size, start, stop))
        read = partial(read_pixels, channels=self.channels)
        files = read_files(read, self._path, self._names, ranges, self._workers)
        for samples, found in zip(ranges, files, strict=True):
            images, numbers = [], []
            for i, pixels in zip(samples, found, strict=True):
                if isinstance(pixels, Unreadable):
                    self._refuse_or_leave_out(i, pixels.reason)
                else:
                    images.append(torch.from_numpy(pixels))
                    numbers.append(i)
            if images:
                same = all(image.shape == images[0].shape for image in images)
                labels = None if self._labels is None else self._labels[numbers]
                yield Batch(torch.stack(images) if same else images, labels)

    def leave_out(self, sample: str) -> None:
        super().leave_out(sample)
        self.description = self._describe()

    def _refuse_or_leave_out(self, number: int, reason: str) -> None:
        text = f"{self._path / self._names[number]}: {reason}"
        if not self._skip_unreadable:
            raise InputError(f"{text}; wanted images that can be read ({_REMEDY})")
        self.leave_out(text)

    def _describe(self) -> str:
        files, left_out = self._files, len(self.skipped)
        text = f"{counted(len(files.names) - left_out, 'image')} "
        if self._labels_path is not None:
            text += f"of {self._path}/, labels of {self._labels_path}"
        elif files.class_names:
            classes = counted(len(files.class_names), "class folder")
            text += f"in {classes} of {self._path}/ ({some_of(files.class_names)})"
        else:
            text += f"of {self._path}/, no class folders"
        if left_out:
            text += f", {left_out:,} left out"
        if files.others:
            text += f", {counted(files.others, 'other file')} ignored"
        return text


def _labelled(files: ImageListing, labels: str | Path, folder: Path) -> ImageListing:
    if files.labels is not None:
        raise InputError(f"{folder} has class folders and --labels is {labels}, wanted one of them")
    found, class_names = read_file_labels(labels, files.names)
    return replace(files, labels=found.tolist(), class_names=class_names)
