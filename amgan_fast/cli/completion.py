"""What a shell completes the value of an option to."""

from __future__ import annotations

from collections.abc import Callable

from amgan_fast.option_declarations import Option


def values_for(option: Option) -> Callable[[str], list[str]]:
    """A function from what has been typed of a value to what it may become, as Typer takes it.

    >>> from amgan_fast.cli.completion import values_for
    >>> from amgan_fast.option_declarations import Option
    >>> values_for(Option("models", values=("gan", "gan-star", "amgan"), several=True))("amgan,ga")
    ['amgan,gan', 'amgan,gan-star']
    """

    def complete(incomplete: str) -> list[str]:
        before, comma, begun = incomplete.rpartition(",") if option.several else ("", "", incomplete)
        taken = before.split(",")
        return [before + comma + value for value in option.values if value.startswith(begun) and value not in taken]

    return complete
