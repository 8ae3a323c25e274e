"""What is compared: a cell is one training run."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from amgan_fast.errors import as_input_error
from amgan_fast.option_checks import check_range
from amgan_fast.runs import LABELS, Config

COMPARED = ("gan", "gan-star", "catgan", "acgan-star", "acgan", "acgan-star-plus", "labelgan", "amgan")
"""Models in the order of table 1 of Zhou et al., arXiv 1703.02000, with CatGAN and AC-GAN in their places."""

_MOST_SEEDS = 10_000


@dataclass(frozen=True)
class Cell:
    """One run of a comparison."""

    config: Config

    @property
    def name(self) -> str:
        """Of its folder."""
        return f"{self.config.model}-{self.config.labels}-seed{self.config.seed}"


def plan(
    base: Config, *, models: Sequence[str] = COMPARED, labels: Iterable[str] = LABELS, seeds: int = 3
) -> list[Cell]:
    """A cell for every model, labelling and seed, which are all that differs from ``base``. Seed by seed, so that a
    comparison that is stopped has all models.

    Raises:
        InputError: an unknown model, or ``seeds`` out of its range.
    """
    with as_input_error():
        check_range("seeds", seeds, 1, _MOST_SEEDS)
    return [
        Cell(replace(base, model=model, labels=labelling, seed=base.seed + seed))
        for seed in range(seeds)
        for model in models
        for labelling in labels
    ]


def folder_of(root: Path, cell: Cell) -> Path:
    return root / "runs" / cell.name


def settings(cells: Sequence[Cell]) -> dict[str, Any]:
    """What all cells have in common."""
    config = cells[0].config.to_dict()
    return {name: value for name, value in config.items() if name not in ("model", "labels", "seed")}
