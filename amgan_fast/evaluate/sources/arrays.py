"""Images, logits and probabilities in NumPy's files, a batch of rows at a time."""

from __future__ import annotations

import os
import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from amgan_fast.data.ranges import batch_ranges
from amgan_fast.errors import InputError
from amgan_fast.evaluate.sources.label_file import read_label_array
from amgan_fast.evaluate.sources.npy import NpyHeader, damage_named, read_header, read_labels, read_rows, seek_forward
from amgan_fast.evaluate.sources.source import Batch, Source

_CHANNELS = (1, 3)
_IMAGES = ("arr_0", "images", "x")
_LABELS = ("arr_1", "labels", "y")


class NpzSource(Source):
    """Images of an npz file as guided-diffusion writes its samples: ``arr_0``, and labels ``arr_1`` if there are any.
    Images may also be called ``images`` or ``x``, and labels ``labels`` or ``y``, but one of each only.

    Images are uint8 [N, H, W, C] with C 1 or 3; [N, C, H, W] too, where only one of the two can be meant. In a file of
    one array they may have any name. Arrays of other names are left alone.

    The file is unpacked as a stream, and no more than a batch of it is in memory (labels: all, 8 bytes a sample). A
    range that begins later is unpacked from the beginning all the same, since a compressed file has no other way.

    Args:
        path: an npz file, compressed or not.
        labels: a .npy of integers [N], where the file has none; None: there are none but those in the file.

    Raises:
        InputError: a file that is damaged or holds anything else. Damage within the images shows when they are read.
    """

    kind = "images"

    def __init__(self, path: str | Path, *, labels: str | Path | None = None) -> None:
        self._path = Path(path)
        with damage_named(str(path)), zipfile.ZipFile(path) as archive:
            arrays = [name for name in archive.namelist() if name.endswith(".npy")]
            self._member = _images_member(arrays, str(path))
            labels_member = _one_of(_LABELS, arrays, str(path), "labels")
            if labels_member is not None and labels is not None:
                raise InputError(f"{self._name(labels_member)} holds labels, wanted those or {labels} (--labels)")
            self._header = self._header_of(archive, self._member)
            self._channels_last = _channels_last(self._header, self._name(self._member))
            self._labels = None if labels_member is None else self._read_labels(archive, labels_member)
        if labels is not None:
            self._labels = read_label_array(labels, self._header.shape[0])
        self.label_origin = self._name(labels_member) if labels_member else str(labels)
        self.count, *image = self._header.shape
        height, width, channels = image if self._channels_last else (*image[1:], image[0])
        self.num_labels = None if self._labels is None else int(self._labels.max()) + 1
        found = "no labels" if self.num_labels is None else f"labels 0 to {self.num_labels - 1}"
        found += "" if labels is None else f" of {labels}"
        self.description = f"{self.count:,} images ({height} x {width}, channels: {channels}) of {path}, {found}"
        self.skipped = []

    def batches(self, batch_size: int, start: int = 0, stop: int | None = None) -> Iterator[Batch]:
        ranges = batch_ranges(self.count, batch_size, start, stop)
        name = self._name(self._member)
        with damage_named(name), zipfile.ZipFile(self._path) as archive, archive.open(self._member) as file:
            for samples in ranges:
                seek_forward(file, self._header.offset + samples.start * self._header.row_bytes)
                images = torch.from_numpy(read_rows(file, self._header, len(samples)))
                if self._channels_last:
                    images = images.permute(0, 3, 1, 2).contiguous()
                yield Batch(images, None if self._labels is None else self._labels[samples.start : samples.stop])

    def _header_of(self, archive: zipfile.ZipFile, member: str) -> NpyHeader:
        with archive.open(member) as file:
            return read_header(file, self._name(member), archive.getinfo(member).file_size)

    def _read_labels(self, archive: zipfile.ZipFile, member: str) -> Tensor:
        header = self._header_of(archive, member)
        with archive.open(member) as file:
            file.seek(header.offset)
            return read_labels(file, header, self._name(member), self._header.shape[0])

    def _name(self, member: str) -> str:
        return f"{member.removesuffix('.npy')} of {self._path}"


