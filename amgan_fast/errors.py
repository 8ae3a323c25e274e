"""Which error is whose, and messages that fit in one line.

An argument of a public function or class that cannot be used is a ``ValueError`` or a ``TypeError``: in ``ops``,
``objectives``, ``nn`` and ``metrics``. What the user gave, an option, a file, a folder or a configuration, is an
:class:`InputError`, which the command line reports in one line; where it becomes an argument,
:func:`as_input_error` makes the one of the other.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from numbers import Number

_LONGEST = 240  # characters
_LONGEST_VALUE = 80


class InputError(ValueError):
    """Something the user gave (an option, a file, a folder) cannot be used; says what was found and wanted."""


@contextmanager
def as_input_error(where: str = "") -> Iterator[None]:
    """What is called here has the user's values as arguments: their ``ValueError`` is an :class:`InputError`. Also a
    decorator.

    Args:
        where: what the message begins with.
    """
    try:
        yield
    except ValueError as error:
        raise InputError(f"{where}{error}") from None


def in_one_line(error: BaseException) -> str:
    """Its type and what it says, cut where it is too long: some of PyTorch's list every key of a network."""
    text = " ".join(f"{type(error).__name__}: {error}".split()).removesuffix(":")
    return shortened(text)


def shortened(text: str, longest: int = _LONGEST) -> str:
    """Cut where it is longer."""
    return text if len(text) <= longest else f"{text[:longest]} ..."


def shown(value: object) -> str:
    """How a value is written, cut where it is too long: for messages about what may be anything."""
    try:
        text = repr(value)
    except (RecursionError, ValueError):  # nested too deep, an integer of too many digits
        return f"a {type(value).__name__} too large to show"
    return shortened(text, _LONGEST_VALUE)


def found(value: object) -> str:
    """What an argument of a wrong type is: numbers and strings as they are written, others by their type."""
    return shown(value) if value is None or isinstance(value, Number | str | bytes) else f"a {type(value).__name__}"


def printable(text: str) -> str:
    """``text`` in one line that every terminal and file takes: line breaks, control characters and the bytes of names
    that are no UTF-8, which Python keeps as surrogates, as escapes."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def counted(count: int, noun: str) -> str:
    """``1 image``, ``1,200 images``."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def some_of(names: Sequence[str]) -> str:
    """The first three, and how many more there are."""
    more = f" and {len(names) - 3:,} more" if len(names) > 3 else ""
    return ", ".join(names[:3]) + more
