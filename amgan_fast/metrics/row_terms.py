"""What measurements take of a batch of a classifier's outputs, each computed once."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property

import torch
from torch import Tensor

from amgan_fast import ops
from amgan_fast.metrics.arrays import Array, as_tensor
from amgan_fast.metrics.bad_rows import bad_rows, describe_bad_row, kind_of

_DTYPES = (torch.float32, torch.float64, torch.bfloat16, torch.float16)
_DOUBLES_AT_ONCE = 2**20  # of a copy in float64: 8 MiB
_ROWS_AT_ONCE = 2**17  # values whose rows are kept apart: a few MB of sums, which stay in the cache
_ON_GPU = 2**22  # and there: 100 MB, since each part takes some ten launches


class RowTerms:
    """Rows of a classifier's output, and what is made of each of them.

    Accumulators are handed the same one and only add: what two of them need is computed when the first asks. A batch
    goes through its exponentials once for sums in blocks (:meth:`block_sums`) and once for sums of each row
    (:meth:`each_row`), which leaves :attr:`entropy` behind.

    Args:
        values: [N, K], float32, float64, bfloat16 or float16, a tensor or a NumPy array.
        num_classes: K; None: any.
        from_logits: False: they are probabilities, rows that sum to 1.
        name: what messages call them; None: logits or probabilities.

    Raises:
        TypeError: no tensor or array, or another dtype, or not dense.
        ValueError: another shape, or fewer than two classes.

    >>> import torch
    >>> from amgan_fast.metrics import EntropyCounts, RowTerms, ScoreAccumulator
    >>> scores, entropies = ScoreAccumulator(2), EntropyCounts(2)
    >>> rows = RowTerms(torch.tensor([[20.0, 0.0], [0.0, 20.0], [0.0, 0.0]]).repeat(10, 1))
    >>> for one in (scores, entropies):
    ...     one.add(rows)
    >>> rows.likeliest[:3], scores.compute().n, round(entropies.compute().mean, 4)
    (tensor([0, 1, 0]), 30, 0.231)
    """

    def __init__(
        self, values: Array, num_classes: int | None = None, *, from_logits: bool = True, name: str | None = None
    ) -> None:
        self.values = _checked(name or kind_of(from_logits), values, num_classes).detach()
        """[N, K]"""
        self.from_logits = from_logits
        self._known_good = False
        self._each_row: list[tuple[slice, ops.ScoreSums]] | None = None

    def __len__(self) -> int:
        return len(self.values)

    def __getitem__(self, rows: slice | Tensor) -> RowTerms:
        """Some of the rows, with what is known of them."""
        some = RowTerms(self.values[rows], from_logits=self.from_logits)
        some._known_good = self._known_good
        for name in ("bad", "likeliest", "entropy"):
            if name in self.__dict__:
                some.__dict__[name] = self.__dict__[name][rows]
        return some

    @property
    def num_classes(self) -> int:
        """K."""
        return self.values.size(1)

    @cached_property
    def bad(self) -> Tensor:
        """[N], bool: rows that give no distribution."""
        return bad_rows(self.values, self.from_logits)

    @cached_property
    def good(self) -> RowTerms:
        """The other rows. On a GPU it is waited for."""
        good = self[~self.bad] if bool(self.bad.any()) else self
        good._known_good = True
        return good

    @cached_property
    def likeliest(self) -> Tensor:
        """[N], int64: the class of the greatest value, of equal ones the lowest."""
        return self.values.argmax(1)

    @cached_property
    def class_counts(self) -> Tensor:
        """[K], float64: how often each class is the likeliest."""
        ones = torch.ones(len(self), dtype=torch.float64, device=self.values.device)
        return torch.zeros(self.num_classes, dtype=torch.float64, device=ones.device).index_add_(
            0, self.likeliest, ones
        )

    @cached_property
    def entropy(self) -> Tensor:
        """[N], float64, nats, in the precision of :meth:`block_sums`."""
        if self.from_logits and self.values.is_cuda:
            return ops.class_entropy(self.values, reduction="none").double()
        if self.from_logits:
            parts = (part for _, part in self._parts(_DOUBLES_AT_ONCE))
            entropies = [ops.class_entropy(part.double(), reduction="none") for part in parts]
            return torch.cat(entropies or [self.values.new_zeros(0).double()])
        return torch.cat([sums.entropy for _, sums in self.each_row()] or [self.values.new_zeros(0).double()])

    def block_sums(self, blocks: int, offset: int = 0, initial: ops.ScoreSums | None = None) -> ops.ScoreSums:
        """:func:`amgan_fast.ops.score_sums`, on the CPU in float64 whatever the dtype.

        In float32 a row of ten classes is right to seven digits, and scores of some hundred samples to seven or eight,
        in another way for each way to cut them into batches. On a GPU, where float64 runs at a 64th of the rate, rows
        stay as they are, and are added up in two floats.
        """
        return ops.score_sums(
            self._summed(self.values),
            blocks=blocks,
            offset=offset,
            probabilities=not self.from_logits,
            dtype=self._dtype,
            initial=initial,
        )

    def each_row(self) -> Iterator[tuple[slice, ops.ScoreSums]]:
        """(rows, their sums as if each were a block of its own), some rows at a time; in the same precision as
        :meth:`block_sums`. Those of a batch that is not large are kept for who asks next."""
        if self._each_row is not None:
            yield from self._each_row
            return
        kept, entropies = [], []
        at_once, most_kept = (_ON_GPU, _ON_GPU) if self.values.is_cuda else (_ROWS_AT_ONCE, _DOUBLES_AT_ONCE)
        for start, part in self._parts(at_once):
            # Of probabilities on a GPU, too, each row in float64.
            dtype = self._dtype if self.from_logits else torch.float64
            sums = ops.score_sums(self._summed(part), blocks=len(part), probabilities=not self.from_logits, dtype=dtype)
            entropies.append(sums.entropy)
            if self.values.numel() <= most_kept:
                kept.append((slice(start, start + len(part)), sums))
            yield slice(start, start + len(part)), sums
        if entropies:
            self.__dict__["entropy"] = torch.cat(entropies)
        if kept:
            self._each_row = kept

    def refuse_bad(self, seen: int | Tensor, sums: Tensor | None = None) -> None:
        """Raise ValueError for the first bad row.

        Not where rows are on a GPU, which would have to be waited for: sums made of bad rows are NaN there, and found
        by who reads them.

        Args:
            seen: rows of the stream before these.
            sums: made of these logits, so that NaN tells whether there is a bad row; None: look at all.
        """
        if self.values.is_cuda or self._known_good:
            return
        told = self.from_logits and sums is not None and not bool(sums.isnan().any())
        if not told and bool(self.bad.any()):
            raise ValueError(describe_bad_row(self.values, self.bad, int(seen), self.from_logits))
        self._known_good = True

    @property
    def _dtype(self) -> torch.dtype | None:
        """In which sums of rows are computed; None: the operation's own choice."""
        return None if self.values.is_cuda else torch.float64

    def _parts(self, values: int) -> Iterator[tuple[int, Tensor]]:
        """(first row, [n, K]) of so many values at most, but for a single row."""
        step = max(1, values // self.num_classes)
        for start in range(0, len(self), step):
            yield start, self.values[start : start + step]

    def _summed(self, values: Tensor) -> Tensor:
        """What is bad in probabilities on a GPU becomes NaN, as it does of logits."""
        if self.from_logits or not values.is_cuda:
            return values
        return values.masked_fill(bad_rows(values, from_logits=False)[:, None], torch.nan)


def _checked(name: str, values: Array, num_classes: int | None) -> Tensor:
    rows = as_tensor(name, values)
    if rows.ndim != 2 or num_classes not in (None, rows.size(1)):
        raise ValueError(f"{name} are {list(rows.shape)}, wanted [N, {num_classes or 'K'}]")
    if rows.size(1) < 2:
        raise ValueError(f"{name} are {list(rows.shape)}, wanted [N, K] with K at least 2")
    if rows.dtype not in _DTYPES:
        wanted = "a floating-point dtype: float32, float64, bfloat16 or float16"
        raise TypeError(f"{name} are {rows.dtype}, wanted {wanted}")
    if rows.layout != torch.strided or rows.is_meta:
        found = "a tensor without values (meta)" if rows.is_meta else f"of layout {rows.layout}"
        raise TypeError(f"{name} are {found}, wanted a dense tensor")
    return rows
