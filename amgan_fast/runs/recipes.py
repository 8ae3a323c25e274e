"""Settings that ship with the package: a .toml for a dataset, or for images of a size where a dataset has none, and one
for what training has today that the paper's did not have."""

from __future__ import annotations

from pathlib import Path
from typing import Any, get_args

from amgan_fast.option_declarations import RecipeName
from amgan_fast.runs.toml import read_toml

_FOLDER = Path(__file__).parent.parent / "recipes"
_SMALL = 16  # pixels a side

DATASETS_WITH_RECIPES = tuple(sorted(path.stem for path in _FOLDER.glob("*.toml")))
"""Datasets whose runs have other settings than the defaults, which are those for digits."""


RECIPES = get_args(RecipeName)
"""``"paper"``: a dataset's settings as they are, which are those of Zhou et al. (arXiv 1703.02000) where it trained on
it; ``"modern"``: with what GANs have been trained with since.

>>> from amgan_fast.runs import RECIPES, Config
>>> [Config.for_dataset("digits", recipe=name).r1 for name in RECIPES]
[0.0, 0.1]
"""


def read_additions(recipe: str) -> dict[str, Any]:
    """What one of :data:`RECIPES` changes in the settings of every dataset."""
    return {} if recipe == "paper" else read_toml(_FOLDER / "additions" / f"{recipe}.toml")


def read_recipe(dataset: str) -> dict[str, Any]:
    """What a dataset's runs have other than the defaults; nothing where there is no recipe."""
    return read_toml(_FOLDER / f"{dataset}.toml") if dataset in DATASETS_WITH_RECIPES else {}


def read_recipe_by_size(size: tuple[int, int]) -> tuple[dict[str, Any], str]:
    """What runs on images of (H, W) pixels have other than the defaults, and why."""
    name, reason = _by_size(*size)
    return read_toml(_FOLDER / "by_size" / f"{name}.toml"), reason


def _by_size(height: int, width: int) -> tuple[str, str]:
    if (height, width) == (128, 128):
        return "acgan128", "a network made for that size"
    if max(height, width) <= _SMALL:
        return "mlp", "so few pixels need no convolutions"
    if height % 4 or width % 4:
        nearest = 4 * max(1, round(min(height, width) / 4))
        return "mlp-large", f"convolutions want sides that are multiples of 4, as image_size={nearest} makes them"
    return "conv", "convolutions, for sides that are multiples of 4"
