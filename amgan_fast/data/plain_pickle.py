"""Reads pickles of plain values and arrays of bytes without executing anything.

A pickle is a program: it names functions and has them called. Here the few names that NumPy's arrays need lead to
stand-ins below, which keep what they are given, and any other name is refused. NumPy's own functions are not called
either: they trust what they are given, down to memory addresses in an array's buffer.
"""

from __future__ import annotations

import pickle
from typing import Any, BinaryIO

import numpy as np


def load_plain_pickle(file: BinaryIO) -> Any:
    """What was pickled, with :class:`ByteArray` for NumPy arrays and bytes for the strings of Python 2.

    Raises:
        pickle.UnpicklingError: it names anything but a uint8 array. A damaged file raises other errors as well.
    """
    return _Unpickler(file, encoding="bytes").load()


class _StandIn:
    def __setstate__(self, state: Any) -> None:
        """Ignores it. Without this method a pickle could set attributes, even of the class."""


class ByteArray(_StandIn):
    """Stands in for a NumPy array of uint8."""

    def __init__(self, *_: object) -> None:
        self.values = np.empty(0, np.uint8)

    def __setstate__(self, state: Any) -> None:
        _version, shape, dtype, column_major, content = state
        if not isinstance(dtype, _DType) or dtype.name not in ("u1", b"u1") or not isinstance(content, bytes):
            raise pickle.UnpicklingError("an array of another type than uint8")
        self.values = np.frombuffer(content, np.uint8).reshape(shape, order="F" if column_major else "C")


class _DType(_StandIn):
    def __init__(self, name: object, *_: object) -> None:
        self.name = name


class _Latin1(_StandIn):
    """How the protocols before 3 write bytes: as text that is to be encoded."""

    def __new__(cls, text: str, encoding: str) -> bytes:  # type: ignore[misc]
        return text.encode("latin-1")


_STAND_INS: dict[tuple[str, str], type] = {
    ("numpy", "ndarray"): ByteArray,
    ("numpy", "dtype"): _DType,
    ("numpy.core.multiarray", "_reconstruct"): ByteArray,
    ("numpy._core.multiarray", "_reconstruct"): ByteArray,
    ("_codecs", "encode"): _Latin1,
}


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> type:
        if (module, name) not in _STAND_INS:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}, which is not executed")
        return _STAND_INS[module, name]
