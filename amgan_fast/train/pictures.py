"""Pictures of a run: samples.png, curves.png, and grids of the same z over time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from amgan_fast.data import to_uint8
from amgan_fast.drawing import drawable, label_steps, new_figure, save_figure, save_sheet
from amgan_fast.evaluate import TrainedClassifier, class_sheet, sheet_names
from amgan_fast.metrics import SCORE, Scores
from amgan_fast.nn import Sampler

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_COLUMNS = 12
_MOST_ROWS = 100
_GRID_ROWS, _GRID_COLUMNS = 10, 10


def save_samples(path: Path, sampler: Sampler, classifier: TrainedClassifier, random: torch.Generator) -> None:
    """A grid of samples, one row a class; rows that a class does not fill end in grey.

    With predefined labels a row is what the generator was asked for, of the first hundred classes; with dynamic ones it
    is the first samples that the classifier assigns to the class, or of more than 20 classes the first of all.
    """
    network, classes = classifier.network, classifier.network.num_classes
    rows = classes if sampler.latent.num_labels is None else min(classes, _MOST_ROWS)
    sheet = class_sheet(sampler, network, random, num_classes=classes, rows=rows, columns=_COLUMNS)
    save_sheet(path, sheet, sheet_names(sampler, classifier.class_names, rows))


def fixed_grid(sampler: Sampler, random: torch.Generator) -> Tensor:
    """uint8 [R, S, C, H, W], on the CPU: the first samples of ``random``; with predefined labels a row a class, of the
    first ten."""
    if sampler.latent.num_labels is None:
        images, _ = next(sampler.batches(_GRID_ROWS * _GRID_COLUMNS, random))
    else:
        classes = torch.arange(_GRID_ROWS, device=random.device) % sampler.latent.num_labels
        images = sampler.of_classes(classes.repeat_interleave(_GRID_COLUMNS), random)
    return to_uint8(images).cpu().unflatten(0, (_GRID_ROWS, _GRID_COLUMNS))


def save_training_curves(path: Path, rows: Sequence[Mapping[str, Any]], held_out: Scores | None) -> None:
    """Losses, AM Score with both its terms, Inception Score and class balance over the steps, and the discriminator's
    accuracy where there is one; dashed: held-out real images."""
    scored = [row for row in rows if "am_score" in row]
    accurate = [row for row in rows if "discriminator_accuracy" in row]
    figure = new_figure(5 if accurate else 4)
    losses, am_score, inception_score, balance, *accuracy = figure.axes
    for name, label in (("discriminator_loss", "discriminator"), ("generator_loss", "generator")):
        _draw(losses, rows, name, label, marker="." if len(rows) == 1 else "")
    for name in ("am_score", "kl_reference", "mean_entropy"):
        _draw(am_score, scored, name, SCORE[name].title)
    am_score.set_ylim(bottom=0)
    if held_out is not None and held_out.am_score is not None:
        am_score.axhline(
            held_out.am_score, color="grey", linestyle="--", label=f"{SCORE['am_score'].title}, held-out real"
        )
    _draw(inception_score, scored, "inception_score", "generator")
    if held_out is not None:
        inception_score.axhline(held_out.inception_score, color="grey", linestyle="--", label="held-out real")
    _stack(balance, scored)
    losses.set_title("Losses [nats]")
    am_score.set_title(f"{SCORE['am_score'].title} [nats]")
    inception_score.set_title(SCORE["inception_score"].title)
    balance.set_title("Class distribution, from class 0 up")
    for axes in accuracy:
        values = torch.tensor(_column(accurate, "discriminator_accuracy"))
        low, high = torch.tensor(_column(accurate, "discriminator_accuracy_ci95")).T
        bars = torch.stack([values - low, high - values])
        label = "held-out images, 95% interval"
        axes.errorbar(_column(accurate, "step"), values, bars, label=label, marker=".", capsize=2)
        axes.set_title("Accuracy of the discriminator")
    for axes in figure.axes:
        label_steps(axes)
        if axes is not balance:
            axes.legend()
    save_figure(path, figure)


def _draw(axes: Axes, rows: Sequence[Mapping[str, Any]], name: str, label: str, marker: str = ".") -> None:
    """A line over the steps; without a marker one row alone would not be seen."""
    axes.plot(_column(rows, "step"), drawable(_column(rows, name)), label=label, marker=marker)


def _stack(axes: Axes, rows: Sequence[Mapping[str, Any]]) -> None:
    """Class distributions over the steps; one alone is as wide as a step."""
    steps, shares = _column(rows, "step"), torch.tensor(_column(rows, "class_distribution")).T
    if len(steps) == 1:
        steps, shares = [steps[0] - 0.5, steps[0] + 0.5], shares.expand(-1, 2)
    axes.stackplot(steps, shares.numpy(), linewidth=0, alpha=0.8)
    axes.set_ylim(0, 1)


def _column(rows: Sequence[Mapping[str, Any]], name: str) -> list[Any]:
    return [row[name] for row in rows]
