"""Picture files that are there whole or not at all."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn.functional import interpolate

from amgan_fast.errors import printable
from amgan_fast.files import whole_file

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_CELL_PIXELS = 56
_PADDING = 2
_FONT_SIZE = 14
_LONGEST_NAME = 24  # characters


def new_figure(panels: int = 1, rows: int = 1) -> Figure:
    """A figure of rows of so many panels side by side, without pyplot and its global state."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(1.5 + 4.5 * panels, 3.8 * rows), layout="constrained")
    for axes in figure.subplots(rows, panels, squeeze=False).flat:
        axes.grid(alpha=0.3)
        axes.set_axisbelow(True)
    return figure


def drawable(values: Sequence[float | None]) -> list[float]:
    """What is None in files, being infinite or undefined, is a gap in a curve."""
    return [math.nan if value is None else value for value in values]


def short_names(names: Sequence[str]) -> list[str]:
    """Names as they can be drawn, cut where they are too long."""
    texts = map(printable, names)
    return [text if len(text) <= _LONGEST_NAME else f"{text[: _LONGEST_NAME - 1]}…" for text in texts]


def save_figure(path: Path, figure: Figure) -> None:
    """The suffix of ``path`` names the format."""
    with whole_file(path) as file:
        figure.savefig(file, dpi=90)


def save_sheet(path: Path, rows: Tensor, names: Sequence[str] = ()) -> None:
    """A sheet of images, small ones enlarged by a whole factor.

    Args:
        rows: uint8 [R, S, C, H, W], R rows of S images; C is 1 or 3.
        names: what to write before each row; empty: nothing.
    """
    from torchvision.utils import make_grid, save_image

    enlarge = max(1, round(_CELL_PIXELS / rows.size(-1)))
    images = interpolate(rows.flatten(0, 1).cpu() / 255, scale_factor=enlarge, mode="nearest")
    sheet = make_grid(images, nrow=rows.size(1), padding=_PADDING, pad_value=0.5)
    if names:
        sheet = torch.cat([_name_column(names, sheet.size(1), images.size(-2)), sheet], 2)
    with whole_file(path) as file:
        save_image(sheet, file)


def _name_column(names: Sequence[str], height: int, row_height: int) -> Tensor:
    """float32 [3, ``height``, W]: each name in the middle of its row of the sheet."""
    import matplotlib
    from PIL import Image, ImageDraw, ImageFont
    from torchvision.transforms.functional import to_tensor

    texts = short_names(names)
    font = ImageFont.truetype(str(Path(matplotlib.get_data_path()) / "fonts/ttf/DejaVuSans.ttf"), _FONT_SIZE)
    width = round(max(font.getlength(text) for text in texts)) + 2 * _FONT_SIZE
    column = Image.new("RGB", (width, height), "white")
    draw = ImageDraw.Draw(column)
    for row, text in enumerate(texts):
        middle = _PADDING + row * (row_height + _PADDING) + row_height // 2
        draw.text((width - _FONT_SIZE, middle), text, "black", font, anchor="rm")
    return to_tensor(column)
