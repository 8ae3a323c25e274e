"""How certain a classifier is of single samples."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
from torch import Tensor

from amgan_fast.drawing import new_figure, save_figure
from amgan_fast.metrics.arrays import Array
from amgan_fast.metrics.bad_rows import refuse_bad_sums
from amgan_fast.metrics.numbers import Numbers
from amgan_fast.metrics.row_accumulator import RowAccumulator, accumulate
from amgan_fast.metrics.row_terms import RowTerms


@dataclass(frozen=True, repr=False)
class EntropyHistogram(Numbers):
    """Histogram of H(p(x)) in nats over N samples (Zhou et al., arXiv 1703.02000 [AM] section 6).

    >>> import torch
    >>> from amgan_fast.metrics import entropy_histogram
    >>> print(entropy_histogram(torch.tensor([[20.0, 0.0], [0.0, 20.0], [0.0, 0.0]])))
    3 samples, mean entropy 0.2310 nats, 66.67% below 0.05
    """

    n: int
    """The number of samples N."""
    counts: tuple[int, ...]
    """Samples in each bin: from its lower edge to below its upper one, the last bin's included."""
    edges: tuple[float, ...]
    """One more than bins: 0 to log K in equal steps, nats."""
    mean: float
    """The mean entropy, nats: a term of the AM Score."""
    threshold: float
    """Nats."""
    below: float
    """The fraction of samples with an entropy below ``threshold``."""

    def __str__(self) -> str:
        return f"{self.n} samples, mean entropy {self.mean:.4f} nats, {self.below:.2%} below {self.threshold:g}"


class EntropyCounts(RowAccumulator):
    """Collects logits batch by batch for an :class:`EntropyHistogram`; the state is a count for each bin.

    Args:
        num_classes: the number of classes K, at least 2.
        bins: between 0 and log K, at least 1.
        threshold: of :attr:`EntropyHistogram.below`, nats. 99.6% of CIFAR-10's training images lie below the
            default under the classifier of [AM].
        device: where counts are kept; None: where the first rows are.

    Raises:
        ValueError: an argument out of its range.

    >>> import torch
    >>> from amgan_fast.metrics import EntropyCounts
    >>> counts = EntropyCounts(num_classes=2, bins=4)
    >>> for logits in (torch.tensor([[20.0, 0.0], [0.0, 20.0]]), torch.zeros(1, 2)):
    ...     counts.update(logits)
    >>> counts.compute().counts
    (2, 0, 0, 1)
    """

    SETTINGS = ("num_classes", "bins", "threshold")

    def __init__(
        self,
        num_classes: int,
        *,
        bins: int = 50,
        threshold: float = 0.05,
        device: torch.device | str | None = None,
    ) -> None:
        super().__init__(num_classes, device)
        if bins < 1:
            raise ValueError(f"bins is {bins}, wanted at least 1")
        self.bins = bins
        self.threshold = threshold
        self._begin(device)

    def _begin(self, device: torch.device | str | None) -> None:
        super()._begin(device)
        self._counts = torch.zeros(self.bins + 1, dtype=torch.float64, device=device)  # the last: below the threshold
        self._total = torch.zeros((), dtype=torch.float64, device=device)

    def add(self, rows: RowTerms) -> None:
        """Add a batch that others may be handed too: as :meth:`update`."""
        self._follow(rows)
        entropy = rows.entropy
        rows.refuse_bad(self.samples, entropy)
        bin_of = (entropy / self._widest * self.bins).long().clamp(0, self.bins - 1)  # rounded, it may pass log K
        counts = torch.zeros(self.bins + 1, dtype=torch.float64, device=entropy.device)
        counts.index_add_(0, bin_of, torch.ones_like(entropy))
        counts[-1] = (entropy < self.threshold).sum()
        self._counts += counts.to(self._counts.device)
        self._total += entropy.sum().to(self._total.device)
        self._count(rows)

    def compute(self) -> EntropyHistogram:
        """The histogram of all samples so far.

        Warns:
            ScoreWarning: logits that seem to be probabilities.

        Raises:
            ValueError: no sample yet, or a row that gives no distribution.
        """
        *counts, below = self._counts.long().tolist()
        n, total = sum(counts), float(self._total)
        if not n:
            raise ValueError("no samples, wanted at least one update before compute")
        refuse_bad_sums(self._total)
        self.first_rows.warn()
        edges = tuple(self._widest * i / self.bins for i in range(self.bins + 1))
        return EntropyHistogram(n, tuple(counts), edges, total / n, self.threshold, below / n)

    def _states(self) -> dict[str, Tensor]:
        return {"counts": self._counts, "total": self._total}

    @property
    def _widest(self) -> float:
        return math.log(self.num_classes)


def entropy_histogram(
    batches: Array | Iterable[Array], *, bins: int = 50, threshold: float = 0.05, from_logits: bool = True
) -> EntropyHistogram:
    """Count samples by the entropy of their class distribution.

    Args:
        batches: logits or, with ``from_logits=False``, probabilities, [N, K] or batches of these, as
            :func:`amgan_fast.metrics.scores` takes them.
        bins: as of :class:`EntropyCounts`.
        threshold: likewise.
        from_logits: as of :meth:`amgan_fast.metrics.ScoreAccumulator.update`.

    Raises:
        TypeError: no tensor or array, or a dtype that is not floating point.
        ValueError: ``bins`` below 1, no samples, a wrong shape, or a row that gives no distribution.

    >>> import torch
    >>> from amgan_fast.metrics import entropy_histogram
    >>> certain, uncertain = torch.tensor([[0.0, 20.0]]), torch.zeros(3, 2)
    >>> histogram = entropy_histogram([certain, uncertain], bins=4)
    >>> histogram.counts, histogram.below
    ((1, 0, 0, 3), 0.25)
    """
    return accumulate(partial(EntropyCounts, bins=bins, threshold=threshold), batches, from_logits).compute()


def save_entropy_histogram(path: Path, histograms: Mapping[str, EntropyHistogram]) -> None:
    """Draw histograms over each other: real and generated samples, say.

    >>> from pathlib import Path
    >>> from tempfile import TemporaryDirectory
    >>> import torch
    >>> from amgan_fast.metrics import entropy_histogram, save_entropy_histogram
    >>> with TemporaryDirectory() as folder:
    ...     save_entropy_histogram(Path(folder) / "entropy.png", {"generated": entropy_histogram(torch.zeros(3, 2))})
    ...     print([path.name for path in Path(folder).iterdir()])
    ['entropy.png']
    """
    figure = new_figure()
    (axes,) = figure.axes
    for name, histogram in histograms.items():
        label = f"{name}, {histogram.below:.1%} below {histogram.threshold:g}"
        axes.stairs([count / histogram.n for count in histogram.counts], histogram.edges, label=label)
    # Nearly all samples of a good set are in the first bin: the others show on a logarithmic axis only.
    axes.set(title="Entropy of samples", xlabel="H(p(x)) [nats]", ylabel="fraction of samples", yscale="log")
    axes.legend()
    save_figure(path, figure)
