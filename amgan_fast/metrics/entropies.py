"""How certain a classifier is of single samples."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from torch import Tensor, distributed

from amgan_fast import ops
from amgan_fast.drawing import new_figure, save_figure
from amgan_fast.metrics.reduction import sum_over_processes
from amgan_fast.metrics.rows import refuse_bad_logits, refuse_bad_sums


@dataclass(frozen=True)
class EntropyHistogram:
    """Histogram of H(p(x)) in nats over N samples (Zhou et al., arXiv 1703.02000 [AM] section 6)."""

    n: int
    """The number of samples N."""
    counts: tuple[int, ...]
    """Samples in each bin: from its lower edge to below its upper one, the last bin's included."""
    edges: tuple[float, ...]
    """One more than bins: 0 to log K in equal steps, nats (to 1 of a single class)."""
    mean: float
    """The mean entropy, nats: a term of the AM Score."""
    threshold: float
    """Nats."""
    below: float
    """The fraction of samples with an entropy below ``threshold``."""

    def to_dict(self) -> dict:
        return asdict(self)

    def __str__(self) -> str:
        return f"{self.n} samples, mean entropy {self.mean:.4f} nats, {self.below:.2%} below {self.threshold:g}"


class EntropyCounts:
    """Collects logits batch by batch for an :class:`EntropyHistogram`; the state is a count for each bin.

    Args:
        num_classes: the number of classes K, at least 1.
        bins: between 0 and log K, at least 1.
        threshold: of :attr:`EntropyHistogram.below`, nats. 99.6% of CIFAR-10's training images lie below the
            default under the classifier of [AM].
        device: where counts are kept; None: PyTorch's default device. Best the device of the logits.

    Raises:
        ValueError: an argument out of its range.
    """

    def __init__(
        self,
        num_classes: int,
        *,
        bins: int = 50,
        threshold: float = 0.05,
        device: torch.device | str | None = None,
    ) -> None:
        for name, value in (("num_classes", num_classes), ("bins", bins)):
            if value < 1:
                raise ValueError(f"{name} is {value}, wanted at least 1")
        self.num_classes = num_classes
        self.bins = bins
        self.threshold = threshold
        self._counts = torch.zeros(bins + 1, dtype=torch.float64, device=device)  # and of those below the threshold
        self._total = torch.zeros((), dtype=torch.float64, device=device)

    def update(self, logits: Tensor) -> None:
        """Add a batch [N, K], float32, float64, bfloat16 or float16.

        Raises:
            TypeError: a dtype that is not floating point.
            ValueError: a wrong shape, or a row that gives no distribution. Nothing of the batch is added then. On a
                GPU such a row is found by :meth:`compute`.
        """
        if logits.ndim != 2 or logits.size(1) != self.num_classes:
            raise ValueError(f"logits are {list(logits.shape)}, wanted [N, {self.num_classes}]")
        entropy = ops.class_entropy(logits.detach(), reduction="none").double()
        refuse_bad_logits(logits, entropy, self._counts[:-1].sum())
        bin_of = (entropy / self._widest * self.bins).long().clamp(0, self.bins - 1)  # rounded, it may pass log K
        ones = torch.ones_like(entropy)
        counts = torch.zeros(self.bins + 1, dtype=torch.float64, device=logits.device).index_add_(0, bin_of, ones)
        counts[-1] = (entropy < self.threshold).sum()
        self._counts += counts.to(self._counts.device)
        self._total += entropy.sum().to(self._total.device)

    def all_reduce(self, group: distributed.ProcessGroup | None = None) -> None:
        """Make the samples of all processes of the group those of each: every process must call, once, in the end."""
        sum_over_processes([self._counts, self._total], group)

    def compute(self) -> EntropyHistogram:
        """The histogram of all samples so far.

        Raises:
            ValueError: no sample yet, or a row that gives no distribution.
        """
        *counts, below = self._counts.long().tolist()
        n, total = sum(counts), float(self._total)
        if not n:
            raise ValueError("no samples, wanted at least one update before compute")
        refuse_bad_sums(self._total)
        edges = tuple(self._widest * i / self.bins for i in range(self.bins + 1))
        return EntropyHistogram(n, tuple(counts), edges, total / n, self.threshold, below / n)

    @property
    def _widest(self) -> float:
        return math.log(self.num_classes) or 1.0  # of a single class all entropies are 0


def entropy_histogram(batches: Iterable[Tensor], *, bins: int = 50, threshold: float = 0.05) -> EntropyHistogram:
    """Count samples by the entropy of their class distribution, a batch at a time.

    Args:
        batches: logits [N, K], float32, float64, bfloat16 or float16.
        bins, threshold: as of :class:`EntropyCounts`.

    Raises:
        TypeError: a dtype that is not floating point.
        ValueError: ``bins`` below 1, no samples, a wrong shape, or a row that gives no distribution.
    """
    counts: EntropyCounts | None = None
    for logits in batches:
        if logits.ndim != 2:
            raise ValueError(f"logits are {list(logits.shape)}, wanted [N, K]")
        counts = counts or EntropyCounts(logits.size(1), bins=bins, threshold=threshold, device=logits.device)
        counts.update(logits)
    if counts is None:
        raise ValueError("batches hold no samples, wanted at least one")
    return counts.compute()


def save_entropy_histogram(path: Path, histograms: Mapping[str, EntropyHistogram]) -> None:
    """Draw histograms over each other: real and generated samples, say."""
    figure = new_figure()
    (axes,) = figure.axes
    for name, histogram in histograms.items():
        label = f"{name}, {histogram.below:.1%} below {histogram.threshold:g}"
        axes.stairs([count / histogram.n for count in histogram.counts], histogram.edges, label=label)
    # Nearly all samples of a good set are in the first bin: the others show on a logarithmic axis only.
    axes.set(title="Entropy of samples", xlabel="H(p(x)) [nats]", ylabel="fraction of samples", yscale="log")
    axes.legend()
    save_figure(path, figure)
