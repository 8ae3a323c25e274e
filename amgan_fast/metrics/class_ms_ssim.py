"""MS-SSIM within classes: how alike the samples of a class are."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from amgan_fast.drawing import new_figure, save_figure
from amgan_fast.metrics.arrays import Array, as_labels, as_tensor
from amgan_fast.metrics.estimate import Estimate
from amgan_fast.metrics.image_pairs import draw_pairs, mean_over_pairs
from amgan_fast.metrics.largest_mean import largest_mean
from amgan_fast.metrics.ms_ssim import STANDARD_SIZE, check_images, compare
from amgan_fast.metrics.numbers import Numbers

_Interval = tuple[float, float]
_VALUES_AT_ONCE = 2**20  # of either image of a batch of pairs: about 100 MB with what is computed from them


@dataclass(frozen=True, repr=False)
class ClassMsSsim(Numbers):
    """Mean MS-SSIM of pairs of images of one class, class by class; high: the class has collapsed to few images.

    Compare it with that of real images, measured alike: classes differ in how alike their images are.
    Sources: Odena et al., arXiv 1610.09585; Zhou et al., arXiv 1703.02000, table 3.

    >>> import torch
    >>> from amgan_fast.metrics import class_ms_ssim
    >>> images = torch.zeros(4, 1, 8, 8)
    >>> images[3] = 1
    >>> found = class_ms_ssim(images, torch.tensor([0, 0, 1, 1]))
    >>> found.classes, found.maximum_class, found.maximum
    ((0, 1), 0, 1.0)
    """

    form: str
    """``"standard"`` or ``"small"``, see :func:`amgan_fast.metrics.ms_ssim`."""
    classes: tuple[int, ...]
    """The labels there were, ascending; what follows is in this order."""
    means: tuple[float, ...]
    """Mean over the pairs of each class; NaN for a class of one image."""
    standard_errors: tuple[float, ...]
    """The standard error of each mean as an estimate for all images of the class, those not drawn included; pairs that
    share an image are accounted for. NaN where there are fewer than two pairs without a common image."""
    ci95: tuple[_Interval | None, ...]
    """The 95% interval of each mean, by Student's t, cut off at 0 and 1, which no MS-SSIM is beyond. None without a
    standard error."""
    pairs: tuple[int, ...]
    """The number of pairs compared in each class."""
    maximum: float
    """The largest mean, the paper's detector of collapse within a class, as it is published. The largest of several
    estimates is too large on average: of 10 classes that are equally varied, by one and a half standard errors."""
    maximum_class: int
    """The label of the class it belongs to."""
    maximum_standard_error: float
    """The standard error of that class's mean; that it was picked as the largest is not in it."""
    maximum_corrected: float
    """The same without what picking it adds: the mean of the class that half of the images would choose, measured on
    the other half, in the average over all ways to halve them (:func:`amgan_fast.metrics.largest_mean.largest_mean`).
    On average it is no more than the true maximum: as much where one class stands out or all are equal, less where
    half of the images may take another class for the first. Of the classes that have a standard error; NaN where none
    has."""
    maximum_corrected_standard_error: float
    """Its standard error as an estimate of just that: which class is chosen is in it. NaN as above."""
    maximum_ci95: _Interval | None
    """The 95% interval of :attr:`maximum_corrected`, cut off at 0 and 1. None where that is NaN."""

    def __str__(self) -> str:
        rows = zip(self.classes, self.means, self.standard_errors, self.pairs, strict=True)
        lines = [
            f"MS-SSIM within classes, {self.form} form   (lower is more varied)",
            f"  maximum, corrected for being picked: {self.corrected_text()}",
            f"  maximum {self.maximum:.4f} +- {self.maximum_standard_error:.4f}, class {self.maximum_class}",
            "  class     mean   std. error   pairs",
            *(f"  {label:5d}   {mean:.4f}       {error:.4f}   {count:5d}" for label, mean, error, count in rows),
        ]
        return "\n".join(lines)

    def corrected_text(self) -> str:
        """:attr:`maximum_corrected` and its interval, to be read."""
        if self.maximum_ci95 is None:
            return "unknown, too few pairs"
        low, high = self.maximum_ci95
        return f"{self.maximum_corrected:.4f}, 95% interval {low:.4f} to {high:.4f}"


@torch.no_grad()
def class_ms_ssim(
    images: Array,
    labels: Array,
    *,
    pairs: int = 100,
    form: str | None = None,
    data_range: float = 2,
    seed: int = 0,
) -> ClassMsSsim:
    """Mean MS-SSIM of random pairs of images within each class, and the maximum over classes: plain, and corrected
    with its interval.

    No image is paired with itself and no pair comes twice; all images of a class take part about equally often. Where
    a class has 2 * ``pairs`` images, no two pairs share one: of generated images, take as many. Pairs are compared in
    batches: the memory needed beside the images does not grow with their number.

    Odena et al. take 100 pairs a class, the authors of AM-GAN 5 that share no image (``pairs=5`` in the small form),
    whose mean has 4.5 times the error; the maximum is then too high by as much more.

    Args:
        images: [N, C, H, W], as :func:`ms_ssim` takes them, on any device.
        labels: [N], integers; a class is what has the same label.
        pairs: how many to compare in each class; where a class has no more than that, all of them.
        form: ``"standard"``, ``"small"``, or None: standard where H and W are at least 161, else small.
        data_range: as for :func:`ms_ssim`.
        seed: of the choice of pairs, which is the same on every device. PyTorch's own generators are left alone.

    Raises:
        TypeError: no tensors or arrays, labels that are no integers, images that are neither floating point nor uint8.
        ValueError: anything else :func:`ms_ssim` refuses, a shape of labels that does not fit, ``pairs`` below 1, or
            no class of two images.

    >>> import torch
    >>> from amgan_fast.metrics import class_ms_ssim
    >>> images = torch.rand(20, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    >>> labels = torch.arange(20) % 2
    >>> images[labels == 1] = images[1].clone()  # class 1 has collapsed to one image
    >>> found = class_ms_ssim(images, labels, pairs=5, data_range=1)
    >>> found.form, [round(mean, 2) for mean in found.means]
    ('small', [0.34, 1.0])
    """
    images = as_tensor("images", images)
    form = form or ("standard" if min(images.shape[-2:]) >= STANDARD_SIZE else "small")
    check_images("images", images, form, data_range)
    members = _members(as_labels(labels, len(images), "image").cpu())
    if pairs < 1:
        raise ValueError(f"pairs is {pairs}, wanted at least 1")
    random = torch.Generator().manual_seed(seed)
    drawn = [draw_pairs(len(member), pairs, random) for member in members.values()]
    chosen = torch.cat([member[pair] for member, pair in zip(members.values(), drawn, strict=True)], 1)
    values = _compare_pairs(images, chosen, form, data_range).split([pair.size(1) for pair in drawn])
    return _summary(form, members, drawn, values)


