"""Reads pickles of plain values and arrays of numbers without executing anything.

A pickle is a program: it names functions and has them called. Here the few names that NumPy's arrays need lead to
stand-ins below, which keep what they are given, and any other name is refused. NumPy's own functions are not called
either: they trust what they are given, down to memory addresses in an array's buffer. Memory is bounded by the file's.

Every stand-in is a class with a ``__setstate__``: attributes of a function a pickle could set.
"""

from __future__ import annotations

import pickle
import pickletools
from io import BytesIO
from typing import Any, BinaryIO

import numpy as np


def load_plain_pickle(file: BinaryIO) -> Any:
    """What was pickled, by any protocol, with :class:`PlainArray` for NumPy arrays, Python's numbers for NumPy's, and
    bytes for the strings of Python 2.

    Raises:
        pickle.UnpicklingError: it names anything but arrays of numbers. A damaged file raises other errors as well.
    """
    content = file.read()
    _check_memo(content)
    return _Unpickler(BytesIO(content), encoding="bytes").load()


def _check_memo(content: bytes) -> None:
    """Python's unpickler makes room for the largest number that an object is to be remembered by, up to 64 GB for ten
    bytes of a file; no pickle needs more of them than it has bytes. What is cut short is found here, too."""
    for opcode, number, _place in pickletools.genops(content):
        if opcode.name in ("PUT", "BINPUT", "LONG_BINPUT") and isinstance(number, int) and number > len(content):
            raise pickle.UnpicklingError(
                f"it remembers an object by the number {number}, beyond its {len(content)} bytes"
            )


class _StandIn:
    def __setstate__(self, state: Any) -> None:
        """Ignores it. Without this method a pickle could set attributes, even of the class."""


class PlainArray(_StandIn):
    """Stands in for a NumPy array of numbers, which ``values`` is."""

    def __init__(self, *_: object) -> None:
        self.values = np.empty(0, np.uint8)

    def __setstate__(self, state: Any) -> None:
        _version, shape, dtype, column_major, content = state
        self.values = _numbers(content, dtype).reshape(shape, order="F" if column_major else "C")


class _FromBuffer(_StandIn):
    """``_frombuffer``, by which protocol 5 makes arrays whose elements lie one after another in some order of axes."""

    def __new__(cls, content: object, dtype: object, shape: Any, order: Any, axes: Any = None) -> PlainArray:  # type: ignore[misc]
        array = PlainArray()
        values = _numbers(content, dtype)
        array.values = values.reshape(shape, order=order) if axes is None else values.reshape(shape).transpose(axes)
        return array


class _Scalar(_StandIn):
    """A NumPy number, among the labels of a list, say."""

    def __new__(cls, dtype: object, content: object) -> int | float:  # type: ignore[misc]
        (value,) = _numbers(content, dtype).tolist()
        return value


class _DType(_StandIn):
    def __init__(self, name: object, *_: object) -> None:
        self.name = _text(name)
        self.byte_order: object = "="

    def __setstate__(self, state: Any) -> None:
        self.byte_order = _text(state[1])


class _Latin1(_StandIn):
    """How the protocols before 3 write bytes: as text that is to be encoded."""

    def __new__(cls, text: str, encoding: str) -> bytes:  # type: ignore[misc]
        return text.encode("latin-1")


_NUMBERS = ("b1", "u1", "u2", "u4", "u8", "i1", "i2", "i4", "i8", "f2", "f4", "f8")


def _numbers(content: object, dtype: object) -> np.ndarray:
    if not isinstance(dtype, _DType) or dtype.name not in _NUMBERS or dtype.byte_order not in ("<", ">", "|", "="):
        raise pickle.UnpicklingError(f"an array of {getattr(dtype, 'name', dtype)!r}, which are no numbers")
    if not isinstance(content, (bytes, bytearray)):
        raise pickle.UnpicklingError(f"an array in a {type(content).__name__}, wanted bytes")
    return np.frombuffer(content, np.dtype(dtype.byte_order + dtype.name))


def _text(value: object) -> object:
    return value.decode() if isinstance(value, bytes) else value


_STAND_INS: dict[tuple[str, str], type] = {
    ("numpy", "ndarray"): PlainArray,
    ("numpy", "memmap"): PlainArray,
    ("numpy", "dtype"): _DType,
    **{
        (f"numpy.{core}.{module}", name): stand_in
        for core in ("core", "_core")  # before and since NumPy 2
        for module, name, stand_in in (
            ("multiarray", "_reconstruct", PlainArray),
            ("multiarray", "scalar", _Scalar),
            ("numeric", "_frombuffer", _FromBuffer),
        )
    },
    ("_codecs", "encode"): _Latin1,
}


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> type:
        if (module, name) not in _STAND_INS:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}, which is not executed")
        return _STAND_INS[module, name]
