"""Files in NumPy's npy format, on their own or in an npz: the header checked, and nothing executed.

Format: numpy.lib.format. Objects in it are pickles, which may run any code when loaded: they are refused unread.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import IO

import numpy as np
import torch
from torch import Tensor

from amgan_fast.errors import InputError, shortened
from amgan_fast.option_checks import LARGEST_INT

_CHUNK = 2**20  # bytes
_HEADER_READERS = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}


@dataclass(frozen=True)
class NpyHeader:
    """What an array in a file is, and where it begins. Its rows follow each other: C order."""

    shape: tuple[int, ...]
    dtype: np.dtype
    offset: int
    """Bytes before the first row."""

    @property
    def row_bytes(self) -> int:
        return math.prod(self.shape[1:]) * self.dtype.itemsize

    def __str__(self) -> str:
        return f"{self.dtype} {list(self.shape)}"


def read_npy_header(file: IO[bytes], name: str, size: int) -> NpyHeader:
    """Read from the start of ``file`` of ``size`` bytes, called ``name`` in messages.

    Raises:
        InputError: no npy file, one of objects, in Fortran order or without rows, or one of another size than its
            header says.
    """
    with damage_named(name):
        reader = _HEADER_READERS.get(np.lib.format.read_magic(file))
        if reader is None:
            raise ValueError("a version of the format that has named fields")
        try:
            shape, fortran_order, dtype = reader(file)
        except MemoryError:  # of Python's parser
            raise ValueError("a header that is nested too deep") from None
        if max(shape, default=0) > LARGEST_INT:
            raise ValueError("a shape beyond 64 bits")
    header = NpyHeader(shape, dtype, file.tell())
    if dtype.hasobject:
        raise InputError(f"{name} holds pickled objects, which run code when loaded; wanted an array of numbers")
    if not shape or min(shape) < 1:
        raise InputError(f"{name} is {header}, wanted at least one row")
    if fortran_order:
        raise InputError(f"{name} is in Fortran order, wanted C order: numpy.ascontiguousarray before it is saved")
    wanted = header.offset + shape[0] * header.row_bytes
    if size != wanted:
        raise InputError(f"{name} has {size:,} bytes, wanted {wanted:,} for {header}, as its header says")
    return header


def read_rows(file: IO[bytes], header: NpyHeader, count: int) -> np.ndarray:
    """The next ``count`` rows, [count, ...], without a second copy of them in memory.

    Raises:
        EOFError: there are fewer.
    """
    data = bytearray(count * header.row_bytes)
    done = 0
    while done < len(data):
        chunk = file.read(min(_CHUNK, len(data) - done))
        if not chunk:
            raise EOFError(f"it ends {len(data) - done:,} bytes too early")
        data[done : done + len(chunk)] = chunk
        done += len(chunk)
    return np.frombuffer(data, header.dtype).reshape(count, *header.shape[1:])


def seek_forward(file: IO[bytes], position: int) -> None:
    """Go on to ``position``, in steps: a zip file unpacks what is passed over, all of a step at once."""
    for place in range(file.tell(), position, _CHUNK):
        file.seek(min(place + _CHUNK, position))


def read_labels(file: IO[bytes], header: NpyHeader, name: str, count: int) -> Tensor:
    """All of an array of labels, int64 [count].

    Raises:
        InputError: other than ``count`` integers, or one below 0.
    """
    if header.dtype.kind not in "iu" or header.shape != (count,):
        raise InputError(f"{name} is {header}, wanted integers [{count}], a label for each sample")
    with damage_named(name):
        labels = torch.from_numpy(read_rows(file, header, count).astype(np.int64))
    if labels.min() < 0:
        raise InputError(f"{name} has a label of {int(labels.min())}, wanted 0 or more")
    return labels


@contextmanager
def damage_named(name: str) -> Iterator[None]:
    """Turns whatever a damaged file raises into an InputError that says which file it is."""
    try:
        yield
    except (InputError, MemoryError):
        raise
    except Exception as error:  # zip, its compressions and NumPy's parser each have their own
        if isinstance(error, OSError) and error.strerror:
            raise InputError(f"{name} cannot be read ({error.strerror})") from None
        reason = shortened((str(error) or type(error).__name__).splitlines()[0])
        raise InputError(f"{name} is damaged, or not what its suffix says ({reason})") from error
