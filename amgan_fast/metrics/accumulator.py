"""Streaming Inception Score, Mode Score and AM Score: constant memory, any batch sizes."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, distributed

from amgan_fast import ops
from amgan_fast.metrics import statistics
from amgan_fast.metrics.arrays import Array, as_tensor
from amgan_fast.metrics.exact_sums import exact_score_sums
from amgan_fast.metrics.first_rows import FirstRows, ScoreWarning
from amgan_fast.metrics.result import Scores
from amgan_fast.metrics.rows import add_batches, bad_rows, check_num_classes, class_rows, describe_bad_row, kind_of
from amgan_fast.processes import sum_over_processes

_SETTINGS = ("num_classes", "blocks", "splits", "num_samples", "skip_non_finite")
_COUNTS = ("samples", "non_finite_rows")
_SORTED = (
    "labels are sorted, and the splits contiguous: each split holds few of the classes, and its Inception Score says "
    "nothing; leave num_samples out for splits that are filled in turn"
)


class ScoreAccumulator:
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
        skip_non_finite: leave rows that give no distribution out and count them, instead of refusing them.
        device: where the sums are kept; None: PyTorch's default device. Best the device of the logits.

    Raises:
        ValueError: an argument out of its range.
    """

    def __init__(
        self,
        num_classes: int,
        *,
        blocks: int = 100,
        splits: int = 10,
        num_samples: int | None = None,
        skip_non_finite: bool = False,
        device: torch.device | str | None = None,
    ) -> None:
        check_num_classes(num_classes)
        if splits < 1 or blocks < 1 or blocks % splits:
            raise ValueError(
                f"blocks is {blocks}, splits {splits}; wanted blocks a multiple of splits, both at least 1"
            )
        if num_samples is not None and num_samples < splits:
            raise ValueError(f"num_samples is {num_samples}, wanted at least one for each of {splits} splits")
        self.num_classes = num_classes
        self.blocks = blocks
        self.splits = splits
        self.num_samples = num_samples
        self.skip_non_finite = skip_non_finite
        self.samples = 0
        """Rows seen, those left out included."""
        self.non_finite_rows = 0
        """Rows left out."""
        shapes = ((blocks,), (blocks,), *[(blocks, num_classes)] * 3)
        self._sums = ops.ScoreSums(*(torch.zeros(shape, dtype=torch.float64, device=device) for shape in shapes))
        self._first_bad = torch.full((2,), -1, device=self._sums.count.device)  # the samples [start, end) of a batch
        self._first_rows = FirstRows(device)

    def update(self, values: Array, *, from_logits: bool = True) -> None:
        """Add a batch. On a GPU nothing waits for it, unless ``skip_non_finite``.

        Args:
            values: [N, K], float32, float64, bfloat16 or float16, a tensor or a NumPy array: logits.
            from_logits: False: ``values`` are probabilities, rows that sum to 1. Give logits where there are any:
                the logarithm of a rounded probability has lost digits.

        Raises:
            TypeError: no tensor or array, or a dtype that is not floating point.
            ValueError: a wrong shape, more samples than ``num_samples``, or a row that gives no distribution (NaN,
                +inf, or -inf throughout). Nothing of the batch is added then. For values on a GPU such a row is
                found by the next call that reads the state (:meth:`compute`, :meth:`merge`), which names its batch.
        """
        name = kind_of(from_logits)
        values = class_rows(values, self.num_classes, from_logits)
        end = self.samples + len(values)
        if self.num_samples is not None and end > self.num_samples:
            raise ValueError(f"{name} make it {end} samples, wanted at most num_samples = {self.num_samples}")
        parts = self._sum_parts(values, from_logits, end)
        is_bad = self._is_bad(values, from_logits, parts)
        good = values
        if self.skip_non_finite or not is_bad.is_cuda:
            if bool(is_bad):
                bad = bad_rows(values, from_logits)
                if not self.skip_non_finite:
                    raise ValueError(describe_bad_row(values, bad, self.samples, name))
                parts, good = self._sum_parts(values, from_logits, end, ~bad), values[~bad]
                self.non_finite_rows += int(bad.sum())
        else:
            first = is_bad.to(self._first_bad.device) & (self._first_bad < 0)
            for place, bound in enumerate((self.samples, end)):
                self._first_bad[place].masked_fill_(first[place], bound)
        for split, sums in parts:
            for total, part in zip(self._sums, sums, strict=True):
                target = total if split is None else self._by_split(total)[:, split]
                target += part.to(total.device)
        if from_logits:
            self._first_rows.look(good)
        self.samples = end

    def merge(self, other: ScoreAccumulator) -> None:
        """Add the samples of another accumulator with the same settings (of another process, say).

        Raises:
            ValueError: settings differ, or splits are contiguous: their samples have an order, which merging loses;
                or either holds a row that gives no distribution.
        """
        for name in _SETTINGS:
            mine, others = getattr(self, name), getattr(other, name)
            if mine != others:
                raise ValueError(f"other has {name} = {others}, wanted {mine} as here")
        self._require_mergeable()
        for accumulator in (self, other):
            accumulator._require_good_rows()
        for total, part in zip(self._sums, other._sums, strict=True):
            total += part.to(total.device)
        self._first_rows.add(other._first_rows)
        self.samples += other.samples
        self.non_finite_rows += other.non_finite_rows

    def all_reduce(self, group: distributed.ProcessGroup | None = None) -> None:
        """Make the samples of all processes of the group those of each: every process must call, once, in the end.

        Raises:
            ValueError: as for :meth:`merge`, on the process where it happens.
        """
        self._require_mergeable()
        self._require_good_rows()
        counts = self._sums.count.new_tensor([self.samples, self.non_finite_rows, *self._first_rows.counts])
        sum_over_processes([*self._sums, counts], group)
        self.samples, self.non_finite_rows, *first_rows = map(int, counts.tolist())
        self._first_rows.counts = first_rows

    def state_dict(self) -> dict[str, Any]:
        """Everything, as numbers and tensors: torch.load(weights_only=True) takes it."""
        self._require_good_rows()
        counts = {name: getattr(self, name) for name in _COUNTS} | {"first_rows": self._first_rows.counts}
        sums = {name: total.clone() for name, total in self._sums._asdict().items()}
        return {name: getattr(self, name) for name in _SETTINGS} | counts | sums

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from a :meth:`state_dict`.

        Raises:
            ValueError: a key is missing, or settings differ from those here. Nothing is changed then.
        """
        for name in (*_SETTINGS, *_COUNTS, "first_rows", *self._sums._fields):
            if name not in state:
                raise ValueError(f"state has no {name}, wanted what state_dict() returned")
        for name in _SETTINGS:
            if state[name] != getattr(self, name):
                raise ValueError(f"state has {name} = {state[name]}, wanted {getattr(self, name)} as here")
        for total, name in zip(self._sums, self._sums._fields, strict=True):
            if state[name].shape != total.shape:
                raise ValueError(f"state has {name} of shape {list(state[name].shape)}, wanted {list(total.shape)}")
        if len(state["first_rows"]) != 2:
            raise ValueError(f"state has first_rows = {state['first_rows']}, wanted two numbers")
        for total, name in zip(self._sums, self._sums._fields, strict=True):
            total.copy_(state[name])
        self._first_bad.fill_(-1)
        self._first_rows.counts = state["first_rows"]
        self.samples, self.non_finite_rows = int(state["samples"]), int(state["non_finite_rows"])

    def add_sums(self, sums: ops.ScoreSums, samples: int, first_rows: FirstRows | None = None) -> None:
        """Add what :func:`amgan_fast.ops.score_sums` has summed of ``samples`` rows, [blocks] and [blocks, K].

        Args:
            sums: in which no row gave no distribution.
            samples: their number.
            first_rows: what is known of whether the logits were probabilities; None: nothing.

        Raises:
            ValueError: a wrong shape, or contiguous splits.
        """
        self._require_mergeable()
        for total, name, part in zip(self._sums, sums._fields, sums, strict=True):
            if part.shape != total.shape:
                raise ValueError(f"sums have {name} of shape {list(part.shape)}, wanted {list(total.shape)}")
        for total, part in zip(self._sums, sums, strict=True):
            total += part.to(total.device)
        self.samples += samples
        if first_rows is not None:
            self._first_rows.add(first_rows)

    def compute(
        self,
        reference: Array | Sequence[float] | Scores | ScoreAccumulator | None = None,
        labels: Tensor | Sequence[int] | None = None,
    ) -> Scores:
        """The scores of all samples so far.

        Args:
            reference: the mean class distribution of the training set, for the AM Score: K probabilities, or the
                Scores or the accumulator of the training set.
            labels: the class of every sample, in their order, where known: contiguous splits of sorted samples,
                which make a score worthless, are then warned of by name.

        Warns:
            ScoreWarning: what makes the scores doubtful (:attr:`Scores.warnings`): splits or blocks whose classes
                differ more than chance allows, fewer than 5 samples a class, probabilities given for logits.

        Raises:
            ValueError: no sample yet, a row that gives no distribution, or ``reference`` is no distribution over K
                classes.
        """
        return self._compute(reference, labels)

    def _compute(
        self,
        reference: Array | Sequence[float] | Scores | ScoreAccumulator | None,
        labels: Tensor | Sequence[int] | None,
    ) -> Scores:
        """:meth:`compute`; warns the caller of whatever calls this."""
        blocks = self._good_sums()
        whole = ops.ScoreSums(*(x.sum(0) for x in blocks))
        log_score = float(statistics.log_inception_score(whole))
        interval = statistics.interval(statistics.corrected_log_inception_score, blocks)
        corrected = float(statistics.corrected_log_inception_score(whole))
        splits = self._complete_splits(blocks)
        split_scores = None if splits is None else statistics.log_inception_score(splits).exp()
        of_reference: dict[str, Any] = {}
        if reference is not None:
            vector = distribution(reference, self.num_classes)
            corrected_am = partial(statistics.corrected_am_score, vector)
            of_reference = {
                "mode_score": float(statistics.mode_score(vector, whole)),
                "kl_reference": float(statistics.kl_reference(vector, whole)),
                "am_score": float(statistics.am_score(vector, whole)),
                "am_score_corrected": float(corrected_am(whole)),
                "am_score_ci95": statistics.interval(corrected_am, blocks),
                "am_score_2017": float(statistics.am_score_2017(vector, whole)),
            }
        mean = statistics.mean_distribution(whole)
        scores = Scores(
            n=int(whole.count),
            num_classes=self.num_classes,
            inception_score=math.exp(log_score),
            inception_score_corrected=math.exp(corrected),
            inception_score_ci95=interval and (math.exp(interval[0]), math.exp(interval[1])),
            entropy_of_mean=float(torch.special.entr(mean).sum()),
            mean_entropy=float(whole.entropy / whole.count),
            split_mean=None if split_scores is None else float(split_scores.mean()),
            split_std=None if split_scores is None else float(split_scores.std(correction=0)),
            splits=self.splits,
            split_dispersion=None if splits is None else statistics.dispersion(splits),
            splits_rule="round robin" if self.num_samples is None else "contiguous",
            blocks=int((blocks.count > 0).sum()),
            block_dispersion=statistics.dispersion(blocks),
            non_finite_rows=self.non_finite_rows,
            class_distribution=tuple(mean.tolist()),
            probability_like=self._first_rows.are_probabilities(),
            **of_reference,
        )
        are_sorted = labels is not None and self.num_samples is not None and _are_sorted(torch.as_tensor(labels))
        found = scores.warnings
        if are_sorted:
            found = (_SORTED, *(text for text in found if text != scores.order_warning))
        for text in found:
            warnings.warn(text, ScoreWarning, stacklevel=3)
        return scores

    def class_distribution(self) -> Tensor:
        """The mean class distribution of all samples so far, [K], float64, on the CPU.

        Warns:
            ScoreWarning: logits that seem to be probabilities.

        Raises:
            ValueError: no sample yet, or a row that gives no distribution.
        """
        sums = ops.ScoreSums(*(x.sum(0) for x in self._good_sums()))
        self._first_rows.warn()
        return statistics.mean_distribution(sums)

    def _parts(self, end: int) -> Iterator[tuple[int | None, int, int]]:
        """(split, start, stop) of the pieces into which split boundaries cut samples [self.samples, end)."""
        if self.num_samples is None:
            yield None, self.samples, end
            return
        for split in range(self.splits):
            start = max(self.samples, split * self.num_samples // self.splits)
            stop = min(end, (split + 1) * self.num_samples // self.splits)
            if start < stop:
                yield split, start, stop

    def _sum_parts(
        self, values: Tensor, from_logits: bool, end: int, kept: Tensor | None = None
    ) -> list[tuple[int | None, ops.ScoreSums]]:
        parts = []
        for split, start, stop in self._parts(end):
            rows = slice(start - self.samples, stop - self.samples)
            part, place = values[rows], start - self.non_finite_rows  # among the good rows, which blocks take in turn
            if kept is not None:
                part, place = part[kept[rows]], place - int((~kept[: rows.start]).sum())
            blocks = self.blocks if split is None else self.blocks // self.splits
            sums = exact_score_sums(part, blocks=blocks, offset=place, probabilities=not from_logits)
            parts.append((split, sums))
        return parts

    def _is_bad(self, values: Tensor, from_logits: bool, parts: list[tuple[int | None, ops.ScoreSums]]) -> Tensor:
        """[], bool, on the device of the values."""
        if not from_logits:
            return bad_rows(values, from_logits).any()
        none = torch.zeros((), dtype=torch.bool, device=values.device)
        return torch.stack([none, *(sums.entropy.isnan().any() for _, sums in parts)]).any()

    def _require_mergeable(self) -> None:
        if self.num_samples is not None:
            raise ValueError("contiguous splits (num_samples given) cannot be merged, wanted num_samples=None")

    def _good_sums(self) -> ops.ScoreSums:
        """[blocks, ...], on the CPU, of at least one sample."""
        self._require_good_rows()
        if self.samples == self.non_finite_rows:
            raise ValueError("no samples, wanted at least one update before compute")
        return ops.ScoreSums(*(x.cpu() for x in self._sums))

    def _require_good_rows(self) -> None:
        start, end = self._first_bad.tolist()
        if start >= 0:
            where = f"a row among samples {start} to {end - 1}"
            raise ValueError(f"{where} gives no distribution; wanted finite logits")

    def _by_split(self, total: Tensor) -> Tensor:
        """[blocks, ...] seen as [blocks / splits, splits, ...]."""
        return total.unflatten(0, (self.blocks // self.splits, self.splits))

    def _complete_splits(self, blocks: ops.ScoreSums) -> ops.ScoreSums | None:
        """[splits, ...], or None while a split lacks samples."""
        splits = ops.ScoreSums(*(self._by_split(x).sum(0) for x in blocks))
        complete = self.num_samples is None or self.samples == self.num_samples
        return splits if complete and splits.count.all() else None


def scores(
    values: Array | Iterable[Array],
    reference: Array | Sequence[float] | Scores | ScoreAccumulator | None = None,
    *,
    from_logits: bool = True,
    labels: Tensor | Sequence[int] | None = None,
    **options: Any,
) -> Scores:
    """The scores of samples whose logits are in memory, or come batch by batch.

    Args:
        values: [N, K], as for :meth:`ScoreAccumulator.update`, with ``from_logits``; or batches of these.
        reference, labels: as for :meth:`ScoreAccumulator.compute`.
        options: of :class:`ScoreAccumulator`.

    Raises:
        TypeError, ValueError: as those do.
    """
    accumulator = add_batches(partial(ScoreAccumulator, **options), values, from_logits, "values")
    return accumulator._compute(reference, labels)


def distribution(
    reference: Array | Sequence[float] | Scores | ScoreAccumulator, num_classes: int | None = None
) -> Tensor:
    """[K], float64, on the CPU: the mean class distribution that any form of a reference stands for.

    Raises:
        TypeError: it is none of these.
        ValueError: it is no distribution over ``num_classes`` classes (None: any number from 2 on).
    """
    if isinstance(reference, ScoreAccumulator):
        reference = reference.class_distribution()
    elif isinstance(reference, Scores):
        reference = reference.class_distribution
    vector = _as_vector(reference).to("cpu", torch.float64)
    if vector.ndim != 1 or num_classes not in (None, len(vector)):
        raise ValueError(f"reference is {list(vector.shape)}, wanted {num_classes or 'K'} probabilities")
    check_num_classes(len(vector))
    if not (vector >= 0).all() or abs(float(vector.sum()) - 1) > 1e-5:
        found = f"reference sums to {float(vector.sum()):.6g}, its least entry is {float(vector.min()):.6g}"
        raise ValueError(f"{found}; wanted probabilities that sum to 1")
    return vector / vector.sum()


def _as_vector(reference: Array | Sequence[float]) -> Tensor:
    if isinstance(reference, Tensor | np.ndarray):
        return as_tensor("reference", reference).detach()
    try:
        return torch.tensor(reference, dtype=torch.float64, device="cpu")
    except (TypeError, ValueError, RuntimeError):  # PyTorch names the type of an element that is no number
        found = type(reference).__name__
        raise TypeError(f"reference is a {found}, wanted K probabilities, Scores or a ScoreAccumulator") from None


def _are_sorted(labels: Tensor) -> bool:
    steps = labels.diff()
    return bool((steps >= 0).all()) and bool((steps > 0).any())
