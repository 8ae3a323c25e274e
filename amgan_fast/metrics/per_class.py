"""What is measured of the samples of each class: how certain the classifier is, whether it agrees, how much it sees."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from amgan_fast.memory import to_device
from amgan_fast.metrics.add_rows import add_rows
from amgan_fast.metrics.arrays import Array
from amgan_fast.metrics.bad_rows import refuse_bad_sums
from amgan_fast.metrics.late_checks import LateLabels
from amgan_fast.metrics.moments import Moments
from amgan_fast.metrics.numbers import Numbers
from amgan_fast.metrics.row_accumulator import Accumulator
from amgan_fast.metrics.row_terms import RowTerms
from amgan_fast.metrics.share_interval import share_interval

Interval = tuple[float, float]

_UPPER = 0.975  # the quantile at the upper end of an interval of 95%


@dataclass(frozen=True, repr=False)
class ClassRow(Numbers):
    """The samples with one label. All intervals are of 95%; what is not known is None."""

    label: int
    name: str
    n: int
    """Samples with this label."""
    mean_entropy: float | None
    """Of the classifier on them, nats."""
    mean_entropy_ci95: Interval | None
    """By Student's t, as far as it is within 0 and log K. None with fewer than two samples."""
    agreement: float | None
    """The fraction whose likeliest class is the label's."""
    agreement_ci95: Interval | None
    """Wilson's."""
    share: float | None = None
    """m_k: the part of the mean class distribution of all samples that the label's class has, whatever their labels."""
    share_ci95: Interval | None = None
    """Wilson's, of as many certain samples drawn at random as would have the variance that m_k has: m_k (1 - m_k) over
    it."""


@dataclass(frozen=True, repr=False)
class PerClass(Numbers):
    """A row for each label.

    >>> import torch
    >>> from amgan_fast.metrics import LabelSums
    >>> sums = LabelSums(2, 2, classes=torch.tensor([0, 1]))
    >>> sums.update(8.0 * torch.eye(2)[[0, 0, 0, 1]], torch.tensor([0, 0, 1, 1]))
    >>> [(row.label, row.n, row.agreement) for row in sums.compute().worst(1)]
    [(1, 2, 0.5)]
    """

    rows: tuple[ClassRow, ...]
    agreement: float | None
    """The fraction of all samples whose likeliest class is their label's; None: it is not known, or there are none."""
    agreement_ci95: Interval | None = None
    """Wilson's."""

    def worst(self, most: int) -> tuple[ClassRow, ...]:
        """Up to ``most`` of the labels that there are samples of: where the classifier agrees least often, or where
        that is not known is least certain."""

        def badness(row: ClassRow) -> tuple[float, float]:
            return (0.0 if row.agreement is None else -row.agreement, row.mean_entropy or 0.0)

        return tuple(sorted((row for row in self.rows if row.n), key=badness, reverse=True)[:most])


