"""Diversity of features: Vendi and RKE scores in constant memory, by random Fourier features of a Gaussian kernel."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from amgan_fast.metrics.arrays import Array
from amgan_fast.metrics.block_turns import rows_by_block
from amgan_fast.metrics.estimate import Estimate
from amgan_fast.metrics.feature_arrays import as_features, refuse_not_finite
from amgan_fast.metrics.feature_sample import FeatureSample, kept_features
from amgan_fast.metrics.numbers import Numbers
from amgan_fast.metrics.sample_sums import WaitingSums
from amgan_fast.metrics.squared_distances import centred, mean_of, squared_distances
from amgan_fast.precision import without_autocast

_ROWS_AT_ONCE = 256  # of a block: what float32 adds up before float64 takes it over
_FOR_BANDWIDTH = 2000


@dataclass(frozen=True, kw_only=True, repr=False)
class Diversity(Numbers):
    """What :meth:`DiversitySums.compute` finds: numbers of modes, as it were, from 1 (all samples alike) to N (none
    like another); higher is more diverse, whether or not that is as real samples are."""

    vendi: float
    """exp of the Shannon entropy of the eigenvalues of K / N."""
    vendi_ci95: tuple[float, float] | None
    """95% interval, of what it is on average of N samples; None of fewer samples than blocks."""
    vendi_uncorrected: float
    """As FKEA gives it, which is too low where it is not far below ``components``."""
    rke: float
    """exp of their Rényi entropy of order 2: 1 / (mean of k(x_i, x_j)^2 over all i and j)."""
    rke_ci95: tuple[float, float] | None
    rke_uncorrected: float
    """As FKEA gives it."""
    estimates: dict[str, Estimate]
    """Of the logarithms of both, by the names ``log_vendi`` and ``log_rke``."""
    n: int
    """N, samples."""
    bandwidth: float
    components: int

    def __str__(self) -> str:
        lines = [f"Diversity of {self.n:,} samples, bandwidth {self.bandwidth:.4g} (higher is more diverse)"]
        for name, value, interval in (("Vendi", self.vendi, self.vendi_ci95), ("RKE", self.rke, self.rke_ci95)):
            between = f", 95% interval {interval[0]:.3f} to {interval[1]:.3f}" if interval else ""
            lines.append(f"  {name:<6}{value:.3f}{between}")
        return "\n".join(lines)


class DiversitySums(WaitingSums):
    """Collects features batch by batch for :class:`Diversity`: the Vendi score (Friedman and Dieng, arXiv 2210.02410)
    and RKE (Jalali, Li and Farnia, "An information-theoretic evaluation of generative models in learning multi-modal
    distributions", 2023), which need no reference.

    Both are entropies of the eigenvalues of K / N, with k(x, y) = exp(-|x - y|^2 / (2 bandwidth^2)) of all pairs: N x N
    numbers. As FKEA (Ospanov et al., arXiv 2407.02961) has it, they are those of the mean of phi(x) phi(x)^T instead,
    where phi are ``components`` cosines and as many sines of x at random frequencies, whose products are k on average:
    (2 components)^2 float64 sums for each of ``blocks`` blocks, however many samples there are. By default that is 268
    MB. What is random in it is the same for the same ``seed``: compare scores of one seed, bandwidth and
    ``components``.

    Few frequencies make both too low, Vendi the more the larger it is: FKEA of 1,024 frequencies gives 175 to 190 for
    2,000 normal features whose Vendi score of all pairs is 219. Here RKE is corrected exactly on average, by leaving
    out the products of frequencies with themselves, and Vendi by what it gains from either half of the frequencies to
    all of them, which gives 203 to 222 (docs/benchmarks.md).

    Scores grow with N, as the number of modes that have been seen: compare scores of equally many samples, and of one
    bandwidth (:func:`suggested_bandwidth` of the reference). Intervals are for the expectation at this N and these
    frequencies: Student's t of the logarithms, from a jackknife that leaves out one block after the other. Which block
    a sample is in, its number decides (:func:`amgan_fast.metrics.block_turns.blocks_of`); samples are taken for random
    ones.

    Args:
        dim: D, values of a feature, at least 1.
        bandwidth: of the kernel, in the units of features; positive.
        components: frequencies, an even number, at least 2.
        blocks: at least 2.
        seed: of the frequencies.
        start: samples that others take before the first one here: blocks are then filled as if one had taken all.
        device: where the sums are kept; None: where the first features are.

    Raises:
        ValueError: an argument out of its range.

    >>> import torch
    >>> from amgan_fast.metrics import DiversitySums
    >>> random = torch.Generator().manual_seed(0)
    >>> modes = 10 * torch.randn(5, 16, generator=random)
    >>> sums = DiversitySums(16, bandwidth=5.0, components=256)
    >>> for batch in torch.randint(5, (4000,), generator=random).split(500):
    ...     sums.update(modes[batch] + 0.1 * torch.randn(500, 16, generator=random))
    >>> print(sums.compute())
    Diversity of 4,000 samples, bandwidth 5 (higher is more diverse)
      Vendi 5.293, 95% interval 5.283 to 5.304
      RKE   5.060, 95% interval 5.044 to 5.077
    """

    SETTINGS = ("dim", "bandwidth", "components", "blocks", "seed")

    def __init__(
        self,
        dim: int,
        bandwidth: float,
        *,
        components: int = 1024,
        blocks: int = 8,
        seed: int = 0,
        start: int = 0,
        device: torch.device | str | None = None,
    ) -> None:
        super().__init__(device)
        least = (("dim", dim, 1), ("components", components, 2), ("blocks", blocks, 2), ("start", start, 0))
        for name, value, fewest in least:
            if value < fewest:
                raise ValueError(f"{name} is {value}, wanted at least {fewest}")
        if components % 2:
            raise ValueError(f"components is {components}, wanted an even number")
        if not 0 < bandwidth < math.inf:
            raise ValueError(f"bandwidth is {bandwidth}, wanted a positive number")
        self.dim = dim
        self.bandwidth = float(bandwidth)
        self.components = components
        self.blocks = blocks
        self.seed = seed
        self.start = start
        self._begin(device)

    def _begin(self, device: torch.device | str | None) -> None:
        super()._begin(device)
        # On the CPU and in float64, whose last bits do not show in float32: the same on every machine.
        random = torch.Generator().manual_seed(self.seed)
        directions = torch.randn(self.components, self.dim, generator=random, dtype=torch.float64, device="cpu")
        self._frequencies = (directions / self.bandwidth).to(device, torch.float32)
        width = 2 * self.components
        self._counts = torch.zeros(self.blocks, dtype=torch.float64, device=device)
        self._products = torch.zeros(self.blocks, width, width, dtype=torch.float64, device=device)
        self._waiting: list[Tensor] = []  # rows that are yet to be added up

    @torch.no_grad()
    def update(self, features: Array) -> None:
        """Add a batch.

        Args:
            features: [N, D] floating point; they are computed with in float32.

        Raises:
            TypeError: no tensor or array, or of another dtype.
            ValueError: another shape, or values that are not finite. Nothing is added then.
        """
        rows = as_features("features", features, self.dim)
        refuse_not_finite("features", rows, self.start + self.samples)
        self._follow_to(rows.device)
        self._waiting.append(rows.to(self._counts.device, torch.float32, copy=True))
        self.samples += len(rows)
        if sum(map(len, self._waiting)) >= self._at_once:
            self._add_waiting(least=self._at_once)

    @torch.no_grad()
    def compute(self) -> Diversity:
        """Of all samples so far: eigenvalues of 1 + ``blocks`` matrices.

        Raises:
            ValueError: no sample yet.
        """
        if not self.samples:
            raise ValueError("no samples, wanted at least one update before compute")
        self._add_waiting()
        vendi, rke = (
            _estimated(entropy, self._products, self._counts) for entropy in (_corrected_shannon, _corrected_renyi)
        )
        mean = self._products.sum(0) / self._counts.sum()
        return Diversity(
            vendi=math.exp(vendi.value),
            vendi_ci95=_exponential(vendi.interval),
            vendi_uncorrected=math.exp(_shannon(mean)),
            rke=math.exp(rke.value),
            rke_ci95=_exponential(rke.interval),
            rke_uncorrected=math.exp(_renyi(mean)),
            estimates={"log_vendi": vendi, "log_rke": rke},
            n=self.samples,
            bandwidth=self.bandwidth,
            components=self.components,
        )

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from a :meth:`state_dict`.

        Raises:
            ValueError: a key is missing, or settings differ from those here. Nothing is changed then.
        """
        super().load_state_dict(state)
        self._waiting = []

    def _states(self) -> dict[str, Tensor]:
        return {"counts": self._counts, "products": self._products}

    @property
    def _at_once(self) -> int:
        return _ROWS_AT_ONCE * self.blocks

    def _add_waiting(self, least: int = 1) -> None:
        """Add up the rows that wait, so many at once, as long as there are at least ``least``: what float32 rounds does
        not depend on the batches."""
        if not self._waiting:
            return
        rows = torch.cat(self._waiting)
        while len(rows) >= least:
            self._add(rows[: self._at_once], self.start + self.samples - len(rows))
            rows = rows[self._at_once :]
        self._waiting = [rows.clone()] if len(rows) else []

    def _add(self, rows: Tensor, place: int) -> None:
        """
        Args:
            rows: of which the first is sample ``place``.
        """
        with without_autocast(rows.device):
            phases = rows @ self._frequencies.T
            components = torch.cat([phases.cos(), phases.sin()], 1) / math.sqrt(self.components)
            for block, own in rows_by_block(components, place, self.blocks):
                self._counts[block] += len(own)
                self._products[block] += own.T @ own


def suggested_bandwidth(features: Array | FeatureSample) -> float:
    """Half the median distance of two features, of up to 2,000 of them spread evenly: a typical pair then has a kernel
    value of exp(-2) = 0.14, and RKE can tell up to about exp(4) = 55 modes that are so far apart. The whole median
    distance, the usual rule, leaves less than three of them to tell (1 / exp(-1)).

    To be taken of the reference once, and kept for all that is compared.

    Args:
        features: [N, D] floating point, or a :class:`FeatureSample`; N at least 2.

    Raises:
        TypeError: no tensor or array, or of another dtype.
        ValueError: another shape, too few, values that are not finite, or half of all pairs are the same.

    >>> import torch
    >>> from amgan_fast.metrics import suggested_bandwidth
    >>> suggested_bandwidth(torch.tensor([[0.0, 0.0], [6.0, 8.0]]))
    5.0
    """
    rows = kept_features("features", features, least=2)
    rows = rows[torch.arange(min(len(rows), _FOR_BANDWIDTH)) * len(rows) // min(len(rows), _FOR_BANDWIDTH)]
    few = centred(rows, mean_of(rows))
    pairs = torch.triu_indices(len(rows), len(rows), 1)
    median = float(squared_distances(few, few)[pairs[0], pairs[1]].double().quantile(0.5).sqrt())
    if not median:
        raise ValueError("features are the same for half of all pairs, wanted some that differ for a bandwidth")
    return median / 2


def _shannon(matrix: Tensor) -> float:
    """Of the eigenvalues of a matrix of trace 1."""
    return float(torch.special.entr(torch.linalg.eigvalsh(matrix).clamp_min(0)).sum())


def _corrected_shannon(matrix: Tensor) -> float:
    """What is missing of the entropy goes with the inverse of the number of frequencies: as much as from either half of
    these to all of them."""
    frequencies = len(matrix) // 2
    halves = torch.arange(2 * frequencies, device=matrix.device).view(2, 2, -1).transpose(0, 1).flatten(1)
    of_halves = [_shannon(2 * matrix[half[:, None], half]) for half in halves]
    return 2 * _shannon(matrix) - sum(of_halves) / 2


def _renyi(matrix: Tensor) -> float:
    """Of order 2."""
    return -math.log(float(matrix.square().sum()))


def _corrected_renyi(matrix: Tensor) -> float:
    """The sum of squares is the mean of k(x_i, x_j)^2, each k being a mean over frequencies: without the products of a
    frequency with itself it is right on average."""
    frequencies = len(matrix) // 2
    squares = matrix.view(2, frequencies, 2, frequencies).square()
    itself = squares.diagonal(dim1=1, dim2=3).sum()
    return -math.log(max(float(squares.sum() - itself) * frequencies / (frequencies - 1), sys.float_info.min))


def _estimated(entropy: Callable[[Tensor], float], products: Tensor, counts: Tensor) -> Estimate:
    """Of the mean matrix, with a jackknife over blocks. An entropy is 0 to log N, whatever a correction makes of it.

    Args:
        products: [B, C, C], sums of each block.
        counts: [B], samples of each.
    """

    def of(total: Tensor, count: Tensor) -> float:
        return min(max(0.0, entropy(total / count)), math.log(float(count)))

    total, count, blocks = products.sum(0), counts.sum(), len(products)
    value = of(total, count)
    if not bool(counts.all()):
        return Estimate(value, None, None)
    without = [of(total - own, count - few) for own, few in zip(products, counts, strict=True)]
    variance = float(torch.tensor(without, dtype=torch.float64).var(correction=0)) * (blocks - 1)
    return Estimate(value, math.sqrt(variance), blocks - 1)


def _exponential(interval: tuple[float, float] | None) -> tuple[float, float] | None:
    """Of an interval of an entropy, which is at least 0."""
    return None if interval is None else (math.exp(max(0.0, interval[0])), math.exp(interval[1]))
