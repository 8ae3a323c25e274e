"""Images in an archive of NumPy's arrays, a batch of rows at a time."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from amgan_fast.errors import InputError
from amgan_fast.evaluate.sources.label_file import read_label_array
from amgan_fast.evaluate.sources.npy import (
    NpyHeader,
    damage_named,
    read_labels,
    read_npy_header,
    read_rows,
    seek_forward,
)
from amgan_fast.evaluate.sources.source import Batch, Source, batch_ranges

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

    >>> import tempfile
    >>> from pathlib import Path
    >>> import numpy as np
    >>> from amgan_fast.evaluate.sources import NpzSource
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     images = np.zeros((100, 32, 32, 3), np.uint8)
    ...     np.savez(Path(folder) / "samples.npz", arr_0=images, arr_1=np.arange(100) % 10)
    ...     source = NpzSource(Path(folder) / "samples.npz")
    ...     print(source.num_labels, [batch.values.shape for batch in source.batches(64)])
    10 [torch.Size([64, 3, 32, 32]), torch.Size([36, 3, 32, 32])]
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

    def _identity(self) -> bytes:
        with damage_named(str(self._path)), zipfile.ZipFile(self._path) as archive:
            return f"{self._header} {archive.getinfo(self._member).CRC}".encode()

    def _header_of(self, archive: zipfile.ZipFile, member: str) -> NpyHeader:
        with archive.open(member) as file:
            return read_npy_header(file, self._name(member), archive.getinfo(member).file_size)

    def _read_labels(self, archive: zipfile.ZipFile, member: str) -> Tensor:
        header = self._header_of(archive, member)
        with archive.open(member) as file:
            file.seek(header.offset)
            return read_labels(file, header, self._name(member), self._header.shape[0])

    def _name(self, member: str) -> str:
        return f"{member.removesuffix('.npy')} of {self._path}"


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