class LogitsSource(Source):
    """A classifier's output in an npy file, which is mapped into memory a batch at a time.

    Args:
        path: an npy file, float16, float32 or float64 [N, K] with K at least 2.
        labels: an npy file of integers [N], the true class or the one asked for; None: there are none.
        probabilities: the file holds probabilities, rows that sum to 1, instead of logits.

    Raises:
        InputError: a file that is damaged or holds anything else.
    """

    num_classes: int
    """The number of classes K."""

    def __init__(self, path: str | Path, *, labels: str | Path | None = None, probabilities: bool = False) -> None:
        self.kind = "probabilities" if probabilities else "logits"
        self._path = Path(path)
        with damage_named(str(path)), self._path.open("rb") as file:
            self._header = read_header(file, str(path), os.fstat(file.fileno()).st_size)
        if self._header.dtype.kind != "f" or self._header.dtype.itemsize > 8 or len(self._header.shape) != 2:
            raise InputError(f"{path} is {self._header}, wanted {self.kind}: float16, float32 or float64 [N, K]")
        self.count, self.num_classes = self._header.shape
        if self.num_classes < 2:
            raise InputError(f"{path} is {self._header}, wanted {self.kind} of at least 2 classes")
        self.description = f"{self.count:,} x {self.num_classes:,} {self.kind} ({self._header.dtype}) of {path}"
        self._labels: Tensor | None = None
        if labels is not None:
            self._labels = read_label_array(labels, self.count)
            self.num_labels = int(self._labels.max()) + 1
            self.label_origin = str(labels)
            self.description += f", labels of {labels}"
        self.skipped = []

    def batches(self, batch_size: int, start: int = 0, stop: int | None = None) -> Iterator[Batch]:
        dtype, offset, row_bytes = self._header.dtype, self._header.offset, self._header.row_bytes
        for samples in batch_ranges(self.count, batch_size, start, stop):
            shape = (len(samples), self.num_classes)
            # A mapping for each batch: pages of one for the whole file would count as this process's memory.
            with damage_named(str(self._path)):
                rows = np.memmap(self._path, dtype, "r", offset + samples.start * row_bytes, shape)
            values = torch.from_numpy(rows.astype(dtype.newbyteorder("=")))
            yield Batch(values, None if self._labels is None else self._labels[samples.start : samples.stop])


def _images_member(arrays: list[str], path: str) -> str:
    if (member := _one_of(_IMAGES, arrays, path, "images")) is not None:
        return member
    if len(arrays) == 1:
        return arrays[0]
    found = ", ".join(name.removesuffix(".npy") for name in arrays) or "no arrays"
    raise InputError(f"{path} holds {found}; wanted images as {', '.join(_IMAGES)}, or a single array")


def _one_of(names: tuple[str, ...], arrays: list[str], path: str, what: str) -> str | None:
    """The array that has one of these names; None: none has."""
    found = [name for name in names if f"{name}.npy" in arrays]
    if len(found) > 1:
        raise InputError(f"{path} holds {' and '.join(found)}, which may all be {what}; wanted one of them")
    return f"{found[0]}.npy" if found else None


def _channels_last(header: NpyHeader, name: str) -> bool:
    """Whether images are [N, H, W, C] and not [N, C, H, W]."""
    wanted = f"wanted uint8 [N, H, W, C] with C {' or '.join(map(str, _CHANNELS))}"
    if header.dtype != np.uint8:
        raise InputError(f"{name} is {header}, {wanted}: pixels 0 to 255, not in [0, 1] or [-1, 1]")
    if len(header.shape) != 4:
        raise InputError(f"{name} is {header}, {wanted}")
    last, first = header.shape[3] in _CHANNELS, header.shape[1] in _CHANNELS
    if last == first:
        why = "could be [N, H, W, C] or [N, C, H, W]" if last else "has no dimension of 1 or 3 channels"
        raise InputError(f"{name} is {header}, which {why}; {wanted}")
    return last
