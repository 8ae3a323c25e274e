"""Streaming Inception Score and AM Score: constant memory, any batch sizes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from amgan_fast import ops
from amgan_fast.metrics.scores import Scores


class ScoreAccumulator:
    """Collects a classifier's logits batch by batch and computes :class:`Scores`.

    The state is 3K+2 float64 sums for each of ``blocks`` blocks (:func:`amgan_fast.ops.score_sums`), however many
    samples there are. Block b belongs to split ``b % splits``; inside a split samples take its blocks in turn.

    Args:
        num_classes: the number of classes K, at least 1.
        blocks: a multiple of ``splits``.
        splits: the number of splits of :attr:`Scores.split_mean`, the form in which Inception Scores are published.
        num_samples: None: splits are filled in turn, which does no harm to inputs sorted by class. Given: the
            number of samples N to come, and split s is the samples from floor(s*N/splits) on, as the original code
            of the Inception Score has it; order then matters.
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
        device: torch.device | str | None = None,
    ) -> None:
        if num_classes < 1:
            raise ValueError(f"num_classes is {num_classes}, wanted at least 1")
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
        self.samples = 0
        shapes = ((blocks,), (blocks,), *[(blocks, num_classes)] * 3)
        self._sums = ops.ScoreSums(*(torch.zeros(shape, dtype=torch.float64, device=device) for shape in shapes))

    def update(self, logits: Tensor) -> None:
        """Add a batch.

        Args:
            logits: [N, K], float32, float64, bfloat16 or float16.

        Raises:
            TypeError: a dtype that is not floating point.
            ValueError: a wrong shape, more samples than ``num_samples``, or a row that gives no distribution (NaN,
                +inf, or -inf throughout). Nothing of the batch is added then.
        """
        if logits.ndim != 2 or logits.size(1) != self.num_classes:
            raise ValueError(f"logits are {list(logits.shape)}, wanted [N, {self.num_classes}]")
        end = self.samples + len(logits)
        if self.num_samples is not None and end > self.num_samples:
            raise ValueError(f"logits make it {end} samples, wanted at most num_samples = {self.num_samples}")
        parts = [(split, self._block_sums(logits, split, start, stop)) for split, start, stop in self._parts(end)]
        if any(bool(sums.entropy.isnan().any()) for _, sums in parts):
            raise ValueError(_describe_bad_row(logits, self.samples))
        for split, sums in parts:
            for total, part in zip(self._sums, sums, strict=True):
                target = total if split is None else self._by_split(total)[:, split]
                target += part.to(total.device)
        self.samples = end

    def merge(self, other: ScoreAccumulator) -> None:
        """Add the samples of another accumulator with the same settings (of another process, say).

        Raises:
            ValueError: settings differ, or splits are contiguous: their samples have an order, which merging loses.
        """
        for name in ("num_classes", "blocks", "splits", "num_samples"):
            mine, others = getattr(self, name), getattr(other, name)
            if mine != others:
                raise ValueError(f"other has {name} = {others}, wanted {mine} as here")
        if self.num_samples is not None:
            raise ValueError("contiguous splits (num_samples given) cannot be merged, wanted num_samples=None")
        for total, part in zip(self._sums, other._sums, strict=True):
            total += part.to(total.device)
        self.samples += other.samples

    def compute(self, reference: Tensor | Sequence[float] | Scores | ScoreAccumulator | None = None) -> Scores:
        """The scores of all samples so far.

        Args:
            reference: the mean class distribution of the training set, for the AM Score: K probabilities, or the
                Scores or the accumulator of the training set.

        Raises:
            ValueError: no sample yet, or ``reference`` is no distribution over K classes.
        """
        if not self.samples:
            raise ValueError("no samples, wanted at least one update before compute")
        whole = ops.ScoreSums(*(total.sum(0).cpu() for total in self._sums))
        mean = whole.prob / whole.count
        mean_entropy = float(whole.entropy / whole.count)
        kl = None if reference is None else float(_kl(_distribution(reference, self.num_classes), whole))
        split_scores = self._split_scores()
        return Scores(
            n=self.samples,
            num_classes=self.num_classes,
            inception_score=float(_inception_score(whole.count, whole.entropy, whole.prob)),
            entropy_of_mean=float(torch.special.entr(mean).sum()),
            mean_entropy=mean_entropy,
            kl_reference=kl,
            am_score=None if kl is None else kl + mean_entropy,
            split_mean=None if split_scores is None else float(split_scores.mean()),
            split_std=None if split_scores is None else float(split_scores.std(correction=0)),
            splits=self.splits,
            splits_rule="round robin" if self.num_samples is None else "contiguous",
            class_distribution=tuple(mean.tolist()),
        )

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

    def _block_sums(self, logits: Tensor, split: int | None, start: int, stop: int) -> ops.ScoreSums:
        rows = logits[start - self.samples : stop - self.samples]
        blocks = self.blocks if split is None else self.blocks // self.splits
        return ops.score_sums(rows, blocks=blocks, offset=start)

    def _by_split(self, total: Tensor) -> Tensor:
        """[blocks, ...] seen as [blocks / splits, splits, ...]."""
        return total.unflatten(0, (self.blocks // self.splits, self.splits))

    def _split_scores(self) -> Tensor | None:
        """[splits], or None while a split lacks samples."""
        count, entropy, prob = (self._by_split(x).sum(0).cpu() for x in self._sums[:3])
        wanted = self.samples if self.num_samples is None else self.num_samples
        return _inception_score(count, entropy, prob) if self.samples == wanted and count.all() else None


def _inception_score(count: Tensor, entropy: Tensor, prob: Tensor) -> Tensor:
    """From the sums of any number of sets: count [...], entropy [...], prob [..., K]."""
    entropy_of_mean = torch.special.entr(prob / count[..., None]).sum(-1)
    return (entropy_of_mean - entropy / count).exp()


def _kl(reference: Tensor, sums: ops.ScoreSums) -> Tensor:
    # Where even the sum of p_k underflows, the mean of log p_k stands for log m_k: finite, and below it (Jensen).
    log_mean = torch.where(sums.prob > 0, (sums.prob / sums.count).log(), sums.log_prob / sums.count)
    hit = reference > 0
    return (reference[hit] * (reference[hit].log() - log_mean[hit])).sum()


def _distribution(reference: Tensor | Sequence[float] | Scores | ScoreAccumulator, num_classes: int) -> Tensor:
    if isinstance(reference, ScoreAccumulator):
        reference = reference.compute()
    if isinstance(reference, Scores):
        reference = reference.class_distribution
    vector = torch.as_tensor(reference, dtype=torch.float64, device="cpu")
    if vector.shape != (num_classes,):
        raise ValueError(f"reference is {list(vector.shape)}, wanted {num_classes} probabilities")
    if not (vector >= 0).all() or abs(float(vector.sum()) - 1) > 1e-5:
        found = f"reference sums to {float(vector.sum()):.6g}, its least entry is {float(vector.min()):.6g}"
        raise ValueError(f"{found}; wanted probabilities that sum to 1")
    return vector


def _describe_bad_row(logits: Tensor, seen: int) -> str:
    row = int(logits.detach().double().softmax(1).isnan().any(1).nonzero()[0])
    return f"logits row {row} (sample {seen + row}) gives no distribution: {_kind(logits[row])}; wanted finite logits"


def _kind(row: Tensor) -> str:
    if row.isnan().any():
        return "it holds NaN"
    return "it holds +inf" if row.isposinf().any() else "it is -inf throughout"
