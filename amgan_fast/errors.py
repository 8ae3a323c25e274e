"""The error that the application reports to its user in one line."""

from __future__ import annotations


class InputError(ValueError):
    """Something the user gave (an option, a file, a folder) cannot be used; says what was found and wanted."""
