"""samples.png and curves.png."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate

from amgan_fast.data import to_uint8
from amgan_fast.evaluate import generate
from amgan_fast.metrics import Scores
from amgan_fast.nn import Classifier, LatentSource

_COLUMNS = 12
_CELL_PIXELS = 56
_DRAWN = 100  # samples a class that dynamic labels are picked from, in the order they come


def save_samples(
    path: Path, generator: nn.Module, latent: LatentSource, classifier: Classifier, random: torch.Generator
) -> None:
    """A grid of samples, one row a class; rows that a class does not fill end in grey.

    With predefined labels a row is what the generator was asked for; with dynamic ones it is the first samples that
    the classifier assigns to the class.
    """
    from torchvision.utils import make_grid, save_image

    rows = _rows(generator, latent, classifier, random)
    enlarge = max(1, round(_CELL_PIXELS / rows.size(-1)))
    images = interpolate(rows, scale_factor=enlarge, mode="nearest")
    save_image(make_grid(images, nrow=_COLUMNS, padding=2, pad_value=0.5), path)


def save_curves(path: Path, rows: Sequence[Mapping[str, Any]], held_out: Scores) -> None:
    """Losses, AM Score with both its terms, and Inception Score over the steps; dashed: held-out real images."""
    from matplotlib.figure import Figure

    scored = [row for row in rows if "am_score" in row]
    figure = Figure(figsize=(12, 3.5), layout="constrained")
    losses, am_score, inception_score = figure.subplots(1, 3)
    for name, label in (("discriminator_loss", "discriminator"), ("generator_loss", "generator")):
        losses.plot(_column(rows, "step"), _column(rows, name), label=label)
    terms = (("am_score", "AM Score"), ("kl_reference", "KL(reference, mean)"), ("mean_entropy", "mean entropy"))
    for name, label in terms:
        am_score.plot(_column(scored, "step"), _column(scored, name), label=label, marker=".")
    am_score.set_ylim(bottom=0)
    am_score.axhline(held_out.am_score, color="grey", linestyle="--", label="AM Score, held-out real")
    inception_score.plot(_column(scored, "step"), _column(scored, "inception_score"), label="generator", marker=".")
    inception_score.axhline(held_out.inception_score, color="grey", linestyle="--", label="held-out real")
    for axes, title in ((losses, "Losses [nats]"), (am_score, "AM Score [nats]"), (inception_score, "Inception Score")):
        axes.set(title=title, xlabel="step")
        axes.grid(alpha=0.3)
        axes.legend()
    figure.savefig(path, dpi=120)


def _rows(generator: nn.Module, latent: LatentSource, classifier: Classifier, random: torch.Generator) -> Tensor:
    """[num_classes * _COLUMNS, C, H, W] in [0, 1], on the CPU."""
    if latent.class_frequencies is not None:
        labels = torch.arange(classifier.num_classes, device=random.device).repeat_interleave(_COLUMNS)
        with torch.no_grad():
            return to_uint8(generator(latent.with_labels(labels, random))).cpu() / 255
    batches = list(generate(generator, latent, _DRAWN * classifier.num_classes, random))
    images = torch.cat([images for images, _ in batches])
    with torch.no_grad():
        assigned = classifier(images).argmax(1)
    grid = torch.full((classifier.num_classes, _COLUMNS, *images.shape[1:]), 0.5)
    for number, row in enumerate(grid):
        found = to_uint8(images[assigned == number][:_COLUMNS]).cpu() / 255
        row[: len(found)] = found
    return grid.flatten(0, 1)


def _column(rows: Sequence[Mapping[str, Any]], name: str) -> list[Any]:
    return [row[name] for row in rows]
