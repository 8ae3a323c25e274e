"""Files in NumPy's npy format whose rows come one batch after the other."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import numpy as np
from numpy.typing import DTypeLike

from amgan_fast.files import whole_file


def write_npy_header(file: IO[bytes], shape: tuple[int, ...], dtype: DTypeLike) -> None:
    """What comes before the rows of an array, in C order.

    >>> import io
    >>> import numpy as np
    >>> from amgan_fast.evaluate.npy_writing import write_npy_header
    >>> file = io.BytesIO()
    >>> write_npy_header(file, (2,), np.uint8)
    >>> _ = file.write(bytes([7, 9])), file.seek(0)
    >>> np.load(file).tolist()
    [7, 9]
    """
    descr = np.lib.format.dtype_to_descr(np.dtype(dtype))
    np.lib.format.write_array_header_1_0(file, {"descr": descr, "fortran_order": False, "shape": shape})


class NpyRows:
    """An array that grows by rows. Their number need not be known before: the header has room for any.

    Args:
        file: empty, for writing and seeking.
    """

    def __init__(self, file: IO[bytes], dtype: DTypeLike) -> None:
        self._file = file
        self._dtype = np.dtype(dtype)
        self._row_shape: tuple[int, ...] | None = None
        self._count = 0

    def add(self, rows: np.ndarray) -> None:
        """
        Args:
            rows: [N, ...], all but N as in the first call.
        """
        if self._row_shape is None:
            self._row_shape = rows.shape[1:]
            self._write_header()
        self._file.write(np.ascontiguousarray(rows, self._dtype).data)
        self._count += len(rows)

    def finish(self) -> None:
        """Write how many rows there are."""
        self._file.seek(0)
        self._write_header()

    def _write_header(self) -> None:
        write_npy_header(self._file, (self._count, *(self._row_shape or ())), self._dtype)


@contextmanager
def growing_npy(path: Path, dtype: DTypeLike) -> Iterator[NpyRows]:
    """A file that takes its place once all rows are there.

    Raises:
        OSError: it cannot be written; what was there is as it was.

    >>> from pathlib import Path
    >>> import numpy as np
    >>> from amgan_fast.evaluate.npy_writing import growing_npy
    >>> with growing_npy(Path("rows.npy"), np.float32) as file:
    ...     for count in (2, 1):
    ...         file.add(np.ones((count, 4)))
    >>> np.load("rows.npy").shape
    (3, 4)
    """
    with whole_file(path) as temporary, temporary.open("wb") as file:
        rows = NpyRows(file, dtype)
        yield rows
        rows.finish()
