"""Imports go the way that docs/design.md says: from a room to its own floor and those below."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "amgan_fast"
BEFORE_ALL = ("_library", "_extension", "build_info", "__version__")
"""The compiled library and what is said of it: anyone may ask."""


def floors() -> dict[str, int]:
    """The row of each room in the document's first table, from above."""
    rows = re.findall(r"^\| (`.*?`) \|", (ROOT / "docs" / "design.md").read_text(), re.MULTILINE)
    return {room: floor for floor, row in enumerate(rows) for room in re.findall(r"`(\w+)`", row)}


def rooms() -> list[str]:
    found = [path.stem for path in PACKAGE.iterdir() if path.suffix == ".py" or (path / "__init__.py").exists()]
    return sorted(room for room in found if not room.startswith("_"))


def imported(path: Path) -> set[str]:
    """Rooms that a file imports from, anywhere in it."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module == "amgan_fast":
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("amgan_fast."):
            names.add(node.module.split(".")[1])
        elif isinstance(node, ast.Import):
            names |= {alias.name.split(".")[1] for alias in node.names if alias.name.startswith("amgan_fast.")}
    return names - set(BEFORE_ALL)


def test_every_room_has_a_floor():
    assert sorted(floors()) == rooms()


@pytest.mark.parametrize("room", rooms())
def test_a_room_imports_from_its_floor_and_those_below(room):
    for path in sorted((PACKAGE / room).rglob("*.py")) or [PACKAGE / f"{room}.py"]:
        above = [name for name in imported(path) if floors()[name] < floors()[room]]
        assert not above, f"{path.relative_to(ROOT)} imports {', '.join(above)} from above"


def test_names_of_runs_are_the_same_for_checkers_for_stars_and_when_asked_for():
    """The three lists of the room whose names are imported when they are asked for."""
    import amgan_fast.runs as room

    (checked,) = (node for node in ast.parse(Path(room.__file__).read_text()).body if isinstance(node, ast.If))
    imported = {node.module: sorted(alias.name for alias in node.names) for node in checked.body}
    assert imported == {f"amgan_fast.runs.{name}": sorted(names.split()) for name, names in room._MODULES.items()}
    assert sorted(room.__all__) == sorted(name for names in imported.values() for name in names)
    assert all(getattr(room, name) is not None for name in room.__all__)
