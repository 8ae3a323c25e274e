"""Commands whose help has no word for the value of a flag, which takes none."""

from __future__ import annotations

from typing import Any

from typer.core import TyperCommand, TyperGroup


class Command(TyperCommand):
    """Also of the options that Typer adds: ``--help``."""

    def get_params(self, ctx: Any) -> Any:
        return _without_words(super().get_params(ctx))


class Group(TyperGroup):
    """Also of those for completion."""

    def get_params(self, ctx: Any) -> Any:
        return _without_words(super().get_params(ctx))


def _without_words(options: Any) -> Any:
    for option in options:
        if getattr(option, "is_flag", False):
            option.metavar = ""
    return options
