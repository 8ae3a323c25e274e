"""The Inception Scores of other tools, all from one pass that keeps no logits."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from operator import itemgetter

import torch
from torch import Tensor

from amgan_fast.memory import to_device
from amgan_fast.metrics.bad_rows import refuse_bad_sums
from amgan_fast.metrics.compat_rules import COMPAT_TOOLS, CompatRule, compat_rule
from amgan_fast.metrics.moments import RandomSample
from amgan_fast.metrics.numbers import Numbers
from amgan_fast.metrics.row_accumulator import RowAccumulator
from amgan_fast.metrics.row_terms import RowTerms
from amgan_fast.metrics.statistics import dispersion, largest_dispersion_by_chance, log_inception_score
from amgan_fast.ops import ScoreSums


@dataclass(frozen=True, kw_only=True, repr=False)
class CompatScore(Numbers):
    """An Inception Score as another tool computes it.

    >>> from amgan_fast.metrics import CompatScore
    >>> print(CompatScore(mean=9.25, std=0.125, splits=10))
    9.2500 ± 0.1250
    """

    mean: float | None
    """Over the splits; None: it is not to be had."""
    std: float | None
    """Over the splits, with the tool's ddof; None for a tool that has none."""
    splits: int | None
    """How many there are; None: it is no mean over splits, but an extrapolation."""
    interval: tuple[float, float] | None = None
    """95%; None for all that publish none."""
    note: str | None = None
    """Why the score is not to be had, or what it must not be taken for."""

    def __str__(self) -> str:
        if self.mean is None:
            return "-"
        return f"{self.mean:.4f}" if self.std is None else f"{self.mean:.4f} ± {self.std:.4f}"


class CompatSums(RowAccumulator):
    """Collects a classifier's outputs batch by batch for :class:`CompatScore` of several tools.

    Tools shuffle and cut into chunks, for which they keep all logits. Where the number of samples is known, so is the
    split of each sample, and the score sums of every split will do: 24 KB for 1,000 classes, and 4 bytes a sample for
    each tool that shuffles.

    Args:
        num_classes: the number of classes K, at least 2.
        num_samples: N, the samples to come, of all processes.
        compat: the tools, as of :func:`inception_score`.
        splits: of the tools that let one choose.
        start: samples that others take before the first one here: processes take consecutive parts of the N.
        seed: what torchmetrics' shuffle is drawn with, as after torch.manual_seed(seed); None: PyTorch's global
            generator as it is, as torchmetrics does.
        device: where the sums are kept; None: where the first rows are.

    Raises:
        ValueError: an argument out of its range.

    >>> import torch
    >>> from amgan_fast.metrics import CompatSums
    >>> sums = CompatSums(num_classes=5, num_samples=500)
    >>> for logits in (20.0 * torch.eye(5)).repeat(100, 1).split(64):
    ...     sums.update(logits)
    >>> {tool: str(score) for tool, score in sums.compute().items() if tool in ("adm", "torch-fidelity")}
    {'torch-fidelity': '4.8063 ± 0.1141', 'adm': '5.0000'}
    """

    SETTINGS = ("num_classes", "num_samples", "compat", "splits", "seed")

    def __init__(
        self,
        num_classes: int,
        num_samples: int,
        *,
        compat: Sequence[str] = COMPAT_TOOLS,
        splits: int = 10,
        start: int = 0,
        seed: int | None = 0,
        device: torch.device | str | None = None,
    ) -> None:
        super().__init__(num_classes, device)
        for name, number, least in (("num_samples", num_samples, 1), ("splits", splits, 1), ("start", start, 0)):
            if number < least:
                raise ValueError(f"{name} is {number}, wanted at least {least}")
        self.num_samples = num_samples
        self.compat = tuple(compat)
        self.splits = splits
        self.start = start
        self.seed = seed
        self._splits = {tool: _Splits.of(compat_rule(tool), num_samples, splits, seed) for tool in self.compat}
        self._begin(device)

    def _begin(self, device: torch.device | str | None) -> None:
        super()._begin(device)
        self._tools = {tool: _Tool.of(splits, self.num_classes, device) for tool, splits in self._splits.items()}

    def add(self, rows: RowTerms) -> None:
        """Add a batch that others may be handed too: as :meth:`update`.

        Raises:
            ValueError: as :meth:`update`, or more samples than ``num_samples``.
        """
        first = self.start + self.samples
        if first + len(rows) > self.num_samples:
            raise ValueError(f"there are {first + len(rows)} samples, wanted at most num_samples = {self.num_samples}")
        self._follow(rows)
        rows.refuse_bad(first)
        for tool in self._tools.values():
            tool.add(rows, first)
        self._count(rows)

    def compute(self) -> dict[str, CompatScore]:
        """By tool. Of a tool that splits, there is no score while some of the samples are missing, and a note says so.
        Where samples come in an order of classes, which spoils consecutive splits, the note of the score says that.

        Warns:
            ScoreWarning: logits that seem to be probabilities.

        Raises:
            ValueError: no sample yet, or a row that gives no distribution.
        """
        scores = self._compute()
        self.first_rows.warn()
        return scores

    def _compute(self) -> dict[str, CompatScore]:
        """:meth:`compute` without its warning."""
        if not self.samples:
            raise ValueError("no samples, wanted at least one update before compute")
        missing = None
        if self.samples < self.num_samples:
            missing = f"wants all {self.num_samples:,} samples in their order, and {self.samples:,} were scored"
        return {name: tool.score(missing) for name, tool in self._tools.items()}

    def _states(self) -> dict[str, Tensor]:
        sums = ((name, tool.sums._asdict()) for name, tool in self._tools.items())
        return {f"{name}_{field}": total for name, fields in sums for field, total in fields.items()}

    def _require_mergeable(self) -> None:
        super()._require_mergeable()
        if self.seed is None:
            raise ValueError("seed is None, wanted a number, with which all processes shuffle alike")


