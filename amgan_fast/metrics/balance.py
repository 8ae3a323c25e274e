"""How often each class comes, against how often it should."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from amgan_fast.drawing import new_figure, save_figure, short_names
from amgan_fast.metrics.arrays import Array
from amgan_fast.metrics.bad_rows import refuse_bad_sums
from amgan_fast.metrics.distribution import DistributionLike, as_distribution
from amgan_fast.metrics.numbers import Numbers
from amgan_fast.metrics.row_accumulator import RowAccumulator, accumulate
from amgan_fast.metrics.row_terms import RowTerms

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_EXTREMES = 20  # classes at either end that are drawn where there are too many for all


@dataclass(frozen=True, repr=False)
class LabelBalance(Numbers):
    """Class frequencies of N samples under a classifier, and Pearson's chi-square test against a reference.

    >>> import torch
    >>> from amgan_fast.metrics import label_balance
    >>> print(label_balance(20.0 * torch.eye(2).repeat(5, 1), reference=[0.5, 0.5]))
    10 samples, chi-square 0.00 with 1 degrees of freedom, p = 1
      class   count  fraction      mean  reference
          0       5    0.5000    0.5000     0.5000
          1       5    0.5000    0.5000     0.5000
    """

    n: int
    """The number of samples N."""
    counts: tuple[int, ...]
    """Samples whose likeliest class it is, K numbers (of equally likely classes the lowest)."""
    mean: tuple[float, ...]
    """The mean class distribution m, K numbers: the part of the uncertain samples too."""
    reference: tuple[float, ...]
    """What was compared with, K probabilities."""
    chi_square: float
    """sum_k (counts_k - N ref_k)^2 / (N ref_k); infinite where a class came that the reference lacks."""
    degrees_of_freedom: int
    """One less than the classes of the reference."""
    p_value: float
    """Of N independent draws from the reference, how many sets would be as far off: an approximation that wants N
    ref_k of 5 or more. Samples with predefined labels are not such draws, nor is a balanced dataset: theirs is 1."""

    @classmethod
    def of(cls, counts: Tensor, mean: Tensor, reference: Tensor) -> LabelBalance:
        """From how often each class is the likeliest, the mean distribution, and what to compare with: each [K],
        float64, on the CPU."""
        n = int(counts.sum())
        hit = reference > 0
        statistic = ((counts - n * reference).square() / (n * reference))[hit].sum()
        if counts[~hit].any():
            statistic.fill_(torch.inf)
        freedom = int(hit.sum()) - 1
        return cls(
            n=n,
            counts=tuple(counts.long().tolist()),
            mean=tuple(mean.tolist()),
            reference=tuple(reference.tolist()),
            chi_square=float(statistic),
            degrees_of_freedom=freedom,
            p_value=_p_value(statistic, freedom),
        )

    def __str__(self) -> str:
        lines = [
            f"{self.n} samples, chi-square {self.chi_square:.2f} with {self.degrees_of_freedom} degrees of freedom, "
            f"p = {self.p_value:.3g}",
            "  class   count  fraction      mean  reference",
        ]
        for k, (count, mean, reference) in enumerate(zip(self.counts, self.mean, self.reference, strict=True)):
            lines.append(f"  {k:5d} {count:7d} {count / self.n:9.4f} {mean:9.4f} {reference:10.4f}")
        return "\n".join(lines)


class LabelCounts(RowAccumulator):
    """Collects logits batch by batch for a :class:`LabelBalance`; the state is two numbers for each class.

    Args:
        num_classes: the number of classes K, at least 2.
        device: where counts are kept; None: PyTorch's default device. Best the device of the logits.

    Raises:
        ValueError: ``num_classes`` below 2.

    >>> import torch
    >>> from amgan_fast.metrics import LabelCounts
    >>> counts = LabelCounts(num_classes=2)
    >>> counts.update(torch.tensor([[20.0, 0.0], [20.0, 0.0]]))
    >>> counts.update(torch.tensor([[0.0, 20.0]]))
    >>> counts.compute(reference=[0.5, 0.5]).counts
    (2, 1)
    """

    def __init__(self, num_classes: int, *, device: torch.device | str | None = None) -> None:
        super().__init__(num_classes, device)
        self._counts, self._prob = torch.zeros(2, num_classes, dtype=torch.float64, device=device)

    def add(self, rows: RowTerms) -> None:
        """Add a batch that others may be handed too: as :meth:`update`."""
        prob = rows.block_sums(1).prob[0]
        rows.refuse_bad(self.samples, prob)
        self._counts += rows.class_counts.to(self._counts.device)
        self._prob += prob.to(self._prob.device)
        self._count(rows)

    def compute(self, reference: DistributionLike) -> LabelBalance:
        """The balance of all samples so far, ``reference`` as of :func:`label_balance`.

        Warns:
            ScoreWarning: logits that seem to be probabilities.

        Raises:
            ValueError: no sample yet, a row that gives no distribution, or a bad ``reference``.
        """
        counts, prob = self._counts.cpu(), self._prob.cpu()
        if not counts.any():
            raise ValueError("no samples, wanted at least one update before compute")
        refuse_bad_sums(prob)
        self.first_rows.warn()
        return LabelBalance.of(counts, prob / prob.sum(), as_distribution(reference, self.num_classes))

    def _states(self) -> dict[str, Tensor]:
        return {"counts": self._counts, "prob": self._prob}


def label_balance(
    batches: Array | Iterable[Array],
    reference: DistributionLike,
    *,
    from_logits: bool = True,
) -> LabelBalance:
    """Count the likeliest classes.

    Args:
        batches: logits or, with ``from_logits=False``, probabilities, [N, K] or batches of these, as :func:`scores`
            takes them.
        reference: K probabilities (``Dataset.class_frequencies()``, or of the labels asked for), or the Scores or
            the accumulator of a set. Taken as exact.
        from_logits: as of :meth:`ScoreAccumulator.update`.

    Raises:
        TypeError: no tensor or array, or a dtype that is not floating point.
        ValueError: no samples, a wrong shape, a row that gives no distribution, or a bad ``reference``.

    >>> import torch
    >>> from amgan_fast.metrics import label_balance
    >>> logits = torch.tensor([[20.0, 0.0]] * 70 + [[0.0, 20.0]] * 30)
    >>> balance = label_balance(logits, reference=[0.5, 0.5])
    >>> balance.counts, balance.chi_square, round(balance.p_value, 6)
    ((70, 30), 16.0, 6.3e-05)
    """
    return accumulate(LabelCounts, batches, from_logits).compute(reference)


def save_label_balance(path: Path, balances: Mapping[str, LabelBalance], class_names: Sequence[str] = ()) -> None:
    """Draw the fractions of each class beside the reference of the first set; points are the mean distributions.

    Bars of more than 40 classes would be too thin to see: the 20 classes that come most often in the first set are
    drawn, and beside them the 20 that come least often.

    Args:
        path: the suffix names the format.
        balances: by what sets are called.
        class_names: of all classes; empty: classes are called by their numbers.

    >>> from pathlib import Path
    >>> from tempfile import TemporaryDirectory
    >>> import torch
    >>> from amgan_fast.metrics import label_balance, save_label_balance
    >>> with TemporaryDirectory() as folder:
    ...     balance = label_balance(20.0 * torch.eye(2), [0.5, 0.5])
    ...     save_label_balance(Path(folder) / "balance.png", {"generated": balance}, class_names=["cat", "dog"])
    ...     print([path.name for path in Path(folder).iterdir()])
    ['balance.png']
    """
    first = next(iter(balances.values()))
    panels = _panels(first)
    figure = new_figure(len(panels))
    for axes, (title, classes) in zip(figure.axes, panels.items(), strict=True):
        _draw_classes(axes, balances, first.reference, classes, class_names)
        axes.set(title=title, xlabel="class", ylabel="fraction of samples")
        axes.margins(y=0.35)  # above the bars there is room for the legend
        axes.legend(loc="upper center", ncols=2)
    save_figure(path, figure)


def _panels(balance: LabelBalance) -> dict[str, list[int]]:
    """Title -> classes, in the order in which they are drawn."""
    count = len(balance.counts)
    if count <= 2 * _EXTREMES:
        return {"Label balance": list(range(count))}
    ordered = sorted(range(count), key=lambda k: (-balance.counts[k], -balance.mean[k], k))
    return {
        f"Most frequent {_EXTREMES} of {count:,} classes": ordered[:_EXTREMES],
        f"Least frequent {_EXTREMES} of {count:,} classes": ordered[-_EXTREMES:],
    }


def _draw_classes(
    axes: Axes,
    balances: Mapping[str, LabelBalance],
    reference: Sequence[float],
    classes: Sequence[int],
    class_names: Sequence[str],
) -> None:
    width = 0.8 / len(balances)
    for i, (name, balance) in enumerate(balances.items()):
        places = [place - 0.4 + (i + 0.5) * width for place in range(len(classes))]
        fractions = [balance.counts[k] / balance.n for k in classes]
        axes.bar(places, fractions, width, label=f"{name}, p = {balance.p_value:.2g}")
        axes.plot(places, [balance.mean[k] for k in classes], "k.", label="mean distribution" if i == 0 else None)
    edges = torch.arange(len(classes) + 1) - 0.5
    axes.stairs([reference[k] for k in classes], edges, color="black", linestyle="--", label="reference")
    texts = short_names([class_names[k] if class_names else str(k) for k in classes])
    wide = sum(map(len, texts)) > 24
    axes.set_xticks(range(len(classes)), texts, rotation=90 if wide else 0, parse_math=False)


def _p_value(statistic: Tensor, freedom: int) -> float:
    """The upper tail of the chi-square distribution is the regularised incomplete gamma function Q(k/2, x/2)."""
    if not freedom:
        return 1.0 if statistic.isfinite() else 0.0
    return float(torch.special.gammaincc(torch.tensor(freedom / 2, dtype=torch.float64), statistic / 2))
