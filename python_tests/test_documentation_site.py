"""What `make docs` cannot know: that nothing public and no score is left out of the documentation site."""

from __future__ import annotations

import importlib
import re
from pathlib import Path

import pytest

from amgan_fast.evaluate.feature_scores import FEATURE_SCORES
from amgan_fast.metrics import SCORES

DOCS = Path(__file__).parent.parent / "docs"

ROOMS = ["data", "evaluate", "metrics", "metrics.modules", "nn", "objectives", "ops", "runs", "train"]
PAGES = sorted(path for path in (DOCS / "scores").glob("*.md") if path.name != "index.md")


def shown() -> set[str]:
    """What the pages of the reference show, name by name or as a whole room."""
    pages = "\n".join(path.read_text() for path in (DOCS / "api").glob("*.md"))
    return set(re.findall(r"^#+ ::: (\S+)$(?!\n +options:\n +members: false)", pages, re.MULTILINE))


@pytest.mark.parametrize("room", ROOMS)
def test_every_public_name_of_a_room_is_in_the_reference(room):
    module = importlib.import_module(f"amgan_fast.{room}")
    names = {f"{module.__name__}.{name}" for name in module.__all__}
    assert module.__name__ in shown() or names - shown() == set()


def test_every_score_of_a_table_is_in_the_table_of_scores():
    table = (DOCS / "scores" / "index.md").read_text()
    shown = [name.title for name in SCORES if name.of is None]
    shown += [title.split(",")[0].strip() for title in FEATURE_SCORES.values()]
    assert [title for title in shown if f"[{title}](" not in table] == []


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.stem)
def test_a_score_has_a_formula_a_picture_and_the_command_that_draws_it(path):
    text = path.read_text()
    (command,) = re.findall(r"^python -m benchmarks\.score_pictures --only (\w+)$", text, re.MULTILINE)
    picture = DOCS / "images" / "scores" / f"{command}.png"
    assert f"](../images/scores/{picture.name})" in text
    assert picture.stat().st_size < 40_000
    assert "\n$$\n" in text
    assert f"]({path.name}" in (path.parent / "index.md").read_text()
