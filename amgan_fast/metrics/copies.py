"""How many of the samples are copies of others, from a sketch of their hashes whose size does not grow with them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, distributed

from amgan_fast.metrics.arrays import Array
from amgan_fast.metrics.numbers import Numbers
from amgan_fast.metrics.row_hashes import row_hashes
from amgan_fast.processes import gather_tensors

_KEPT = 2**14  # hashes: 256 KiB with their counts, and 0.8% off
_WAITING = 2**16  # hashes, before they are sorted in
_SPREAD = 4  # standard errors that two estimates of the same may be apart
_TOO_MANY = 0.01
"""The share of copies beyond which there is a warning. Chance explains none where there are grey levels: of the 1,797
real digits of 8 x 8 pixels no two are the same, nor of 50,000 generated ones, as float or rounded to 16 levels. Scraped
sets have a few. With 1% in pairs intervals, which take samples for independent, are 1% too narrow: no one sees it."""


@dataclass(frozen=True, repr=False)
class Copies(Numbers):
    """How many different samples there are among N. Copies are samples that are the same to the last bit.

    >>> import torch
    >>> from amgan_fast.metrics import count_copies
    >>> copies = count_copies(torch.arange(10).repeat(100)[:, None])
    >>> copies.distinct, copies.is_exact, copies.share
    (10, True, 0.99)
    >>> copies.warning
    '99% of 1,000 samples are copies of others before them: 10 different ones; intervals are too narrow'
    """

    n: int
    """The number of samples N."""
    distinct: int
    """Of them that differ, all copies of one counted once."""
    is_exact: bool
    """Whether that is their number (of up to 16,384), or an estimate, whose standard error is 0.8% at most. Where no
    sample is repeated the estimate is exact as well."""

    @property
    def share(self) -> float:
        """Of samples that are copies of one before them: 1 - distinct / N, from 0 to 1 - 1 / N."""
        return 1 - self.distinct / self.n

    @property
    def warning(self) -> str | None:
        """Where more than 1% are copies; else None."""
        if self.n - self.distinct <= _TOO_MANY * self.n:
            return None
        if self.distinct == 1 and self.is_exact:
            return f"all {self.n:,} samples are the same one; intervals say nothing"
        about = "" if self.is_exact else "about "
        share = f"{math.floor(100 * self.share):.0f}%"  # of 10 in 10,000 not 100%
        return (
            f"{share} of {self.n:,} samples are copies of others before them: {about}{self.distinct:,} different ones; "
            "intervals are too narrow"
        )

    def to_dict(self) -> dict[str, Any]:
        return super().to_dict() | {"share": self.share}


class CopyCounts:
    """Collects samples batch by batch for :class:`Copies`; the state is below 1 MiB however many samples there are.

    It keeps the 16,384 least of the samples' hashes (:func:`amgan_fast.metrics.row_hashes`), and how often
    each has come: k minimum values, Bar-Yossef et al., "Counting distinct elements in a data stream" (2002), with
    counts, Gibbons, "Distinct sampling for highly-accurate answers" (2001). It depends on the samples alone and not on
    their order, batches or processes: what is kept of two parts is what is kept of the whole.

    Args:
        device: where hashes wait to be sorted in; None: the CPU. Best the device of the samples.

    >>> import torch
    >>> from amgan_fast.metrics import CopyCounts
    >>> counts = CopyCounts()
    >>> for batch in torch.zeros(30, 3, 8, 8).split(10):
    ...     counts.update(batch)
    >>> counts.compute().distinct
    1
    """

    def __init__(self, device: torch.device | str | None = None) -> None:
        self._device = torch.device(device or "cpu")
        self.samples = 0
        """Samples seen."""
        self._hashes = torch.empty(0, dtype=torch.int64)  # ascending
        self._counts = torch.empty(0, dtype=torch.int64)
        self._waiting: list[Tensor] = []
        self._waiting_number = 0

    def update(self, samples: Array | Sequence[Tensor]) -> None:
        """Add a batch.

        Args:
            samples: [N, ...] of any dtype: images, or rows of logits; or N tensors of any shape.

        Raises:
            TypeError: no tensors or arrays.
        """
        self.add(row_hashes(samples))

    def add(self, hashes: Tensor) -> None:
        """Add the :func:`row_hashes` of a batch. On a GPU nothing waits for it before 65,536 have come."""
        self.samples += len(hashes)
        self._waiting.append(hashes)
        self._waiting_number += len(hashes)
        if self._waiting_number >= _WAITING:
            self._sort_in()

    def compute(self) -> Copies:
        """Of all samples so far.

        Raises:
            ValueError: no sample yet.
        """
        if not self.samples:
            raise ValueError("no samples, wanted at least one update before compute")
        self._sort_in()
        kept = len(self._hashes)
        if kept < _KEPT:
            return Copies(self.samples, kept, is_exact=True)
        # As often as those kept have come, so will the others have; but one that came very often is seldom among
        # them. How densely hashes lie tells their number as well, whatever came how often, give or take 1/sqrt(k).
        by_counts = self.samples * kept / int(self._counts.sum())
        by_density = min((kept - 1) / (int(self._hashes[-1]) / 2**63), self.samples)
        agree = abs(by_counts / by_density - 1) < _SPREAD / math.sqrt(kept)
        return Copies(self.samples, round(by_counts if agree else by_density), is_exact=False)

    def merge(self, other: CopyCounts) -> None:
        """Add the samples of another (of another process, say)."""
        other._sort_in()
        self._sort_in()
        self._keep_least(torch.cat([self._hashes, other._hashes]), torch.cat([self._counts, other._counts]))
        self.samples += other.samples

    def all_reduce(self, group: distributed.ProcessGroup | None = None) -> None:
        """Make the samples of all processes of the group those of each: every process must call, once, in the end."""
        self._sort_in()
        mine = torch.zeros(2, _KEPT + 1, dtype=torch.int64)  # the last column: how many are kept, and samples
        kept = len(self._hashes)
        mine[0, :kept], mine[1, :kept] = self._hashes, self._counts
        mine[:, -1] = torch.tensor([kept, self.samples])
        parts = [part.cpu() for part in gather_tensors(mine.to(self._device), group)]
        hashes, counts = torch.cat([part[:, : int(part[0, -1])] for part in parts], 1)
        self._keep_least(hashes, counts)
        self.samples = sum(int(part[1, -1]) for part in parts)

    def state_dict(self) -> dict[str, Any]:
        """Everything, as numbers and tensors: torch.load(weights_only=True) takes it."""
        self._sort_in()
        return {"samples": self.samples, "hashes": self._hashes.clone(), "counts": self._counts.clone()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from a :meth:`state_dict`.

        Raises:
            ValueError: a key is missing, or hashes and counts are none. Nothing is changed then.
        """
        for name in ("samples", "hashes", "counts"):
            if name not in state:
                raise ValueError(f"state has no {name}, wanted what state_dict() returned")
        hashes, counts = (state[name].to("cpu", copy=True) for name in ("hashes", "counts"))
        if hashes.ndim != 1 or hashes.shape != counts.shape or len(hashes) > _KEPT:
            found = f"hashes of shape {list(hashes.shape)} and counts of shape {list(counts.shape)}"
            raise ValueError(f"state has {found}, wanted both [N], at most {_KEPT:,}")
        ascending = bool((hashes.diff() > 0).all()) and bool((hashes >= 0).all())
        if {hashes.dtype, counts.dtype} != {torch.int64} or not ascending or (counts < 1).any():
            found = "hashes that do not ascend from 0, or counts below 1"
            raise ValueError(f"state has {found}, wanted int64 hashes and counts")
        self._hashes, self._counts, self.samples = hashes, counts, int(state["samples"])
        self._waiting, self._waiting_number = [], 0

    def _sort_in(self) -> None:
        """What waits."""
        if not self._waiting:
            return
        new = torch.cat([hashes.cpu() for hashes in self._waiting])
        self._waiting, self._waiting_number = [], 0
        if len(self._hashes) == _KEPT:
            new = new[new <= self._hashes[-1]]
        self._keep_least(torch.cat([self._hashes, new]), torch.cat([self._counts, torch.ones_like(new)]))

    def _keep_least(self, hashes: Tensor, counts: Tensor) -> None:
        different, place = hashes.unique(return_inverse=True)
        total = torch.zeros_like(different).index_add_(0, place, counts)
        self._hashes, self._counts = different[:_KEPT].clone(), total[:_KEPT].clone()


def count_copies(samples: Array | Sequence[Tensor]) -> Copies:
    """How many different ones there are among samples in memory.

    Args:
        samples: as of :meth:`CopyCounts.update`.

    Raises:
        TypeError: no tensors or arrays.
        ValueError: no samples.

    >>> import torch
    >>> from amgan_fast.metrics import count_copies
    >>> count_copies(torch.rand(500, 1, 8, 8)).distinct
    500
    """
    counts = CopyCounts(samples.device if isinstance(samples, Tensor) else None)
    counts.update(samples)
    return counts.compute()
