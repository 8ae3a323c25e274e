"""How often each class comes, against how often it should."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
import torch
from torch import Tensor

from amgan_fast.drawing import new_figure, save_figure, short_names
from amgan_fast.metrics.arrays import Array, as_tensor
from amgan_fast.metrics.bad_rows import refuse_bad_sums
from amgan_fast.metrics.class_counts import ClassCounts
from amgan_fast.metrics.distribution import DistributionLike, as_distribution
from amgan_fast.metrics.homogeneity import Homogeneity, homogeneity
from amgan_fast.metrics.numbers import Numbers
from amgan_fast.metrics.row_accumulator import accumulate
from amgan_fast.metrics.row_terms import RowTerms
from amgan_fast.metrics.sampling import Sampling

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_EXTREMES = 20  # classes at either end that are drawn where there are too many for all


@dataclass(frozen=True, repr=False)
class LabelBalance(Numbers):
    """Class frequencies of N samples under a classifier, beside those of a reference.

    Whether chance makes the difference is told by a test of two samples, so it wants the counts of the reference too.
    It takes numbers of samples that were fixed in strata into account, in either of them, and classes that come seldom
    together: :mod:`amgan_fast.metrics.homogeneity`.

    >>> import torch
    >>> from amgan_fast.metrics import label_balance
    >>> print(label_balance(20.0 * torch.eye(2)[[0] * 60 + [1] * 40], reference=[100, 100]))
    100 samples, chi-square 2.68 with 1 degrees of freedom, p = 0.102
      class   count  fraction      mean  reference
          0      60    0.6000    0.6000     0.5000
          1      40    0.4000    0.4000     0.5000
    """

    n: int
    """The number of samples N."""
    counts: tuple[int, ...]
    """Samples whose likeliest class it is, K numbers (of equally likely classes the lowest)."""
    mean: tuple[float, ...]
    """The mean class distribution m, K numbers: the part of the uncertain samples too."""
    reference: tuple[float, ...]
    """The mean class distribution of the reference, or its fractions where no more than counts are known."""
    reference_counts: tuple[int, ...] | None
    """As :attr:`counts`, of the reference; None: not known."""
    cells: int | None
    """Classes that were compared, those that come seldom merged; None: none were."""
    chi_square: float | None
    """Pearson's statistic of homogeneity, with the correction of Rao and Scott where numbers were fixed in strata."""
    degrees_of_freedom: float | None
    """One less than :attr:`cells`; Satterthwaite's with strata."""
    p_value: float | None
    """How often two samples drawn so from one distribution would differ as much: uniform between 0 and 1 for such,
    whether the classifier is certain or not. None: :attr:`reason`."""
    reason: str | None
    """Why there is no :attr:`p_value`; None: there is one."""

    @classmethod
    def of(
        cls, counts: Tensor, mean: Tensor, reference: Tensor, reference_counts: Tensor | None = None
    ) -> LabelBalance:
        """
        Args:
            counts: integers, how often each class is the likeliest: [K], or [S, K] by stratum.
            mean: float64 [K], the mean class distribution.
            reference: float64 [K], the mean class distribution of the reference.
            reference_counts: as ``counts``, of the reference; None: not known. All are on the CPU.
        """
        total = _of_all_strata(counts)
        test = Homogeneity(reason="the reference's counts are not known, only its mean distribution")
        if reference_counts is not None:
            test = homogeneity(counts, reference_counts)
        return cls(
            n=int(total.sum()),
            counts=tuple(total.tolist()),
            mean=tuple(mean.tolist()),
            reference=tuple(reference.tolist()),
            reference_counts=None if reference_counts is None else tuple(_of_all_strata(reference_counts).tolist()),
            cells=test.cells,
            chi_square=test.chi_square,
            degrees_of_freedom=test.degrees_of_freedom,
            p_value=test.p_value,
            reason=test.reason,
        )

    @property
    def reference_fractions(self) -> tuple[float, ...]:
        """What :attr:`counts` compare with: of the reference's counts where they are known, else :attr:`reference`."""
        counts = self.reference_counts
        return self.reference if counts is None else tuple(count / sum(counts) for count in counts)

    def __str__(self) -> str:
        lines = [
            f"{self.n} samples, {self._test_in_words()}",
            "  class   count  fraction      mean  reference",
        ]
        rows = zip(self.counts, self.mean, self.reference_fractions, strict=True)
        for k, (count, mean, reference) in enumerate(rows):
            lines.append(f"  {k:5d} {count:7d} {count / self.n:9.4f} {mean:9.4f} {reference:10.4f}")
        return "\n".join(lines)

    def _test_in_words(self) -> str:
        if self.p_value is None:
            return f"no p: {self.reason}"
        return (
            f"chi-square {self.chi_square:.2f} with {self.degrees_of_freedom:.4g} degrees of freedom, "
            f"p = {self.p_value:.3g}"
        )


