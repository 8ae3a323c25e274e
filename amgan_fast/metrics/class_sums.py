"""Score sums by label: one pass over the samples, then the scores of any classes kept."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import distributed

from amgan_fast import ops
from amgan_fast.metrics.accumulator import ScoreAccumulator
from amgan_fast.metrics.arrays import Array, as_labels
from amgan_fast.metrics.first_rows import FirstRows
from amgan_fast.metrics.result import Scores
from amgan_fast.metrics.rows import as_logits, check_num_classes, class_rows, refuse_bad_logits, refuse_bad_sums
from amgan_fast.processes import sum_over_processes

_VALUES_AT_ONCE = 2**17  # of logits: a few MB of sums, which stay in the cache


class ClassSums:
    """Collects logits with labels batch by batch; :meth:`score_of` then scores any subset of the labels.

    The state is that of :class:`ScoreAccumulator` for each label, 8·B·L·(3K + 2) bytes however many samples there
    are: 10 classes take 50 kB, 1000 classes 480 MB (96 MB with ``blocks=4``). Sample i belongs to block i mod B,
    whatever its label: blocks are what errors are taken from, and samples in random order make them alike.

    Args:
        num_classes: K, the number of the classifier's classes, at least 2.
        num_labels: L, the number of labels; None: K. Labels may be other than the classifier's classes.
        blocks: B, at least 1.
        device: where the sums are kept; None: PyTorch's default device. Best the device of the logits.

    Raises:
        ValueError: an argument out of its range.
    """

    def __init__(
        self,
        num_classes: int,
        *,
        num_labels: int | None = None,
        blocks: int = 20,
        device: torch.device | str | None = None,
    ) -> None:
        self.num_classes = num_classes
        self.num_labels = num_classes if num_labels is None else num_labels
        self.blocks = blocks
        check_num_classes(num_classes)
        for name in ("num_labels", "blocks"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}, wanted at least 1")
        self.samples = 0
        sets = (blocks, self.num_labels)
        shapes = (sets, sets, *[(*sets, num_classes)] * 3)
        self.sums = ops.ScoreSums(*(torch.zeros(shape, dtype=torch.float64, device=device) for shape in shapes))
        """[B, L, ...], float64."""
        self.first_rows = FirstRows(device)
        """What tells whether logits are probabilities."""

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
                batch is added then. On a GPU such a row is found when the sums are read.
        """
        rows = class_rows(logits, self.num_classes, from_logits)
        labels = as_labels(labels, len(rows))
        if len(labels) and not 0 <= int(labels.min()) <= int(labels.max()) < self.num_labels:
            found = f"labels are {int(labels.min())} to {int(labels.max())}"
            raise ValueError(f"{found}, wanted 0 to {self.num_labels - 1}")
        if not len(labels):
            return
        rows = as_logits(rows, from_logits, self.samples)
        refuse_bad_logits(rows, ops.score_sums(rows).entropy, self.samples)
        block = torch.arange(self.samples, self.samples + len(labels), device=labels.device) % self.blocks
        sets = (block * self.num_labels + labels).to(self.sums.count.device)
        step = max(1, _VALUES_AT_ONCE // self.num_classes)
        for part, places in zip(rows.split(step), sets.split(step), strict=True):
            # Each row is a block of its own: its numbers, which then go to the set it belongs to.
            for total, values in zip(self.sums, ops.score_sums(part, blocks=len(part)), strict=True):
                total.flatten(0, 1).index_add_(0, places, values.to(total.device))
        self.samples += len(labels)
        if from_logits:
            self.first_rows.look(rows)

    def all_reduce(self, group: distributed.ProcessGroup | None = None) -> None:
        """Make the samples of all processes of the group those of each: every process must call, once, in the end."""
        counts = self.sums.count.new_tensor([self.samples, *self.first_rows.counts])
        sum_over_processes([*self.sums, counts], group)
        self.samples, *first_rows = map(int, counts.tolist())
        self.first_rows.counts = first_rows

    def score_of(
        self, kept: Sequence[int], reference: Array | Sequence[float] | Scores | ScoreAccumulator | None = None
    ) -> Scores:
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
        refuse_bad_sums(self.sums.entropy)
        labels = torch.as_tensor(kept, dtype=torch.int64)
        if not len(labels) or len(labels.unique()) < len(labels):
            raise ValueError(f"kept is {list(kept)}, wanted at least one label, each once")
        if int(labels.min()) < 0 or int(labels.max()) >= self.num_labels:
            raise ValueError(f"kept is {list(kept)}, wanted labels 0 to {self.num_labels - 1}")
        chosen = ops.ScoreSums(*(x[:, labels.to(x.device)].sum(1) for x in self.sums))
        if not chosen.count.any():
            raise ValueError(f"kept is {list(kept)}, and no sample has such a label; wanted labels with samples")
        accumulator = ScoreAccumulator(self.num_classes, blocks=self.blocks, splits=self.blocks)
        accumulator.add_sums(chosen, int(chosen.count.sum()), self.first_rows)
        return accumulator.compute(reference)