@dataclass(frozen=True, eq=False)
class _Splits:
    """Which samples one tool has in which split."""

    rule: CompatRule
    first_of_splits: Tensor
    """int64 [S - 1]"""
    places: Tensor | None
    """As of :meth:`CompatRule.places`."""

    @classmethod
    def of(cls, rule: CompatRule, num_samples: int, splits: int, seed: int | None) -> _Splits:
        firsts = torch.tensor(rule.first_of_splits(num_samples, splits), dtype=torch.int64, device="cpu")
        return cls(rule, firsts, rule.places(num_samples, seed))

    def parts(self, rows: RowTerms, first: int) -> Iterator[tuple[int, RowTerms]]:
        """(split, those of the rows that are in it)."""
        stop = first + len(rows)
        places = torch.arange(first, stop, device="cpu") if self.places is None else self.places[first:stop]
        split_of = torch.bucketize(places, self.first_of_splits, right=True)
        found = split_of.unique().tolist()
        for split in found:
            chosen = (split_of == split).nonzero().squeeze(1)
            yield split, rows if len(found) == 1 else rows[to_device(chosen, rows.values.device)]


@dataclass(frozen=True, eq=False)
class _Tool:
    """The sums of one tool's splits."""

    splits: _Splits
    sums: ScoreSums
    """[S, ...]"""

    @classmethod
    def of(cls, splits: _Splits, num_classes: int, device: torch.device | str | None) -> _Tool:
        return cls(splits, ScoreSums.zeros(len(splits.first_of_splits) + 1, num_classes=num_classes, device=device))

    def add(self, rows: RowTerms, first: int) -> None:
        for split, part in self.splits.parts(rows, first):
            sums = _in_float64(part).block_sums(1).total()
            self.sums.map(itemgetter(split)).add_(sums)

    def score(self, missing: str | None) -> CompatScore:
        refuse_bad_sums(self.sums.entropy)
        splits = len(self.sums.count)
        if missing is not None and splits > 1:
            return CompatScore(mean=None, std=None, splits=splits, note=missing)
        scores = log_inception_score(RandomSample(self.sums)).exp()
        std = None
        ddof = self.splits.rule.ddof
        if ddof is not None:  # torch warns of what is NaN
            std = float(scores.std(correction=ddof)) if splits > ddof else math.nan
        return CompatScore(mean=float(scores.mean()), std=std, splits=splits, note=self._order_of_classes())

    def _order_of_classes(self) -> str | None:
        """What the splits tell of the order of the samples, where chance does not explain it."""
        found = dispersion(self.sums.map(Tensor.cpu))
        if found is None or found <= largest_dispersion_by_chance(len(self.sums.count)):
            return None
        return (
            f"samples come in an order of classes, its splits differ {found:,.0f} times as much as by chance, and "
            "the score says nothing"
        )


def _in_float64(rows: RowTerms) -> RowTerms:
    """On a GPU, where sums are not of float64 otherwise: other tools compute in any way they like."""
    if not rows.values.is_cuda:
        return rows
    return RowTerms(rows.values.double(), from_logits=rows.from_logits)