class LabelCounts(ClassCounts):
    """Collects logits batch by batch for a :class:`LabelBalance`; the state is two numbers for each class, with strata
    S + 1.

    Args:
        num_classes: the number of classes K, at least 2.
        strata: S, the number of groups of which as many samples were drawn as was fixed beforehand, such as the classes
            asked for; None: samples were drawn at random.
        device: where counts are kept; None: where the first rows are.

    Raises:
        ValueError: an argument out of its range.

    >>> import torch
    >>> from amgan_fast.metrics import LabelCounts
    >>> training, generated = LabelCounts(num_classes=2), LabelCounts(num_classes=2, strata=2)
    >>> training.update(torch.tensor([[20.0, 0.0]] * 45 + [[0.0, 20.0]] * 55))
    >>> generated.update(torch.tensor([[20.0, 0.0]] * 70 + [[0.0, 20.0]] * 30), strata=torch.arange(100) // 50)
    >>> balance = generated.compute(reference=training)
    >>> balance.counts, balance.reference_counts, f"{balance.p_value:.1g}"
    ((70, 30), (45, 55), '3e-05')
    """

    def _begin(self, device: torch.device | str | None) -> None:
        super()._begin(device)
        self._prob = torch.zeros(self.num_classes, dtype=torch.float64, device=device)

    def add(self, rows: RowTerms, strata: Array | None = None) -> None:
        """Add a batch that others may be handed too: as :meth:`update`. On a GPU a row that gives no distribution is
        found by :meth:`compute`."""
        self._follow(rows)
        self._strata_of(strata, rows)
        prob = rows.block_sums(1).prob[0]
        rows.refuse_bad(self.samples, prob)
        super().add(rows, strata)
        self._prob += prob.to(self._prob.device)

    def compute(self, reference: BalanceReference, sampling: Sampling | None = None) -> LabelBalance:
        """The balance of all samples so far.

        Args:
            reference: as of :func:`label_balance`.
            sampling: ``random``: as if there were no strata.

        Warns:
            ScoreWarning: logits that seem to be probabilities.

        Raises:
            ValueError: no sample yet, a row that gives no distribution, or a bad ``reference``.
        """
        mean = self.class_distribution()
        return LabelBalance.of(self.table(sampling), mean, *_as_reference(reference, self.num_classes))

    def class_distribution(self) -> Tensor:
        """The mean class distribution of all samples so far, [K], float64, on the CPU.

        Warns, Raises: as :meth:`compute`.
        """
        prob = self._prob.cpu()
        if not self.samples:
            raise ValueError("no samples, wanted at least one update before compute")
        refuse_bad_sums(prob)
        self.first_rows.warn()
        return prob / prob.sum()

    def _states(self) -> dict[str, Tensor]:
        return super()._states() | {"prob": self._prob}


BalanceReference: TypeAlias = "DistributionLike | LabelCounts"
"""What class frequencies are compared with."""


def label_balance(
    batches: Array | Iterable[Array],
    reference: BalanceReference,
    *,
    from_logits: bool = True,
    strata: Array | None = None,
) -> LabelBalance:
    """Count the likeliest classes.

    Args:
        batches: logits or, with ``from_logits=False``, probabilities, [N, K] or batches of these, as :func:`scores`
            takes them.
        reference: the :class:`LabelCounts` of a set, or its counts, integers: [K], or [S, K] by stratum. K
            probabilities, floating point, or the Scores or the ScoreAccumulator of a set are shown beside the
            fractions; there is no p then, since nobody knows how often each class was the likeliest.
        from_logits: as of :meth:`ScoreAccumulator.update`.
        strata: [N], integers from 0 on, the group of each sample where numbers of samples a group were fixed
            beforehand; None: samples were drawn at random.

    Raises:
        TypeError: no tensor or array, or a dtype that is not floating point, or of ``strata`` no integer.
        ValueError: no samples, a wrong shape, a row that gives no distribution, or a bad ``reference``.

    >>> import torch
    >>> from amgan_fast.metrics import label_balance
    >>> logits = torch.tensor([[20.0, 0.0]] * 70 + [[0.0, 20.0]] * 30)
    >>> balance = label_balance(logits, reference=[500, 500])
    >>> balance.counts, round(balance.chi_square, 2), round(balance.p_value, 6)
    ((70, 30), 14.56, 0.000135)
    >>> balance = label_balance(logits, reference=[0.5, 0.5])
    >>> balance.p_value, balance.reason
    (None, "the reference's counts are not known, only its mean distribution")
    """
    if strata is None:
        return accumulate(LabelCounts, batches, from_logits).compute(reference)
    of_row = as_tensor("strata", strata)
    make = partial(LabelCounts, strata=int(of_row.max()) + 1 if of_row.numel() else 1)
    return accumulate(make, batches, from_logits, strata=of_row).compute(reference)


