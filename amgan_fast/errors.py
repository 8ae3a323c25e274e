"""The error that the application reports to its user in one line, and others made to fit in it."""

from __future__ import annotations

_LONGEST = 240  # characters


class InputError(ValueError):
    """Something the user gave (an option, a file, a folder) cannot be used; says what was found and wanted."""


def in_one_line(error: BaseException) -> str:
    """Its type and what it says, cut where it is too long: some of PyTorch's list every key of a network."""
    text = " ".join(f"{type(error).__name__}: {error}".split()).removesuffix(":")
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]} ..."
