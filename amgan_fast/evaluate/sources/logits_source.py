"""Logits and probabilities in a file of NumPy's, a batch of rows at a time."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch

from amgan_fast.errors import InputError
from amgan_fast.evaluate.sources.label_file import read_label_array
from amgan_fast.evaluate.sources.npy import damage_named, read_npy_header
from amgan_fast.evaluate.sources.source import Batch, Source, batch_ranges

_LOOKED_AT = 2**20  # bytes


class LogitsSource(Source):
    """A classifier's output in an npy file, which is mapped into memory a batch at a time.

    Args:
        path: an npy file, float16, float32 or float64 [N, K] with K at least 2.
        labels: an npy file of integers [N], the true class or the one asked for; None: there are none.
        probabilities: the file holds probabilities, rows that sum to 1, instead of logits.

    Raises:
        InputError: a file that is damaged or holds anything else.

    >>> import tempfile
    >>> from pathlib import Path
    >>> import numpy as np
    >>> from amgan_fast.evaluate.sources import LogitsSource
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     np.save(Path(folder) / "logits.npy", np.zeros((100, 10), np.float32))
    ...     source = LogitsSource(Path(folder) / "logits.npy")
    ...     print(source.count, [batch.values.shape for batch in source.batches(50, start=40)])
    100 [torch.Size([50, 10]), torch.Size([10, 10])]
    """

    num_classes: int
    """The number of classes K."""

    def __init__(self, path: str | Path, *, labels: str | Path | None = None, probabilities: bool = False) -> None:
        self.kind = "probabilities" if probabilities else "logits"
        self._path = Path(path)
        with damage_named(str(path)), self._path.open("rb") as file:
            self._header = read_npy_header(file, str(path), os.fstat(file.fileno()).st_size)
        if self._header.dtype.kind != "f" or self._header.dtype.itemsize > 8 or len(self._header.shape) != 2:
            raise InputError(f"{path} is {self._header}, wanted {self.kind}: float16, float32 or float64 [N, K]")
        self.count, self.num_classes = self._header.shape
        if self.num_classes < 2:
            raise InputError(f"{path} is {self._header}, wanted {self.kind} of at least 2 classes")
        self.description = f"{self.count:,} x {self.num_classes:,} {self.kind} ({self._header.dtype}) of {path}"
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

    def _identity(self) -> bytes:
        """Of the first rows and the last, beside what there is."""
        with damage_named(str(self._path)), self._path.open("rb") as file:
            first = file.read(_LOOKED_AT)
            file.seek(max(0, os.fstat(file.fileno()).st_size - _LOOKED_AT))
            return str(self._header).encode() + first + file.read()