def _as_reference(reference: BalanceReference, num_classes: int) -> tuple[Tensor, Tensor | None]:
    """The mean class distribution [K], and counts [K] or [S, K]; None: they are not known."""
    if isinstance(reference, LabelCounts):
        return as_distribution(reference.class_distribution(), num_classes), reference.table()
    counts = _as_counts(reference)
    if counts is None:
        return as_distribution(reference, num_classes), None
    if counts.ndim not in (1, 2) or counts.size(-1) != num_classes:
        raise ValueError(f"reference is {list(counts.shape)}, wanted counts [{num_classes}] or [S, {num_classes}]")
    if not counts.any() or int(counts.min()) < 0:
        found = f"reference has {int(counts.sum())} samples, its least count is {int(counts.min())}"
        raise ValueError(f"{found}; wanted at least one sample and no count below 0")
    total = _of_all_strata(counts).double()
    return total / total.sum(), counts


def _as_counts(reference: BalanceReference) -> Tensor | None:
    """Integers, on the CPU; None: it is something else."""
    if isinstance(reference, Tensor | np.ndarray):
        values = as_tensor("reference", reference)
    elif isinstance(reference, Sequence):
        try:
            values = torch.tensor(reference)
        except (TypeError, ValueError, RuntimeError):
            return None
    else:
        return None
    other = values.is_floating_point() or values.is_complex() or values.dtype == torch.bool
    return None if other or not values.numel() else values.detach().cpu().long()


def _of_all_strata(counts: Tensor) -> Tensor:
    """[K] or [S, K] -> [K]"""
    return counts if counts.ndim == 1 else counts.sum(0)


def save_label_balance(path: Path, balances: Mapping[str, LabelBalance], class_names: Sequence[str] = ()) -> None:
    """Draw the fractions of each class beside those of the first set's reference; points are the mean distributions.

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
    ...     balance = label_balance(20.0 * torch.eye(2), [50, 50])
    ...     save_label_balance(Path(folder) / "balance.png", {"generated": balance}, class_names=["cat", "dog"])
    ...     print([path.name for path in Path(folder).iterdir()])
    ['balance.png']
    """
    first = next(iter(balances.values()))
    panels = _panels(first)
    figure = new_figure(len(panels))
    for axes, (title, classes) in zip(figure.axes, panels.items(), strict=True):
        _draw_classes(axes, balances, classes, class_names)
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
    classes: Sequence[int],
    class_names: Sequence[str],
) -> None:
    width = 0.8 / len(balances)
    for i, (name, balance) in enumerate(balances.items()):
        places = [place - 0.4 + (i + 0.5) * width for place in range(len(classes))]
        fractions = [balance.counts[k] / balance.n for k in classes]
        tested = "" if balance.p_value is None else f", p = {balance.p_value:.2g}"
        axes.bar(places, fractions, width, label=name + tested)
        axes.plot(places, [balance.mean[k] for k in classes], "k.", label="mean distribution" if i == 0 else None)
    edges = torch.arange(len(classes) + 1) - 0.5
    first = next(iter(balances.values()))
    label = "reference, mean distribution" if first.reference_counts is None else "reference"
    axes.stairs([first.reference_fractions[k] for k in classes], edges, color="black", linestyle="--", label=label)
    texts = short_names([class_names[k] if class_names else str(k) for k in classes])
    wide = sum(map(len, texts)) > 24
    axes.set_xticks(range(len(classes)), texts, rotation=90 if wide else 0, parse_math=False)
