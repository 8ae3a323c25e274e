"""Streaming Inception Score, Mode Score and AM Score: constant memory, any batch sizes."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from amgan_fast.device import cpu_threads
from amgan_fast.errors import counted
from amgan_fast.metrics import statistics
from amgan_fast.metrics.arrays import Array, as_tensor
from amgan_fast.metrics.bad_rows import kind_of
from amgan_fast.metrics.designs import Design, RandomDesign
from amgan_fast.metrics.distribution import DistributionLike, SampledDistribution, as_distribution
from amgan_fast.metrics.first_rows import ScoreWarning
from amgan_fast.metrics.from_sums import scores_from_sums
from amgan_fast.metrics.late_checks import LateBadRows
from amgan_fast.metrics.result import Scores
from amgan_fast.metrics.row_accumulator import RowAccumulator, accumulate
from amgan_fast.metrics.row_terms import RowTerms
from amgan_fast.metrics.stratum_sums import StratumSums, as_shares
from amgan_fast.ops import ScoreSums

_SORTED = (
    "labels are sorted, and the splits contiguous: each split holds few of the classes, and its Inception Score says "
    "nothing; leave num_samples out for splits that are filled in turn"
)


class ScoreAccumulator(RowAccumulator):
    """Collects a classifier's outputs batch by batch and computes :class:`Scores`.

    The state is 3K+2 float64 sums for each of ``blocks`` blocks (:func:`amgan_fast.ops.score_sums`), however many
    samples there are. Block b belongs to split ``b % splits``; inside a split samples take its blocks in turn.

    Args:
        num_classes: the number of classes K, at least 2.
        blocks: a multiple of ``splits``; also the blocks of the jackknife that the intervals come from.
        splits: the number of splits of :attr:`Scores.split_mean`, the form in which Inception Scores are published.
        num_samples: None: splits are filled in turn, which does no harm to inputs sorted by class. Given: the
            number of samples N to come, and split s is the samples from floor(s*N/splits) on, as the original code
            of the Inception Score has it; order then matters.
        strata: the number S of groups, mostly the classes asked for, of which a number of samples was fixed beforehand:
            scores are then corrected, and their intervals taken, as :class:`StratumSums` has it, which are kept beside
            the blocks. None: every sample was drawn at random.
        shares: [S], the part of the population that each stratum is, by which samples then count; None: as there are
            samples.
        skip_non_finite: leave rows that give no distribution out and count them, instead of refusing them.
        start: samples that others take before the first one here: blocks are then filled as if one had taken all.
        device: where the sums are kept; None: where the first rows are.

    Raises:
        ValueError: an argument out of its range.

    >>> import torch
    >>> from amgan_fast.metrics import ScoreAccumulator
    >>> accumulator = ScoreAccumulator(num_classes=4)
    >>> logits = 20.0 * torch.eye(4).repeat_interleave(250, 0)
    >>> for batch in logits.split(64):
    ...     accumulator.update(batch)
    >>> scores = accumulator.compute(reference=[0.25] * 4)
    >>> scores.n, round(scores.inception_score, 3), round(scores.am_score, 3)
    (1000, 4.0, 0.0)
    """

    SETTINGS = ("num_classes", "blocks", "splits", "num_samples", "strata", "shares", "skip_non_finite")
    COUNTED = ("samples", "non_finite_rows")

    def __init__(
        self,
        num_classes: int,
        *,
        blocks: int = 100,
        splits: int = 10,
        num_samples: int | None = None,
        strata: int | None = None,
        shares: Sequence[float] | Tensor | None = None,
        skip_non_finite: bool = False,
        start: int = 0,
        device: torch.device | str | None = None,
    ) -> None:
        super().__init__(num_classes, device)
        if splits < 1 or blocks < 1 or blocks % splits:
            raise ValueError(
                f"blocks is {blocks}, splits {splits}; wanted blocks a multiple of splits, both at least 1"
            )
        if num_samples is not None and num_samples < splits:
            raise ValueError(f"num_samples is {num_samples}, wanted at least one for each of {splits} splits")
        if start < 0 or (start and num_samples is not None):
            raise ValueError(f"start is {start}, wanted at least 0, and 0 with num_samples")
        if strata is not None and num_samples is not None:
            raise ValueError(
                f"strata is {strata} with num_samples = {num_samples}, wanted one of them: splits of strata "
                "are filled in turn"
            )
        if strata is None and shares is not None:
            raise ValueError("shares are given without strata, wanted strata, their number")
        self.blocks = blocks
        self.splits = splits
        self.strata = strata
        self.shares: list[float] | None = None
        if strata is not None and shares is not None:
            self.shares = as_shares(shares, strata).tolist()
        self.num_samples = num_samples
        self.skip_non_finite = skip_non_finite
        self.start = start
        self.non_finite_rows = 0
        """Rows left out."""
        self._begin(device)

    def _begin(self, device: torch.device | str | None) -> None:
        super()._begin(device)
        self._sums = ScoreSums.zeros(self.blocks, num_classes=self.num_classes, device=device)
        self._by_stratum = None
        if self.strata is not None:
            self._by_stratum = StratumSums(self.num_classes, self.strata, splits=self.splits, device=device)
        self._late_rows = LateBadRows(device)
        self._late.append(self._late_rows)

    def update(self, values: Array, *, from_logits: bool = True, strata: Array | None = None) -> None:
        """Add a batch. On a GPU nothing waits for it, unless ``skip_non_finite``.

        Args:
            values: [N, K], float32, float64, bfloat16 or float16, a tensor or a NumPy array: logits.
            from_logits: False: ``values`` are probabilities, rows that sum to 1. Give logits where there are any:
                the logarithm of a rounded probability has lost digits.
            strata: [N], integers 0 to S-1, of each row; wanted where the accumulator has strata, and only there.

        Raises:
            TypeError: no tensor or array, or a dtype that is not floating point.
            ValueError: a wrong shape, a stratum out of range, more samples than ``num_samples``, or a row that gives no
                distribution (NaN, +inf, or -inf throughout). Nothing of the batch is added then. For values on a GPU
                such a row, and for strata there one out of range, is found by the next call that reads the state
                (:meth:`compute`, :meth:`merge`), which names its batch.
        """
        self.add(RowTerms(values, self.num_classes, from_logits=from_logits), strata)

    def add(self, rows: RowTerms, strata: Array | None = None) -> None:
        """Add a batch that others may be handed too: as :meth:`update`."""
        self._follow(rows)
        of_row = self._strata_of(strata, rows)
        end = self.samples + len(rows)
        if self.num_samples is not None and end > self.num_samples:
            found = f"{kind_of(rows.from_logits)} make it {end} samples"
            raise ValueError(f"{found}, wanted at most num_samples = {self.num_samples}")
        if not len(rows):
            return
        parts = list(self._sum_parts(rows))
        good = rows.good if self.skip_non_finite else self._looked_at(rows, parts)
        if self._by_stratum is not None and of_row is not None:
            self._by_stratum.add(good, of_row if good is rows else of_row[~rows.bad])
        for split, sums in parts:
            if self._onto(good, split) is not None:
                self._sums = sums
            else:
                self._blocks_of(split).add_(sums)
        self._count(good)
        self.samples = end
        self.non_finite_rows += len(rows) - len(good)

    def add_sums(self, sums: ScoreSums, samples: int) -> None:
        """Add what :func:`amgan_fast.ops.score_sums` has summed of ``samples`` rows, [blocks] and [blocks, K].

        Args:
            sums: in which no row gave no distribution.
            samples: their number.

        Raises:
            ValueError: a wrong shape, strata, or contiguous splits.
        """
        self._require_mergeable()
        if self._by_stratum is not None:
            raise ValueError(f"sums have no strata, wanted samples of each of {self.strata}: update")
        for total, name, part in zip(self._sums, sums._fields, sums, strict=True):
            if part.shape != total.shape:
                raise ValueError(f"sums have {name} of shape {list(part.shape)}, wanted {list(total.shape)}")
        self._sums.add_(sums)
        self.samples += samples

    def compute(
        self,
        reference: DistributionLike | None = None,
        labels: Tensor | Sequence[int] | None = None,
        *,
        sampling: Literal["random"] | None = None,
    ) -> Scores:
        """The scores of all samples so far.

        Args:
            reference: the mean class distribution of the training set, for the AM Score: K probabilities, or the
                Scores or the accumulator of the training set. Of an accumulator the reference's own error, as that of a
                sample, is in the interval of the AM Score too; all else is taken as exact.
            labels: the class of every sample, in their order, where known: contiguous splits of sorted samples,
                which make a score worthless, are then warned of by name.
            sampling: ``"random"``: leave the strata alone, as if each sample had been drawn at random.

        Warns:
            ScoreWarning: what makes the scores doubtful (:attr:`Scores.warnings`): splits or blocks whose classes
                differ more than chance allows, fewer than 5 samples a class, probabilities given for logits.

        Raises:
            ValueError: no sample yet, a row that gives no distribution, strata of which nothing can be said
                (:class:`amgan_fast.metrics.designs.StratifiedDesign`), or ``reference`` is no distribution over K
                classes.
        """
        return self._compute(reference, labels, None if sampling == "random" else self._by_stratum)

    def _compute(
        self,
        reference: DistributionLike | None,
        labels: Tensor | Sequence[int] | None,
        strata: StratumSums | None,
    ) -> Scores:
        """:meth:`compute`; warns the caller of whatever calls this."""
        scores = self.scores_by(strata, reference)
        are_sorted = labels is not None and self.num_samples is not None and _are_sorted(torch.as_tensor(labels))
        found = scores.warnings
        if are_sorted:
            found = (_SORTED, *(text for text in found if text != scores.order_warning))
        for text in found:
            warnings.warn(text, ScoreWarning, stacklevel=3)
        return scores

    @cpu_threads(1)  # as scores_from_sums, which what is made of the sums here goes to
    def scores_by(self, strata: StratumSums | None, reference: DistributionLike | None = None) -> Scores:
        """The scores of the same samples, without warnings, as drawn from strata that are kept elsewhere, or at random.

        Args:
            strata: sums of the same samples; None: they were drawn at random.
            reference: as of :meth:`compute`.

        Raises:
            ValueError: as of :meth:`compute`.
        """
        blocks = self._good_sums()
        design: Design = RandomDesign(blocks)
        in_splits, rule = self._complete_splits(blocks), "round robin" if self.num_samples is None else "contiguous"
        groups = int((blocks.count > 0).sum())
        if strata is not None:
            design = strata.design(self._shares)
            groups = int((strata.sums.count > 0).sum())
            if self.num_samples is None:
                in_splits, rule = strata.in_splits(), "round robin in strata"
        counts = None if strata is None else strata.counts
        return scores_from_sums(
            design,
            in_splits,
            None if reference is None else as_distribution(reference, self.num_classes),
            _samples_of(reference),
            n=int(blocks.count.sum()),
            sampling="random" if strata is None else "per-class",
            strata=None if counts is None else int((counts > 0).sum()),
            smallest_stratum=None if counts is None else int(counts[counts > 0].min()),
            splits=self.splits,
            splits_rule=rule,
            blocks=groups,
            block_dispersion=statistics.dispersion(blocks) if strata is None else None,
            non_finite_rows=self.non_finite_rows,
            probability_like=self.first_rows.are_probabilities(),
        )

    def design(self) -> Design:
        """How the samples so far were drawn.

        Raises:
            ValueError: no sample yet, a row that gives no distribution, or as of
                :class:`amgan_fast.metrics.designs.StratifiedDesign`.
        """
        blocks = self._good_sums()
        return RandomDesign(blocks) if self._by_stratum is None else self._by_stratum.design(self._shares)

    def class_distribution(self) -> Tensor:
        """The mean class distribution of all samples so far, [K], float64, on the CPU.

        Warns:
            ScoreWarning: logits that seem to be probabilities.

        Raises:
            ValueError: no sample yet, or a row that gives no distribution.
        """
        mean = self.design().moments.mean
        self.first_rows.warn()
        return mean

    def _states(self) -> dict[str, Tensor]:
        strata = {} if self._by_stratum is None else self._by_stratum._states()
        return self._sums._asdict() | {f"strata_{name}": total for name, total in strata.items()}

    def _sum_parts(self, rows: RowTerms) -> Iterator[tuple[int | None, ScoreSums]]:
        """(split, sums in its blocks) of the pieces into which split boundaries cut a batch; None: in all blocks."""
        taken = self.start + self.samples - self.non_finite_rows  # good rows, which take the blocks in turn
        for split, piece in self._pieces(rows):
            good = piece.good if self.skip_non_finite else piece
            blocks = self.blocks if split is None else self.blocks // self.splits
            yield split, good.block_sums(blocks, taken, self._onto(good, split))
            taken += len(good)

    def _onto(self, rows: RowTerms, split: int | None) -> ScoreSums | None:
        """The sums that rows are added to as they are summed, which saves passes over them; None: by themselves."""
        on_cpu = rows.values.is_cpu and self._sums.count.is_cpu
        return self._sums if split is None and on_cpu else None

    def _pieces(self, rows: RowTerms) -> Iterator[tuple[int | None, RowTerms]]:
        if self.num_samples is None:
            yield None, rows
            return
        for split in range(self.splits):
            start = max(self.samples, split * self.num_samples // self.splits)
            stop = min(self.samples + len(rows), (split + 1) * self.num_samples // self.splits)
            if start < stop:
                yield split, rows[start - self.samples : stop - self.samples]

    def _looked_at(self, rows: RowTerms, parts: Sequence[tuple[int | None, ScoreSums]]) -> RowTerms:
        """The rows, none of which is bad, or not yet known to be."""
        entropies = torch.cat([sums.entropy for _, sums in parts])
        place = self.start + self.samples
        rows.refuse_bad(place, entropies)
        if entropies.is_cuda:
            self._late_rows.look(entropies, place, place + len(rows))
        return rows

    @property
    def _shares(self) -> Tensor | None:
        return None if self.shares is None else torch.tensor(self.shares, dtype=torch.float64)

    def _require_mergeable(self) -> None:
        if self.num_samples is not None:
            raise ValueError("contiguous splits (num_samples given) cannot be merged, wanted num_samples=None")
        super()._require_mergeable()

    def _good_sums(self) -> ScoreSums:
        """[blocks, ...], on the CPU, of at least one sample."""
        self._refuse_late()
        if self.samples == self.non_finite_rows:
            if self.non_finite_rows:
                left_out = counted(self.non_finite_rows, "row")
                raise ValueError(f"no samples but {left_out} left out, wanted at least one that gives a distribution")
            raise ValueError("no samples, wanted at least one update before compute")
        return self._sums.map(Tensor.cpu)

    def _blocks_of(self, split: int | None) -> ScoreSums:
        """Views of the sums; None: of all."""
        return self._sums if split is None else self._sums.map(lambda x: self._by_split(x)[:, split])

    def _by_split(self, total: Tensor) -> Tensor:
        """[blocks, ...] seen as [blocks / splits, splits, ...]."""
        return total.unflatten(0, (self.blocks // self.splits, self.splits))

    def _complete_splits(self, blocks: ScoreSums) -> ScoreSums | None:
        """[splits, ...], or None while a split lacks samples."""
        splits = blocks.map(self._by_split).total()
        complete = self.num_samples is None or self.samples == self.num_samples
        return splits if complete and splits.count.all() else None


def scores(
    values: Array | Iterable[Array],
    reference: DistributionLike | None = None,
    *,
    from_logits: bool = True,
    labels: Tensor | Sequence[int] | None = None,
    strata: Array | Sequence[int] | None = None,
    **options: Any,
) -> Scores:
    """The scores of samples whose logits are in memory, or come batch by batch.

    Args:
        values: [N, K], as for :meth:`ScoreAccumulator.update`, with ``from_logits``; or batches of these.
        reference: as for :meth:`ScoreAccumulator.compute`.
        labels: likewise.
        strata: [N], the group of each sample where numbers of samples a group were fixed beforehand, 50 images a class,
            say: integers from 0 on. None: samples were drawn at random.
        options: of :class:`ScoreAccumulator`.

    Raises:
        TypeError, ValueError: as those do.

    >>> import torch
    >>> from amgan_fast.metrics import scores
    >>> training = scores(20.0 * torch.eye(2).repeat_interleave(50, 0))
    >>> generated = scores(torch.tensor([[20.0, 0.0]] * 75 + [[0.0, 20.0]] * 25), reference=training)
    >>> round(generated.inception_score, 3), round(generated.am_score, 3)
    (1.755, 0.144)

    Ten images of each of ten classes, of which one was taken for another class. Drawn at random, as many would differ
    more, and their scores be biased more:

    >>> labels = torch.arange(100) % 10
    >>> logits = 9.0 * torch.eye(10)[labels]
    >>> logits[7] = 9.0 * torch.eye(10)[3]
    >>> [round(scores(logits, strata=of).inception_score_corrected, 2) for of in (labels, None)]
    [9.89, 10.0]
    """
    if strata is None:
        accumulator = accumulate(partial(ScoreAccumulator, **options), values, from_logits, "values")
    else:
        of_row = as_tensor("strata", strata) if isinstance(strata, Tensor | np.ndarray) else torch.as_tensor(strata)
        if options.get("shares") is not None:
            options.setdefault("strata", len(options["shares"]))
        options.setdefault("strata", int(of_row.max()) + 1 if of_row.numel() else 1)
        accumulator = accumulate(partial(ScoreAccumulator, **options), values, from_logits, "values", of_row)
    return accumulator._compute(reference, labels, accumulator._by_stratum)


def _samples_of(reference: DistributionLike | None) -> Design | None:
    """Of which it is the mean distribution; None: it is exact, as far as is known."""
    if isinstance(reference, ScoreAccumulator):
        return reference.design()
    return reference.samples if isinstance(reference, SampledDistribution) else None


def _are_sorted(labels: Tensor) -> bool:
    steps = labels.diff()
    return bool((steps >= 0).all()) and bool((steps > 0).any())
