"""Score sums by label: one pass over the samples, then the scores of any classes kept."""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import torch
from torch import Tensor

from amgan_fast.metrics.add_rows import add_rows
from amgan_fast.metrics.arrays import Array
from amgan_fast.metrics.bad_rows import refuse_bad_sums
from amgan_fast.metrics.designs import RandomDesign
from amgan_fast.metrics.distribution import DistributionLike, as_distribution
from amgan_fast.metrics.first_rows import ScoreWarning
from amgan_fast.metrics.from_sums import scores_from_sums
from amgan_fast.metrics.late_checks import LateLabels
from amgan_fast.metrics.result import Scores
from amgan_fast.metrics.row_accumulator import Accumulator
from amgan_fast.metrics.row_terms import RowTerms
from amgan_fast.metrics.statistics import dispersion
from amgan_fast.ops import ScoreSums


class ClassSums(Accumulator):
    """Collects logits with labels batch by batch; :meth:`score_of` then scores any subset of the labels.

    The state is that of :class:`ScoreAccumulator` for each label, 8·B·L·(3K + 2) bytes however many samples there
    are: 10 classes take 50 kB, 1000 classes 480 MB (96 MB with ``blocks=4``). Sample i belongs to block i mod B,
    whatever its label: blocks are what errors are taken from, and samples in random order make them alike.

    Args:
        num_classes: K, the number of the classifier's classes, at least 2.
        num_labels: L, the number of labels; None: K. Labels may be other than the classifier's classes.
        blocks: B, at least 1.
        start: samples that others take before the first one here: as of :class:`ScoreAccumulator`.
        device: where the sums are kept; None: where the first rows are.

    Raises:
        ValueError: an argument out of its range.

    >>> import torch
    >>> from amgan_fast.metrics import ClassSums
    >>> labels = torch.arange(60) % 3
    >>> logits = 20.0 * torch.eye(3)[labels]
    >>> sums = ClassSums(3)
    >>> sums.update(logits, labels)
    >>> [round(sums.score_of(kept).inception_score, 3) for kept in ([0], [0, 1], [0, 1, 2])]
    [1.0, 2.0, 3.0]
    """

    SETTINGS = ("num_classes", "num_labels", "blocks")

    sums: ScoreSums
    """[B, L, ...], float64."""

    def __init__(
        self,
        num_classes: int,
        *,
        num_labels: int | None = None,
        blocks: int = 20,
        start: int = 0,
        device: torch.device | str | None = None,
    ) -> None:
        super().__init__(num_classes, device)
        self.num_labels = num_classes if num_labels is None else num_labels
        self.blocks = blocks
        self.start = start
        for name in ("num_labels", "blocks"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}, wanted at least 1")
        if start < 0:
            raise ValueError(f"start is {start}, wanted at least 0")
        self._begin(device)

    def _begin(self, device: torch.device | str | None) -> None:
        super()._begin(device)
        self.sums = ScoreSums.zeros(self.blocks, self.num_labels, num_classes=self.num_classes, device=device)
        self._late_labels = LateLabels(self.num_labels, "labels", device)
        self._late.append(self._late_labels)

    def update(self, logits: Array, labels: Array, *, from_logits: bool = True) -> None:
        """Add a batch.

        Args:
            logits: [N, K], as :meth:`ScoreAccumulator.update` takes them.
            labels: [N], integers 0 to L-1: true labels, those that samples were asked for, or ``logits.argmax(1)``.
            from_logits: as of :meth:`ScoreAccumulator.update`.

        Raises:
            TypeError: no tensors or arrays, a dtype of ``logits`` that is not floating point, or of ``labels`` that is
                no integer.
            ValueError: a wrong shape, a label out of range, or a row that gives no distribution. Nothing of the
                batch is added then. On a GPU such a label or row is found when the sums are read.
        """
        self.add(RowTerms(logits, self.num_classes, from_logits=from_logits), labels)

    def add(self, rows: RowTerms, labels: Array) -> None:
        """Add a batch that others may be handed too: as :meth:`update`."""
        self._follow(rows)
        first = self.start + self.samples
        labels = self._late_labels.take(labels, len(rows), first, rows.values.device)
        if not len(labels):
            return
        rows.refuse_bad(first)
        block = torch.arange(first, first + len(labels), device=labels.device) % self.blocks
        sets = block * self.num_labels + labels
        for place, sums in rows.each_row():
            for total, values in zip(self.sums, sums, strict=True):
                add_rows(total.flatten(0, 1), sets[place], values)
        self._count(rows)

    def score_of(self, kept: Sequence[int], reference: DistributionLike | None = None) -> Scores:
        """The scores of the samples with the labels ``kept`` alone, as if no others had been there.

        Splits are the blocks.

        Args:
            kept: labels, each once, at least one.
            reference: as in :meth:`ScoreAccumulator.compute`: the distribution of the complete set, so that what
                was dropped shows in the AM Score.

        Raises:
            ValueError: a label out of range, named twice or without samples, a row that gave no distribution, or a
                bad ``reference``.
        """
        self.refuse_bad()
        labels = torch.as_tensor(kept, dtype=torch.int64)
        if not len(labels) or len(labels.unique()) < len(labels):
            raise ValueError(f"kept is {list(kept)}, wanted at least one label, each once")
        if int(labels.min()) < 0 or int(labels.max()) >= self.num_labels:
            raise ValueError(f"kept is {list(kept)}, wanted labels 0 to {self.num_labels - 1}")
        chosen = self.sums.map(lambda x: x[:, labels.to(x.device)].sum(1).cpu())
        if not chosen.count.any():
            raise ValueError(f"kept is {list(kept)}, and no sample has such a label; wanted labels with samples")
        scores = scores_from_sums(
            RandomDesign(chosen),
            chosen if chosen.count.all() else None,
            None if reference is None else as_distribution(reference, self.num_classes),
            n=int(chosen.count.sum()),
            splits=self.blocks,
            splits_rule="round robin",
            blocks=int((chosen.count > 0).sum()),
            block_dispersion=dispersion(chosen),
            non_finite_rows=0,
            probability_like=self.first_rows.are_probabilities(),
        )
        for text in scores.warnings:
            warnings.warn(text, ScoreWarning, stacklevel=2)
        return scores

    def refuse_bad(self) -> None:
        """Raise ValueError where a row gave no distribution, or a label on a GPU was out of range."""
        self._refuse_late()
        refuse_bad_sums(self.sums.entropy)

    def _states(self) -> dict[str, Tensor]:
        return self.sums._asdict()
