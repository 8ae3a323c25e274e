"""What scores make of dropped modes: curves over the number of classes kept."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from amgan_fast.drawing import new_figure, save_figure
from amgan_fast.metrics.class_sums import ClassSums
from amgan_fast.metrics.distribution import DistributionLike, as_distribution
from amgan_fast.metrics.moments import RandomSample
from amgan_fast.metrics.numbers import Numbers
from amgan_fast.metrics.score_names import SCORE
from amgan_fast.metrics.statistics import am_score, log_inception_score
from amgan_fast.ops import ScoreSums

_MODES = 100  # of the paper's study
_ORDERS = ("sorted", "random")


@dataclass(frozen=True, repr=False)
class Curve(Numbers):
    """A score over the number of classes kept, 1 to N. Nats.

    >>> from amgan_fast.metrics import synthetic_mode_drop
    >>> curve = synthetic_mode_drop([1, 1, 1, 1]).log_inception_score
    >>> [round(value, 4) for value in curve.mean], curve.standard_error
    ([0.0, 0.6931, 1.0986, 1.3863], None)
    """

    mean: tuple[float, ...]
    """Over the orders."""
    std: tuple[float, ...]
    """Standard deviation over the orders (ddof 0): how much it matters which classes are kept. 0 with one order."""
    standard_error: tuple[float, ...] | None
    """Of ``mean``, for the samples there were: a jackknife that leaves out one block of samples at a time. None for
    an exact distribution or a single block. NaN where, in one of the orders, all samples kept are of one block. For
    samples in random order: of a fixed number of samples a class it is too large."""


@dataclass(frozen=True, repr=False)
class ModeDrop(Numbers):
    """Scores as classes are dropped (Zhou et al., arXiv 1703.02000 [AM] section 6, figure 5).

    >>> from amgan_fast.metrics import synthetic_mode_drop
    >>> print(synthetic_mode_drop([1, 1, 1, 1]))
    Mode drop, 4 classes, one order, rarest dropped first
      kept  log Inception Score  AM Score
         1               0.0000         -
         2               0.6931         -
         3               1.0986         -
         4               1.3863         -
    """

    kept: tuple[int, ...]
    """1 to N, the numbers of classes kept that the curves are over."""
    order: str
    """``"sorted"``: the most frequent class is kept first, the rarest dropped first; ``"random"``."""
    orders: int
    """How many orders the curves are the mean of."""
    log_inception_score: Curve
    """log m where m classes are kept, equally frequent, and every sample is certain and of its own class."""
    am_score: Curve | None
    """None without a reference. Its std and error are NaN where it is infinite."""

    def __str__(self) -> str:
        orders = "one order, rarest dropped first" if self.order == "sorted" else f"mean of {self.orders} random orders"
        lines = [f"Mode drop, {len(self.kept)} classes, {orders}", "  kept  log Inception Score  AM Score"]
        for m in sorted({1, *(max(1, len(self.kept) * quarter // 4) for quarter in (1, 2, 3, 4))}):
            am_score = f"{self.am_score.mean[m - 1]:10.4f}" if self.am_score else f"{'-':>10}"
            lines.append(f"  {m:4d} {self.log_inception_score.mean[m - 1]:20.4f}{am_score}")
        return "\n".join(lines)


def synthetic_mode_drop(
    density: str | Tensor | Sequence[float] = "uniform", order: str = "sorted", *, orders: int = 1000, seed: int = 0
) -> ModeDrop:
    """The paper's synthetic study: N modes that a classifier is certain of, m of which a generator keeps.

    log IS is then the entropy of the kept densities divided by their sum: log m for a uniform density. There is no
    AM Score: it is infinite as soon as a mode is dropped, and 0 where none is.

    Args:
        density: ``"uniform"`` or ``"gaussian"`` (|N(0, 1)|, drawn) over 100 modes, as in [AM] figure 5, or the
            positive weights of any number of modes.
        order: ``"sorted"``: the densest mode is kept first; ``"random"``: ``orders`` random orders.
        orders: the number of random orders.
        seed: of the gaussian density and of the orders.

    Raises:
        ValueError: an unknown name, weights that are not positive, or ``orders`` below 1.

    >>> from amgan_fast.metrics import synthetic_mode_drop
    >>> few = synthetic_mode_drop([8, 4, 2, 1])
    >>> few.kept, [round(value, 3) for value in few.log_inception_score.mean]
    ((1, 2, 3, 4), [0.0, 0.637, 0.956, 1.137])
    """
    random = torch.Generator().manual_seed(seed)
    weights = _density(density, random)
    weights = weights / weights.sum()
    prob = weights.diag()  # certain: p is one-hot, entropies are 0
    sums = ScoreSums(weights, torch.zeros_like(weights), prob, prob, torch.eye(len(weights)).double().log())
    return _mode_drop(sums.map(lambda x: x[None]), _orders(weights, order, orders, random), order, None)


def mode_drop(
    sums: ClassSums,
    order: str = "random",
    *,
    orders: int = 100,
    seed: int = 0,
    reference: DistributionLike | None = None,
) -> ModeDrop:
    """The study on real data: scores of the samples whose label is among the m kept, for every m.

    No second pass over the data. Labels without samples are left out: N is the number of those with samples.

    Args:
        sums: of logits with labels.
        order: ``"sorted"``: the label with the most samples is kept first (of equal ones the lower number);
            ``"random"``: ``orders`` random orders.
        orders: the number of random orders. Each takes time in proportion to B·N·K: 1 ms for 10 classes, a second
            for 1000 classes and 4 blocks.
        seed: of the orders.
        reference: the class distribution of the complete set for the AM Score, as in
            :meth:`ScoreAccumulator.compute`; None: no AM Score.

    Warns:
        ScoreWarning: logits that seem to be probabilities.

    Raises:
        ValueError: no samples, a row that gave no distribution, an unknown order, ``orders`` below 1, or a bad
            reference.

    >>> import torch
    >>> from amgan_fast.metrics import ClassSums, mode_drop
    >>> labels = torch.arange(60) % 3
    >>> sums = ClassSums(3)
    >>> sums.update(20.0 * torch.eye(3)[labels], labels)
    >>> dropped = mode_drop(sums, reference=[1 / 3] * 3)
    >>> [round(value, 3) for value in dropped.log_inception_score.mean[1:]]
    [0.693, 1.099]
    """
    counts = sums.sums.count.cpu()
    present = counts.sum(0).nonzero()[:, 0]
    if not len(present):
        raise ValueError("sums hold no samples, wanted at least one update before mode_drop")
    random = torch.Generator().manual_seed(seed)
    chosen = _orders(counts.sum(0)[present], order, orders, random)
    target = None if reference is None else as_distribution(reference, sums.num_classes)
    sums.refuse_bad()
    sums.first_rows.warn()
    return _mode_drop(sums.sums.map(lambda x: x.cpu()[:, present]), chosen, order, target)


def save_mode_drop(path: Path, curves: Mapping[str, ModeDrop]) -> None:
    """Draw log IS, and AM Scores where there are any, over the number of classes kept.

    Bands are the std over the orders, bars the standard error; dashed is log m, what m equally frequent classes give
    if the classifier is certain and right.

    >>> from pathlib import Path
    >>> from tempfile import TemporaryDirectory
    >>> from amgan_fast.metrics import save_mode_drop, synthetic_mode_drop
    >>> with TemporaryDirectory() as folder:
    ...     save_mode_drop(Path(folder) / "modes.png", {"uniform": synthetic_mode_drop()})
    ...     print([path.name for path in Path(folder).iterdir()])
    ['modes.png']
    """
    panels = {"log Inception Score [nats]": {name: result.log_inception_score for name, result in curves.items()}}
    am_scores = {name: result.am_score for name, result in curves.items() if result.am_score is not None}
    if am_scores:
        panels[f"{SCORE['am_score'].title} [nats]"] = am_scores
    figure = new_figure(len(panels))
    for axes, (title, lines) in zip(figure.axes, panels.items(), strict=True):
        for name, line in lines.items():
            kept, mean, std = curves[name].kept, torch.tensor(line.mean), torch.tensor(line.std)
            drawn = axes.errorbar(kept, mean, line.standard_error, label=name, capsize=2)
            axes.fill_between(kept, mean - std, mean + std, color=drawn.lines[0].get_color(), alpha=0.2, linewidth=0)
        axes.set(title=title, xlabel="classes kept")
    kept = max((result.kept for result in curves.values()), key=len)
    figure.axes[0].plot(kept, [math.log(m) for m in kept], "--", color="black", linewidth=1, label="log m", zorder=3)
    for axes in figure.axes:
        axes.legend()
    save_figure(path, figure)


def _density(density: str | Tensor | Sequence[float], random: torch.Generator) -> Tensor:
    if density == "uniform":
        return torch.ones(_MODES, dtype=torch.float64)
    if density == "gaussian":
        return torch.randn(_MODES, dtype=torch.float64, generator=random).abs()
    if isinstance(density, str):
        raise ValueError(f"density is {density!r}, wanted 'uniform', 'gaussian' or a vector")
    weights = torch.as_tensor(density, dtype=torch.float64, device="cpu")
    if weights.ndim != 1 or not len(weights) or not (weights > 0).all() or not weights.isfinite().all():
        raise ValueError(f"density is {weights.tolist()}, wanted a vector of positive numbers")
    return weights


def _orders(frequencies: Tensor, order: str, orders: int, random: torch.Generator) -> list[Tensor]:
    if order not in _ORDERS:
        raise ValueError(f"order is {order!r}, wanted one of {', '.join(_ORDERS)}")
    if orders < 1:
        raise ValueError(f"orders is {orders}, wanted at least 1")
    if order == "sorted":
        return [frequencies.argsort(descending=True, stable=True)]
    return [torch.randperm(len(frequencies), generator=random) for _ in range(orders)]


def _mode_drop(sums: ScoreSums, orders: list[Tensor], order: str, reference: Tensor | None) -> ModeDrop:
    """From sums [B, N, ...] and permutations of the N classes."""
    sets = sums.map(_whole_and_without_each_block)
    scores = [_along(sets, permutation, reference) for permutation in orders]
    log_scores, am_scores = zip(*scores, strict=True)
    return ModeDrop(
        kept=tuple(range(1, len(orders[0]) + 1)),
        order=order,
        orders=len(orders),
        log_inception_score=_curve(torch.stack(log_scores)),
        am_score=None if reference is None else _curve(torch.stack(am_scores)),
    )


def _whole_and_without_each_block(x: Tensor) -> Tensor:
    """[B, ...] -> [1 + B, ...], [1, ...] for one block. Added, not subtracted: a rounded 0 must not get below 0."""
    blocks = len(x) if len(x) > 1 else 0
    return torch.stack([x.sum(0), *(torch.cat([x[:b], x[b + 1 :]]).sum(0) for b in range(blocks))])


def _along(sets: ScoreSums, permutation: Tensor, reference: Tensor | None) -> tuple[Tensor, Tensor | None]:
    """log IS and AM Score [S, N] of S sets as the classes [S, N, ...] come in one after another."""
    kept = sets.map(lambda x: x[:, permutation].cumsum(1))
    x = RandomSample(kept)
    return log_inception_score(x), None if reference is None else am_score(reference, x)


def _curve(values: Tensor) -> Curve:
    """From [orders, 1 + B, N]: the whole set, then the set without each block."""
    whole, without = values[:, 0], values[:, 1:].mean(0)
    blocks = len(without)
    error = ((without - without.mean(0)).square().sum(0) * (blocks - 1) / blocks).sqrt() if blocks else None
    return Curve(
        mean=tuple(whole.mean(0).tolist()),
        std=tuple(whole.std(0, correction=0).tolist()),
        standard_error=None if error is None else tuple(error.tolist()),
    )
