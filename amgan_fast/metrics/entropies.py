"""How certain a classifier is of single samples."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from torch import Tensor

from amgan_fast import ops
from amgan_fast.drawing import new_figure, save_figure
from amgan_fast.metrics.rows import bad_rows, describe_bad_row


@dataclass(frozen=True)
class EntropyHistogram:
    """Histogram of H(p(x)) in nats over N samples (Zhou et al., arXiv 1703.02000 [AM] section 6)."""

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

    def to_dict(self) -> dict:
        return asdict(self)

    def __str__(self) -> str:
        return f"{self.n} samples, mean entropy {self.mean:.4f} nats, {self.below:.2%} below {self.threshold:g}"


def entropy_histogram(batches: Iterable[Tensor], *, bins: int = 50, threshold: float = 0.05) -> EntropyHistogram:
    """Count samples by the entropy of their class distribution, a batch at a time.

    Args:
        batches: logits [N, K] with K at least 2, float32, float64, bfloat16 or float16.
        bins: between 0 and log K, at least 1.
        threshold: of :attr:`EntropyHistogram.below`, nats. 99.6% of CIFAR-10's training images lie below the
            default under the classifier of [AM].

    Raises:
        TypeError: a dtype that is not floating point.
        ValueError: ``bins`` below 1, no samples, a wrong shape, or a row that gives no distribution.
    """
    if bins < 1:
        raise ValueError(f"bins is {bins}, wanted at least 1")
    counts = torch.zeros(bins, dtype=torch.int64)
    num_classes, total, below = None, 0.0, 0
    for logits in batches:
        if logits.ndim != 2 or logits.size(1) != (num_classes or max(2, logits.size(1))):
            raise ValueError(f"logits are {list(logits.shape)}, wanted [N, {num_classes or 'at least 2'}]")
        num_classes = logits.size(1)
        entropy = ops.class_entropy(logits.detach(), reduction="none").double()
        if bool(entropy.isnan().any()):
            raise ValueError(describe_bad_row(logits, bad_rows(logits, from_logits=True), int(counts.sum())))
        bin_of = (entropy / math.log(num_classes) * bins).long().clamp(0, bins - 1)  # rounded, it may pass log K
        counts += bin_of.bincount(minlength=bins).cpu()
        total += float(entropy.sum())
        below += int((entropy < threshold).sum())
    n = int(counts.sum())
    if num_classes is None or not n:
        raise ValueError("batches hold no samples, wanted at least one")
    edges = tuple(math.log(num_classes) * i / bins for i in range(bins + 1))
    return EntropyHistogram(n, tuple(counts.tolist()), edges, total / n, threshold, below / n)


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
