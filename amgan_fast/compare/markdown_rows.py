"""A table in Markdown."""

from __future__ import annotations

from collections.abc import Sequence


def markdown_rows(lines: Sequence[Sequence[str]]) -> str:
    """Of cells, the first line being the head."""
    head, *body = (f"| {' | '.join(line)} |" for line in lines)
    return "\n".join([head, "|" + "---|" * len(lines[0]), *body])
