"""Picture files that are there whole or not at all."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import pad

from amgan_fast.errors import printable
from amgan_fast.files import whole_file

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_CELL_PIXELS = 56
_PADDING = 2
_FRAME = 128  # grey
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


def label_steps(axes: Axes) -> None:
    """Steps of training from left to right: whole numbers, with room between those of a long run."""
    axes.set_xlabel("step")
    axes.xaxis.set_major_formatter("{x:,.0f}")
    axes.locator_params(axis="x", nbins=6, integer=True, min_n_ticks=1)


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
    from PIL import Image

    sheet = _framed(rows.cpu())
    if names:
        row_height = (sheet.size(0) - _PADDING) // rows.size(0) - _PADDING
        sheet = torch.cat([_name_column(names, sheet.size(0), row_height), sheet], 1)
    with whole_file(path) as file:
        Image.fromarray(sheet.numpy()).save(file)


def _framed(rows: Tensor) -> Tensor:
    """uint8 [H, W, 3]: the images of :func:`save_sheet`, enlarged, with a frame around each.

    As torchvision.utils.make_grid has it, whose import takes as long as torch's and 150 MB: PyTorch's compiler comes
    with it.
    """
    enlarge = max(1, round(_CELL_PIXELS / rows.size(-1)))
    images = rows.repeat_interleave(enlarge, -1).repeat_interleave(enlarge, -2)
    cells = pad(images, (0, _PADDING, 0, _PADDING), value=_FRAME)
    sheet = cells.permute(0, 3, 1, 4, 2).flatten(2, 3).flatten(0, 1)
    return pad(sheet, (0, 0, _PADDING, 0, _PADDING, 0), value=_FRAME).expand(-1, -1, 3)


def _name_column(names: Sequence[str], height: int, row_height: int) -> Tensor:
    """uint8 [``height``, W, 3]: each name in the middle of its row of the sheet."""
    import matplotlib
    from PIL import Image, ImageDraw, ImageFont

    texts = short_names(names)
    font = ImageFont.truetype(str(Path(matplotlib.get_data_path()) / "fonts/ttf/DejaVuSans.ttf"), _FONT_SIZE)
    width = round(max(font.getlength(text) for text in texts)) + 2 * _FONT_SIZE
    column = Image.new("RGB", (width, height), "white")
    draw = ImageDraw.Draw(column)
    for row, text in enumerate(texts):
        middle = _PADDING + row * (row_height + _PADDING) + row_height // 2
        draw.text((width - _FONT_SIZE, middle), text, "black", font, anchor="rm")
    return torch.from_numpy(np.array(column))