def save_class_ms_ssim(path: Path, results: Mapping[str, ClassMsSsim]) -> None:
    """Draw the mean of each class with its 95% interval, and across all a line and a band, the corrected maximum with
    its own: of generated images and of real ones, say, side by side.

    Raises:
        ValueError: results of different forms, which cannot be compared.

    >>> from pathlib import Path
    >>> from tempfile import TemporaryDirectory
    >>> import torch
    >>> from amgan_fast.metrics import class_ms_ssim, save_class_ms_ssim
    >>> found = class_ms_ssim(torch.zeros(4, 1, 8, 8), torch.tensor([0, 0, 1, 1]))
    >>> with TemporaryDirectory() as folder:
    ...     save_class_ms_ssim(Path(folder) / "ms_ssim.png", {"generated": found})
    ...     print([path.name for path in Path(folder).iterdir()])
    ['ms_ssim.png']
    """
    forms = {result.form for result in results.values()}
    if len(forms) != 1:
        raise ValueError(f"results are of the forms {sorted(forms)}, wanted one form")
    figure = new_figure()
    (axes,) = figure.axes
    for number, (name, result) in enumerate(results.items()):
        aside = 0.25 * (number - (len(results) - 1) / 2)
        places = [label + aside for label in result.classes]
        bounds = [interval or (math.nan, math.nan) for interval in result.ci95]
        bars = [(mean - low, high - mean) for mean, (low, high) in zip(result.means, bounds, strict=True)]
        drawn = axes.errorbar(places, result.means, list(zip(*bars, strict=True)), fmt="o", markersize=4, capsize=2)
        color = drawn.lines[0].get_color()
        label = name
        if result.maximum_ci95 is not None:
            low, high = result.maximum_ci95
            label += f", {result.maximum_corrected:.3f} ({low:.3f} to {high:.3f})"
            axes.axhspan(low, high, color=color, alpha=0.15, linewidth=0)
        axes.axhline(result.maximum_corrected, color=color, linestyle="--", linewidth=1, label=label)
    axes.locator_params(axis="x", integer=True)
    axes.set(title=f"MS-SSIM within classes, {forms.pop()} form", xlabel="class", ylabel="mean of pairs, 95% interval")
    figure.legend(title="corrected maximum, 95% interval", loc="outside lower center", ncols=len(results))
    save_figure(path, figure)


def _members(labels: Tensor) -> dict[int, Tensor]:
    """Label -> numbers of its images, ascending; at least one of them has two."""
    members = {label: (labels == label).nonzero().squeeze(1) for label in labels.unique().tolist()}
    if all(len(member) < 2 for member in members.values()):
        raise ValueError(f"labels have {len(members)} classes of less than two images, wanted one with two at least")
    return members


def _summary(
    form: str, members: Mapping[int, Tensor], drawn: Sequence[Tensor], values: Sequence[Tensor]
) -> ClassMsSsim:
    of_classes = zip(values, drawn, members.values(), strict=True)
    estimates = [mean_over_pairs(value, pair, len(member)) for value, pair, member in of_classes]
    means, errors = [estimate.value for estimate in estimates], [_error(estimate) for estimate in estimates]
    largest = max((i for i, mean in enumerate(means) if not math.isnan(mean)), key=means.__getitem__)
    corrected = largest_mean(estimates)
    return ClassMsSsim(
        form=form,
        classes=tuple(members),
        means=tuple(means),
        standard_errors=tuple(errors),
        ci95=tuple(map(_interval, estimates)),
        pairs=tuple(map(len, values)),
        maximum=means[largest],
        maximum_class=list(members)[largest],
        maximum_standard_error=errors[largest],
        maximum_corrected=corrected.value,
        maximum_corrected_standard_error=_error(corrected),
        maximum_ci95=_interval(corrected),
    )


def _error(estimate: Estimate) -> float:
    return math.nan if estimate.standard_error is None else estimate.standard_error


def _interval(estimate: Estimate) -> _Interval | None:
    if estimate.interval is None:
        return None
    low, high = estimate.interval
    return max(low, 0.0), min(high, 1.0)


def _compare_pairs(images: Tensor, pairs: Tensor, form: str, data_range: float) -> Tensor:
    """[P] on the CPU, from numbers of images [2, P]."""
    batch = max(1, _VALUES_AT_ONCE // images[0].numel())
    parts = pairs.to(images.device).split(batch, 1)
    return torch.cat([compare(images[left], images[right], form, data_range) for left, right in parts]).cpu()
