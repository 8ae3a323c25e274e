"""The error that the application reports to its user in one line, and others made to fit in it."""

from __future__ import annotations


class InputError(ValueError):
    """Something the user gave (an option, a file, a folder) cannot be used; says what was found and wanted."""


def in_one_line(error: Exception) -> str:
    """Its type and the first line of what it says."""
    lines = str(error).splitlines()
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__
