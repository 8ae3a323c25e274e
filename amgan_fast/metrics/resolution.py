"""How much of what a classifier sees is in the fine detail."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor
from torch.nn.functional import interpolate

from amgan_fast.drawing import new_figure, save_figure
from amgan_fast.metrics.numbers import Numbers
from amgan_fast.metrics.share_interval import share_interval


@dataclass(frozen=True, repr=False)
class ResolutionAccuracy(Numbers):
    """Accuracy on images of reduced resolution: Odena et al., arXiv 1610.09585 [AC] section 4.1.

    >>> from amgan_fast.metrics import ResolutionAccuracy
    >>> print(ResolutionAccuracy(n=100, sizes=(8, 32), accuracy=(0.5, 1.0), standard_error=(0.05, 0.0)))
        8 px  0.5000, 95% interval 0.4038 to 0.5962
       32 px  1.0000, 95% interval 0.9630 to 1.0000
    """

    n: int
    """The number of samples."""
    sizes: tuple[int, ...]
    """Heights in pixels that images were shrunk to, ascending."""
    accuracy: tuple[float, ...]
    """At each size, the fraction of samples that the classifier gives the intended label."""
    standard_error: tuple[float, ...]
    """Of each accuracy a, sqrt(a (1 - a) / n), which is 0 where all samples are right: see :attr:`ci95`. The samples
    are the same at all sizes, so that differences between sizes are better known than these errors say."""

    @property
    def ci95(self) -> tuple[tuple[float, float], ...]:
        """Wilson's 95% interval of each accuracy."""
        return tuple(share_interval(accuracy, self.n) for accuracy in self.accuracy)

    def __str__(self) -> str:
        rows = zip(self.sizes, self.accuracy, self.ci95, strict=True)
        return "\n".join(
            f"{size:5d} px  {accuracy:.4f}, 95% interval {low:.4f} to {high:.4f}"
            for size, accuracy, (low, high) in rows
        )


@torch.no_grad()
def measure_resolutions(
    batches: Iterable[tuple[Tensor, Tensor | None]], classifier: Callable[[Tensor], Tensor], sizes: Sequence[int]
) -> ResolutionAccuracy:
    """Classify images that were shrunk to each size and enlarged again.

    Shrinking is bilinear with antialiasing (:func:`torch.nn.functional.interpolate`), enlarging bilinear; a size of
    the full height leaves the images as they are. A generator whose fine detail means something loses accuracy with
    resolution, as real images do; one that makes blurred images does not.

    Args:
        batches: (images float [N, C, H, W], intended labels int64 [N]), as :meth:`amgan_fast.nn.Sampler.batches` gives
            them for predefined labels.
        classifier: images -> logits [N, K], in evaluation mode.
        sizes: heights from 1 to H; the width shrinks likewise.

    Raises:
        ValueError: no samples, no or bad sizes, or samples without labels.

    >>> import torch
    >>> from amgan_fast.metrics import measure_resolutions
    >>> labels = torch.tensor([0, 1])
    >>> images = labels.float()[:, None, None, None].expand(2, 1, 8, 8)  # black and white: no detail
    >>> brightness = lambda batch: torch.stack([1 - batch.mean((1, 2, 3)), batch.mean((1, 2, 3))], 1)
    >>> measure_resolutions([(images, labels)], brightness, sizes=[2, 8]).accuracy
    (1.0, 1.0)
    """
    if not sizes or min(sizes) < 1:
        raise ValueError(f"sizes are {list(sizes)}, wanted at least one, of at least 1 pixel")
    heights = sorted(set(sizes))
    correct: list[Tensor | int] = [0] * len(heights)  # added up where the images are: nothing waits for a GPU
    n = 0
    for images, labels in batches:
        if labels is None:
            raise ValueError("labels are None, wanted the intended labels: a generator with predefined ones, say")
        if heights[-1] > images.size(2):
            raise ValueError(f"sizes are {list(sizes)}, wanted at most the images' height of {images.size(2)}")
        n += len(images)
        for i, height in enumerate(heights):
            correct[i] += (classifier(_at_resolution(images, height)).argmax(1) == labels).sum()
    if not n:
        raise ValueError("batches hold no samples, wanted at least one")
    accuracy = tuple(int(count) / n for count in correct)
    errors = tuple((a * (1 - a) / n) ** 0.5 for a in accuracy)
    return ResolutionAccuracy(n, tuple(heights), accuracy, errors)


def save_resolutions(path: Path, results: Mapping[str, ResolutionAccuracy]) -> None:
    """Draw the accuracy over the resolution with its 95% interval: of real and generated images, say.

    >>> from pathlib import Path
    >>> from tempfile import TemporaryDirectory
    >>> from amgan_fast.metrics import ResolutionAccuracy, save_resolutions
    >>> real = ResolutionAccuracy(n=100, sizes=(8, 32), accuracy=(0.5, 0.9), standard_error=(0.05, 0.03))
    >>> with TemporaryDirectory() as folder:
    ...     save_resolutions(Path(folder) / "resolutions.png", {"real": real})
    ...     print([path.name for path in Path(folder).iterdir()])
    ['resolutions.png']
    """
    figure = new_figure()
    (axes,) = figure.axes
    for name, result in results.items():
        low, high = torch.tensor(result.ci95, dtype=torch.float64).T
        accuracy = torch.tensor(result.accuracy, dtype=torch.float64)
        bars = torch.stack([accuracy - low, high - accuracy]).clamp_min(0)  # rounded, an end may lie beyond it
        axes.errorbar(result.sizes, accuracy, bars, label=name, marker="o", capsize=2)
    axes.set(
        title="Accuracy at reduced resolution", xlabel="height shrunk to [pixels]", ylabel="accuracy, 95% interval"
    )
    axes.set_ylim(0, 1.03)
    axes.legend()
    save_figure(path, figure)


def _at_resolution(images: Tensor, height: int) -> Tensor:
    full = images.shape[2:]
    if height == full[0]:
        return images
    small = (height, max(1, round(full[1] * height / full[0])))
    shrunk = interpolate(images, small, mode="bilinear", antialias=True, align_corners=False)
    return interpolate(shrunk, full, mode="bilinear", align_corners=False)
