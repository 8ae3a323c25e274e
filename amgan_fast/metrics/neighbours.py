"""Whether a generator remembers: the nearest training images of its samples."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from amgan_fast.drawing import new_figure, save_figure, save_sheet
from amgan_fast.metrics.arrays import Array, as_tensor

_SAMPLES = 256  # at a time, against so many training images that neither they nor the distances are more than
_VALUES = 2**21
_EXACT_IN_FLOAT32 = 2**24
_QUANTILES = (0.0, 0.05, 0.25, 0.5, 0.75, 0.95, 1.0)


@dataclass(frozen=True, eq=False)
class NearestNeighbours:
    """The k nearest training images of each of N samples, by mean absolute difference in pixel space: L1 as Odena et
    al., arXiv 1610.09585 [AC] section 4.5, divided by the number of values of an image.

    >>> import torch
    >>> from amgan_fast.metrics import nearest_neighbours
    >>> train = torch.tensor([0, 100, 200], dtype=torch.uint8)[:, None, None, None].expand(3, 1, 4, 4)
    >>> nearest_neighbours(train[1:] // 2, train).quantiles()[0.5]
    25.0
    """

    distances: Tensor
    """float64 [N, k], grey levels (0 to 255), ascending; on the CPU. 0 is a copy."""
    indices: Tensor
    """int64 [N, k] into the training images; of equally near ones the lowest first; on the CPU."""

    def quantiles(self) -> dict[float, float]:
        """Of the distances to the nearest: minimum, 5%, quartiles, 95%, maximum."""
        levels = torch.tensor(_QUANTILES, dtype=torch.float64)
        return dict(zip(_QUANTILES, self.distances[:, 0].quantile(levels).tolist(), strict=True))

    def to_dict(self) -> dict:
        quantiles = {str(level): value for level, value in self.quantiles().items()}
        return {"distances": self.distances.tolist(), "indices": self.indices.tolist(), "quantiles": quantiles}

    def __str__(self) -> str:
        levels = ", ".join(f"{level:.0%} {value:.2f}" for level, value in self.quantiles().items())
        copies = int((self.distances[:, 0] == 0).sum())
        return f"{len(self.distances)} samples, {copies} of them copies; grey levels to the nearest: {levels}"


def nearest_neighbours(samples: Array, train: Array, *, k: int = 1) -> NearestNeighbours:
    """The k training images nearest to each sample: exact, in bounded memory (about 100 MB besides the images).

    Held-out images in place of samples give what the distances compare with: samples of a generator that copies are
    nearer to the training set than those.

    Args:
        samples: uint8 [N, C, H, W], N at least 1 (``amgan_fast.data.to_uint8`` of what a generator gives).
        train: uint8 [M, C, H, W] on the same device.
        k: 1 to M.

    Raises:
        TypeError: no tensors or arrays, or not uint8.
        ValueError: shapes that do not fit, or ``k`` out of its range.

    >>> import torch
    >>> from amgan_fast.metrics import nearest_neighbours
    >>> train = torch.tensor([0, 100, 200], dtype=torch.uint8)[:, None, None, None].expand(3, 1, 4, 4)
    >>> found = nearest_neighbours(train[2:] - 10, train, k=2)
    >>> found.distances.tolist(), found.indices.tolist()
    ([[10.0, 90.0]], [[2, 1]])
    """
    samples, train = as_tensor("samples", samples), as_tensor("train", train)
    for name, images in (("samples", samples), ("train", train)):
        if images.dtype != torch.uint8:
            raise TypeError(f"{name} are {images.dtype}, wanted uint8")
        if images.ndim != 4 or not images.numel():
            raise ValueError(f"{name} are {list(images.shape)}, wanted [N, C, H, W], nothing empty")
    if samples.shape[1:] != train.shape[1:]:
        raise ValueError(f"samples are {list(samples.shape)}, wanted images of {list(train.shape[1:])} as in train")
    if not 1 <= k <= len(train):
        raise ValueError(f"k is {k}, wanted 1 to the {len(train)} images of train")
    values = samples[0].numel()
    # Sums of whole numbers: exact as long as the type can count so far.
    dtype = torch.float32 if 255 * values < _EXACT_IN_FLOAT32 else torch.float64
    keys = torch.cat([_nearest_keys(part.flatten(1).to(dtype), train, k) for part in samples.split(_SAMPLES)]).cpu()
    return NearestNeighbours((keys // len(train)).double() / values, keys % len(train))


def save_neighbours(
    path: Path, samples: Tensor, train: Tensor, neighbours: NearestNeighbours, *, rows: int = 10
) -> None:
    """Draw the first ``rows`` samples, each at the left of its row, its neighbours beside it, the nearest first.

    >>> from pathlib import Path
    >>> from tempfile import TemporaryDirectory
    >>> import torch
    >>> from amgan_fast.metrics import nearest_neighbours, save_neighbours
    >>> train = torch.randint(256, (9, 1, 8, 8), dtype=torch.uint8)
    >>> with TemporaryDirectory() as folder:
    ...     save_neighbours(Path(folder) / "neighbours.png", train, train, nearest_neighbours(train, train, k=3))
    ...     print([path.name for path in Path(folder).iterdir()])
    ['neighbours.png']
    """
    found = train.cpu()[neighbours.indices[:rows]]
    save_sheet(path, torch.cat([samples[:rows, None].cpu(), found], 1))


def save_neighbour_distances(path: Path, neighbours: Mapping[str, NearestNeighbours]) -> None:
    """Draw how the distances to the nearest training image are distributed: of generated and held-out images, say.

    >>> from pathlib import Path
    >>> from tempfile import TemporaryDirectory
    >>> import torch
    >>> from amgan_fast.metrics import nearest_neighbours, save_neighbour_distances
    >>> train = torch.randint(256, (9, 1, 8, 8), dtype=torch.uint8)
    >>> with TemporaryDirectory() as folder:
    ...     save_neighbour_distances(Path(folder) / "distances.png", {"copies": nearest_neighbours(train, train)})
    ...     print([path.name for path in Path(folder).iterdir()])
    ['distances.png']
    """
    figure = new_figure()
    (axes,) = figure.axes
    for name, result in neighbours.items():
        nearest = result.distances[:, 0].sort().values
        axes.ecdf(nearest, label=f"{name}, median {float(nearest.quantile(0.5)):.1f}")
    axes.set(
        title="Distance to the nearest training image",
        xlabel="mean absolute difference [grey levels]",
        ylabel="fraction of images that are nearer",
    )
    axes.legend()
    save_figure(path, figure)


def _nearest_keys(samples: Tensor, train: Tensor, k: int) -> Tensor:
    """[n, k] of distance * M + index, ascending: no two are equal, so that ties are decided too."""
    best = torch.empty(len(samples), 0, dtype=torch.int64, device=samples.device)
    step = max(1, _VALUES // max(_SAMPLES, samples.size(1)))
    for start in range(0, len(train), step):
        part = train[start : start + step].flatten(1).to(samples.dtype)
        indices = torch.arange(start, start + len(part), device=samples.device)
        best = torch.cat([best, torch.cdist(samples, part, p=1).long() * len(train) + indices], 1)
        best = best.topk(min(k, best.size(1)), largest=False).values
    return best
