"""Picture files that are there whole or not at all."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from torch import Tensor
from torch.nn.functional import interpolate

from amgan_fast.files import whole_file

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_CELL_PIXELS = 56


def new_figure(panels: int = 1, rows: int = 1) -> Figure:
    """A figure of rows of so many panels side by side, without pyplot and its global state."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(1.5 + 4.5 * panels, 3.8 * rows), layout="constrained")
    for axes in figure.subplots(rows, panels, squeeze=False).flat:
        axes.grid(alpha=0.3)
        axes.set_axisbelow(True)
    return figure


def save_figure(path: Path, figure: Figure) -> None:
    """The suffix of ``path`` names the format."""
    with whole_file(path) as file:
        figure.savefig(file, dpi=90)


def save_sheet(path: Path, rows: Tensor) -> None:
    """A sheet of images, small ones enlarged by a whole factor.

    Args:
        rows: uint8 [R, S, C, H, W], R rows of S images; C is 1 or 3.
    """
    from torchvision.utils import make_grid, save_image

    enlarge = max(1, round(_CELL_PIXELS / rows.size(-1)))
    images = interpolate(rows.flatten(0, 1).cpu() / 255, scale_factor=enlarge, mode="nearest")
    with whole_file(path) as file:
        save_image(make_grid(images, nrow=rows.size(1), padding=2, pad_value=0.5), file)
