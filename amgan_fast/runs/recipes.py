"""Settings that ship with the package, one .toml for a dataset."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from amgan_fast.runs.toml import read_toml

_FOLDER = Path(__file__).parent.parent / "recipes"

RECIPES = tuple(sorted(path.stem for path in _FOLDER.glob("*.toml")))
"""Datasets whose runs have other settings than the defaults, which are those for digits."""


def read_recipe(dataset: str) -> dict[str, Any]:
    """What a dataset's runs have other than the defaults; nothing where there is no recipe."""
    return read_toml(_FOLDER / f"{dataset}.toml") if dataset in RECIPES else {}
