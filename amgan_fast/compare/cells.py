"""What is compared: a cell is one training run."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from amgan_fast.errors import as_input_error
from amgan_fast.option_checks import check_range
from amgan_fast.runs import LABELS, Config, RunFolder

COMPARED = ("gan", "gan-star", "catgan", "acgan-star", "acgan", "acgan-star-plus", "labelgan", "amgan")
"""Models in the order of table 1 of Zhou et al., arXiv 1703.02000, with CatGAN and AC-GAN in their places."""

_MOST_SEEDS = 10_000


@dataclass(frozen=True)
class Cell:
    """One run of a comparison.

    >>> from amgan_fast.compare import Cell
    >>> from amgan_fast.runs import Config
    >>> Cell(Config(model="gan", seed=2)).name
    'gan-dynamic-seed2'
    """

    config: Config

    @property
    def name(self) -> str:
        """Of its folder."""
        return self.config.name

    def run(self, root: Path) -> RunFolder:
        """Where it is in the folder of a comparison."""
        return RunFolder(root / "runs" / self.name)


def plan(
    base: Config, *, models: Sequence[str] = COMPARED, labels: Iterable[str] = LABELS, seeds: int = 3
) -> list[Cell]:
    """A cell for every model, labelling and seed, which are all that differs from ``base``. Seed by seed, so that a
    comparison that is stopped has all models.

    Raises:
        InputError: an unknown model, or ``seeds`` out of its range.

    >>> from amgan_fast.compare import plan
    >>> from amgan_fast.runs import Config
    >>> [cell.name for cell in plan(Config(), models=["gan", "amgan"], labels=["dynamic"], seeds=1)]
    ['gan-dynamic-seed0', 'amgan-dynamic-seed0']
    """
    with as_input_error():
        check_range("seeds", seeds, 1, _MOST_SEEDS)
    return [
        Cell(replace(base, model=model, labels=labelling, seed=base.seed + seed))
        for seed in range(seeds)
        for model in models
        for labelling in labels
    ]


def settings(cells: Sequence[Cell]) -> dict[str, Any]:
    """What all cells have in common."""
    config = cells[0].config.to_dict()
    return {name: value for name, value in config.items() if name not in ("model", "labels", "seed")}
