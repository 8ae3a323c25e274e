"""Training curves of all models, as in the paper's figures 3 and 6."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch

from amgan_fast.compare.cells import Cell
from amgan_fast.drawing import drawable, label_steps, new_figure, save_figure
from amgan_fast.metrics import SCORE
from amgan_fast.runs import RunFolder

_COLOURS = 10  # of Matplotlib, which then begins anew
_STYLES = ("-", "--", ":")


def save_comparison_curves(path: Path, root: Path, cells: Sequence[Cell]) -> None:
    """Inception Score and AM Score over the steps, a column a labelling: medians over the seeds, and a band from the
    least to the greatest."""
    from matplotlib.ticker import LogLocator, NullFormatter

    labellings = list(dict.fromkeys(cell.config.labels for cell in cells))
    scores = (("inception_score", SCORE["inception_score"].title), ("am_score", f"{SCORE['am_score'].title} [nats]"))
    figure = new_figure(len(labellings), rows=len(scores))
    panels = [(labelling, *score) for score in scores for labelling in labellings]
    for axes, (labelling, name, title) in zip(figure.axes, panels, strict=True):
        for number, model in enumerate(dict.fromkeys(cell.config.model for cell in cells)):
            of_model = [c for c in cells if (c.config.model, c.config.labels) == (model, labelling)]
            steps, values = zip(*(_curve(cell.run(root), name) for cell in of_model), strict=True)
            curves = torch.tensor(values)
            # Of runs of one score neither a line without markers nor a band without an edge would be seen.
            style = _STYLES[number // _COLOURS % len(_STYLES)]
            (line,) = axes.plot(steps[0], curves.quantile(0.5, dim=0), style, marker=".", label=model)
            low, high = curves.aminmax(dim=0)
            axes.fill_between(steps[0], low, high, alpha=0.2, linewidth=1, color=line.get_color())
        axes.set_title(f"{title}, {labelling} labels")
        label_steps(axes)
        if name == "am_score":
            axes.set_yscale("log")
            axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 4, 6)))
            axes.yaxis.set_major_formatter("{x:g}")
            axes.yaxis.set_minor_formatter(NullFormatter())
    figure.legend(*figure.axes[0].get_legend_handles_labels(), loc="outside right center")
    save_figure(path, figure)


def _curve(run: RunFolder, name: str) -> tuple[list[int], list[float]]:
    scored = [row for row in run.read_metrics() if name in row]
    return [row["step"] for row in scored], drawable([row[name] for row in scored])