class LabelSums(Accumulator):
    """Collects logits with labels batch by batch; the state is four numbers for each label.

    Args:
        num_classes: K, the number of the classifier's classes, at least 2.
        num_labels: S, the number of labels, at least 1.
        classes: int64 [S], the class that each label stands for; None: not known, so there is no agreement.
        device: where the sums are kept; None: where the first rows are.

    Raises:
        ValueError: an argument out of its range.

    >>> import torch
    >>> from amgan_fast.metrics import LabelSums
    >>> sums = LabelSums(3, 2)
    >>> sums.update(torch.zeros(4, 3), torch.tensor([0, 0, 0, 1]))
    >>> sums.counts.tolist(), [round(row.mean_entropy, 4) for row in sums.compute(["cat", "dog"]).rows]
    ([3, 1], [1.0986, 1.0986])
    """

    SETTINGS = ("num_classes", "num_labels")

    def __init__(
        self,
        num_classes: int,
        num_labels: int,
        *,
        classes: Tensor | None = None,
        device: torch.device | str | None = None,
    ) -> None:
        super().__init__(num_classes, device)
        if num_labels < 1:
            raise ValueError(f"num_labels is {num_labels}, wanted at least 1")
        if classes is not None and classes.shape != (num_labels,):
            raise ValueError(f"classes are {list(classes.shape)}, wanted [{num_labels}], one for each label")
        self.num_labels = num_labels
        self._classes = classes
        self._begin(device)

    def _begin(self, device: torch.device | str | None) -> None:
        super()._begin(device)
        self._sums = torch.zeros(4, self.num_labels, dtype=torch.float64, device=device)
        self._classes = None if self._classes is None else to_device(self._classes, self._sums.device)
        self._late_labels = LateLabels(self.num_labels, "labels", device)
        self._late.append(self._late_labels)

    def update(self, logits: Array, labels: Array, *, from_logits: bool = True) -> None:
        """Add a batch: ``logits`` [N, K] and ``labels`` [N], 0 to S-1, as :meth:`ClassSums.update` takes them."""
        self.add(RowTerms(logits, self.num_classes, from_logits=from_logits), labels)

    def add(self, rows: RowTerms, labels: Array) -> None:
        """Add a batch that others may be handed too: as :meth:`update`."""
        self._follow(rows)
        labels = self._late_labels.take(labels, len(rows), self.samples, rows.values.device)
        entropy = rows.entropy
        rows.refuse_bad(self.samples, entropy)
        agrees = torch.zeros_like(entropy)
        if self._classes is not None:
            agrees = (rows.likeliest == self._classes.to(labels.device)[labels]).double()
        terms = torch.stack([torch.ones_like(entropy), entropy, entropy.square(), agrees], 1)
        sums = torch.zeros(self.num_labels, 4, dtype=torch.float64, device=entropy.device)
        add_rows(sums, labels, terms)
        self._sums += sums.T.to(self._sums.device)
        self._count(rows)

    @property
    def counts(self) -> Tensor:
        """int64 [S], on the CPU: samples with each label."""
        return self._sums[0].long().cpu()

    def class_shares(self) -> Tensor | None:
        """float64 [K], on the CPU: the parts of all samples that have the label of each class; None: not known."""
        counts = self.counts.double()
        if self._classes is None or not counts.any():
            return None
        return torch.zeros(self.num_classes, dtype=torch.float64).index_add_(
            0, self._classes.cpu(), counts / counts.sum()
        )

    def compute(self, names: Sequence[str] = (), moments: Moments | None = None) -> PerClass:
        """What there is so far.

        Args:
            names: what each label is called; empty: by its number.
            moments: of all samples, for the shares; None: there are none.

        Raises:
            ValueError: a row that gave no distribution, or a label on a GPU that was out of range.
        """
        self._refuse_late()
        refuse_bad_sums(self._sums)
        rows = []
        for label, (n, entropy, entropy_sq, agreeing) in enumerate(self._sums.T.tolist()):
            k = None if self._classes is None else int(self._classes[label])
            rows.append(
                ClassRow(
                    label=label,
                    name=names[label] if names else str(label),
                    n=int(n),
                    mean_entropy=entropy / n if n else None,
                    mean_entropy_ci95=_of_mean(n, entropy, entropy_sq, math.log(self.num_classes)),
                    agreement=agreeing / n if n and k is not None else None,
                    agreement_ci95=share_interval(agreeing / n, n) if n and k is not None else None,
                    share=None if k is None or moments is None else float(moments.mean[k]),
                    share_ci95=None if k is None or moments is None else _share(moments.mean[k], moments.variance[k]),
                )
            )
        n, _, _, agreeing = self._sums.sum(1).tolist()
        if not n or self._classes is None:
            return PerClass(tuple(rows), None)
        return PerClass(tuple(rows), agreeing / n, share_interval(agreeing / n, n))

    def _states(self) -> dict[str, Tensor]:
        return {"sums": self._sums}


def _of_mean(n: float, total: float, total_sq: float, most: float) -> Interval | None:
    """Of a mean that is 0 to ``most``."""
    from scipy.special import stdtrit

    if n < 2:
        return None
    mean = total / n
    variance = max(0.0, total_sq / n - mean**2) / (n - 1)
    reach = float(stdtrit(n - 1, _UPPER)) * math.sqrt(variance)
    return max(0.0, mean - reach), min(most, mean + reach)


def _share(mean: Tensor, variance: Tensor) -> Interval:
    """Of a class of the mean distribution."""
    share, squared_error = float(mean), float(variance)
    if not squared_error:
        return share, share
    return share_interval(share, share * (1 - share) / squared_error)
