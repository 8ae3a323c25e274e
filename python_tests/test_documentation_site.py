"""What `make docs` cannot know: that nothing public is left out of the documentation site."""

from __future__ import annotations

import importlib
import re
from pathlib import Path

import pytest

DOCS = Path(__file__).parent.parent / "docs"

ROOMS = ["data", "evaluate", "metrics", "metrics.modules", "nn", "objectives", "ops", "runs", "train"]


def shown() -> set[str]:
    """What the pages of the reference show, name by name or as a whole room."""
    pages = "\n".join(path.read_text() for path in (DOCS / "api").glob("*.md"))
    return set(re.findall(r"^#+ ::: (\S+)$(?!\n +options:\n +members: false)", pages, re.MULTILINE))


@pytest.mark.parametrize("room", ROOMS)
def test_every_public_name_of_a_room_is_in_the_reference(room):
    module = importlib.import_module(f"amgan_fast.{room}")
    names = {f"{module.__name__}.{name}" for name in module.__all__}
    assert module.__name__ in shown() or names - shown() == set()
