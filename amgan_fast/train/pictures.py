"""Pictures of a run: samples.png, curves.png, and grids of the same z over time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from amgan_fast.data import to_uint8
from amgan_fast.drawing import new_figure, save_figure, save_sheet
from amgan_fast.evaluate import class_sheet
from amgan_fast.metrics import Scores
from amgan_fast.nn import Classifier, LatentSource

_COLUMNS = 12
_GRID_ROWS, _GRID_COLUMNS = 10, 10


def save_samples(
    path: Path, generator: nn.Module, latent: LatentSource, classifier: Classifier, random: torch.Generator
) -> None:
    """A grid of samples, one row a class; rows that a class does not fill end in grey.

    With predefined labels a row is what the generator was asked for; with dynamic ones it is the first samples that
    the classifier assigns to the class.
    """
    classes = classifier.num_classes
    sheet = class_sheet(generator, latent, classifier, random, num_classes=classes, rows=classes, columns=_COLUMNS)
    save_sheet(path, sheet)


@torch.no_grad()
def fixed_grid(generator: nn.Module, latent: LatentSource, random: torch.Generator) -> Tensor:
    """uint8 [R, S, C, H, W], on the CPU: the first samples of ``random``; with predefined labels a row a class, of the
    first ten."""
    count = _GRID_ROWS * _GRID_COLUMNS
    if latent.class_frequencies is None:
        inputs = latent.noise(count, random)
    else:
        classes = torch.arange(_GRID_ROWS, device=random.device) % len(latent.class_frequencies)
        inputs = latent.with_labels(classes.repeat_interleave(_GRID_COLUMNS), random)
    return to_uint8(generator(inputs)).cpu().unflatten(0, (_GRID_ROWS, _GRID_COLUMNS))


def save_curves(path: Path, rows: Sequence[Mapping[str, Any]], held_out: Scores) -> None:
    """Losses, AM Score with both its terms, Inception Score and class balance over the steps; dashed: held-out real
    images."""
    scored = [row for row in rows if "am_score" in row]
    figure = new_figure(4)
    losses, am_score, inception_score, balance = figure.axes
    for name, label in (("discriminator_loss", "discriminator"), ("generator_loss", "generator")):
        losses.plot(_column(rows, "step"), _column(rows, name), label=label)
    terms = (("am_score", "AM Score"), ("kl_reference", "KL(reference, mean)"), ("mean_entropy", "mean entropy"))
    for name, label in terms:
        am_score.plot(_column(scored, "step"), _column(scored, name), label=label, marker=".")
    am_score.set_ylim(bottom=0)
    assert held_out.am_score is not None
    am_score.axhline(held_out.am_score, color="grey", linestyle="--", label="AM Score, held-out real")
    inception_score.plot(_column(scored, "step"), _column(scored, "inception_score"), label="generator", marker=".")
    inception_score.axhline(held_out.inception_score, color="grey", linestyle="--", label="held-out real")
    shares = torch.tensor(_column(scored, "class_distribution")).T
    balance.stackplot(_column(scored, "step"), shares.numpy(), linewidth=0, alpha=0.8)
    balance.set_ylim(0, 1)
    titles = ("Losses [nats]", "AM Score [nats]", "Inception Score", "Class distribution, from class 0 up")
    for axes, title in zip(figure.axes, titles, strict=True):
        axes.set(title=title, xlabel="step")
        if axes is not balance:
            axes.legend()
    save_figure(path, figure)


def _column(rows: Sequence[Mapping[str, Any]], name: str) -> list[Any]:
    return [row[name] for row in rows]
