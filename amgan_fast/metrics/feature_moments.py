"""Mean and covariance of features, streaming: constant memory, any batch sizes, and by block what errors come from."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, distributed

from amgan_fast.memory import to_device
from amgan_fast.metrics.arrays import Array, batches_of
from amgan_fast.metrics.block_turns import rows_by_block
from amgan_fast.metrics.feature_arrays import as_features
from amgan_fast.metrics.late_checks import LateFeatures
from amgan_fast.metrics.sample_sums import WaitingSums
from amgan_fast.processes import gather_tensors

_STATE_BYTES = 2**29  # of the sums of all blocks, about
_FEWEST_BLOCKS, _MOST_BLOCKS, _UNIT = 8, 48, 4
_FEWEST_ROWS, _MOST_ROWS = 64, 512
"""Of a block, that are added at once, between them half as many as features; in float32 no more are added up."""
_COLUMNS_AT_ONCE = 256
_IN_DOUBLE = 2  # rows for each feature before float32 may do
_SINGLE_RANGE = (1e-12, 1e15)  # of the largest feature: their products do not leave float32, nor vanish in it


class Moments(NamedTuple):
    """Of so many features: float64, on the CPU."""

    n: int | None
    """None: not known."""
    mean: Tensor
    """[D]."""
    covariance: Tensor
    """[D, D], with n - 1 in the denominator."""


class FeatureMoments(WaitingSums):
    """Collects features batch by batch; :func:`frechet_distance` then compares them with those of others.

    The state is D^2 + D + 1 float64 sums for each of ``blocks`` blocks, however many samples there are: 2,048 features
    in 16 blocks take 537 MB, and rows that wait to be added 67 MB in float32. Samples take the blocks in turn, which
    does no harm to features sorted by class. Sums are of what features differ by from an origin, the mean of the first
    rows: a large offset that all have costs no digits.

    Of float32, float16 and bfloat16 on a CPU products, but for those of the first 2 D rows, are float32 and added up in
    float64 after 512 rows at most, in less than half the time. Of 50,000 rectified features that changed the Fréchet
    distance by 5e-8 of itself; where N is above 2 D and the covariance still singular, it may be 1e-6. Of float64, and
    on a GPU, everything is float64.

    Args:
        dim: the number of features D, at least 1.
        blocks: at least 4, a multiple of 4, from which corrections and intervals come; None: as many as 512 MiB hold,
            8 to 48 (2,048 features: 16).
        start: samples that others take before the first one here: blocks are then filled as if one had taken all.
        device: where the sums are kept; None: where the first features are.

    Raises:
        ValueError: an argument out of its range.

    >>> import torch
    >>> from amgan_fast.metrics import FeatureMoments
    >>> features = torch.tensor([[0.0, 1.0], [2.0, 5.0], [4.0, 3.0]], dtype=torch.float64)
    >>> moments = FeatureMoments(dim=2)
    >>> for batch in features.split(2):
    ...     moments.update(batch)
    >>> moments.mean.tolist(), moments.covariance.tolist()
    ([2.0, 3.0], [[4.0, 2.0], [2.0, 4.0]])
    """

    SETTINGS = ("dim", "blocks")

    def __init__(
        self,
        dim: int,
        *,
        blocks: int | None = None,
        start: int = 0,
        device: torch.device | str | None = None,
    ) -> None:
        super().__init__(device)
        check_dim(dim)
        self.dim = dim
        self.blocks = _blocks_that_fit(dim) if blocks is None else blocks
        if self.blocks < _UNIT or self.blocks % _UNIT:
            raise ValueError(f"blocks is {blocks}, wanted a multiple of {_UNIT}, at least {_UNIT}")
        if start < 0:
            raise ValueError(f"start is {start}, wanted at least 0")
        self.start = start
        self._begin(device)

    @staticmethod
    def bytes_of(dim: int, blocks: int | None = None) -> int:
        """The memory that one takes.

        >>> from amgan_fast.metrics import FeatureMoments
        >>> round(FeatureMoments.bytes_of(2048) / 1e6)
        671
        """
        return state_bytes(dim, _blocks_that_fit(dim) if blocks is None else blocks)

    def _begin(self, device: torch.device | str | None) -> None:
        super()._begin(device)
        options: Any = {"dtype": torch.float64, "device": device}
        self._origin = torch.zeros(self.dim, **options)
        self._count = torch.zeros(self.blocks, **options)
        self._sum = torch.zeros(self.blocks, self.dim, **options)
        self._products = torch.zeros(self.blocks, self.dim, self.dim, **options)  # the lower triangles
        self._has_origin = False
        self._waiting: Tensor | None = None  # rows that are yet to be added up
        self._waiting_rows = 0
        self._late_features = LateFeatures(device)
        self._late.append(self._late_features)

    def update(self, features: Array) -> None:
        """Add a batch. On a GPU nothing waits for it.

        Args:
            features: [N, D], float32, float64, bfloat16 or float16, a tensor or a NumPy array.

        Raises:
            TypeError: no tensor or array, or a dtype that is not floating point.
            ValueError: a wrong shape, or a feature that is NaN or infinite. Nothing of the batch is added then. On a
                GPU such a feature is found by the next call that reads the sums, which names its batch.
        """
        rows = as_features("features", features, self.dim)
        self._follow_to(rows.device)
        if not len(rows):
            return
        place = self.start + self.samples
        dtype = torch.float64
        if rows.is_cuda:
            self._late_features.look(rows, place)
        else:
            least, most = _SINGLE_RANGE
            in_range = least < largest_finite(rows, place) < most
            dtype = rows.dtype if in_range and self._sum.is_cpu else torch.float64
        self._wait(to_device(rows, self._sum.device), dtype)
        self.samples += len(rows)

    @property
    def mean(self) -> Tensor:
        """[D], float64, on the CPU.

        Raises:
            ValueError: no sample yet, or a feature on a GPU was not finite.
        """
        _, mean, _ = self._of(range(self.blocks))
        return mean

    @property
    def covariance(self) -> Tensor:
        """[D, D], float64, on the CPU, with N - 1 in the denominator.

        Raises:
            ValueError: fewer than two samples, or as of :attr:`mean`.
        """
        return self.moments().covariance

    @property
    def block_samples(self) -> list[int]:
        """How many samples each block has."""
        self._add_waiting()
        return [int(count) for count in self._count.tolist()]

    def moments(self, blocks: Sequence[int] | None = None) -> Moments:
        """Of the samples in these blocks together, None: of all.

        Raises:
            ValueError: fewer than two samples, or a feature on a GPU was not finite.
        """
        n, mean, covariance = self._of(range(self.blocks) if blocks is None else blocks)
        if n < 2:
            raise ValueError("samples are 1, wanted at least 2 for a covariance")
        return Moments(n, mean, covariance)

    def in_fewer_blocks(self, blocks: int) -> FeatureMoments:
        """The same samples: those of block b here are in block b % ``blocks`` there.

        Raises:
            ValueError: these are no multiple of ``blocks``, or a feature on a GPU was not finite.
        """
        if self.blocks % blocks:
            raise ValueError(f"blocks is {blocks}, wanted a divisor of the {self.blocks} here")
        self._refuse_late()
        self._add_waiting()
        fewer = FeatureMoments(self.dim, blocks=blocks, start=self.start, device=self._sum.device)
        fewer._set_origin(self._origin)
        for name in ("_count", "_sum", "_products"):
            for block, total in enumerate(getattr(fewer, name)):
                torch.sum(getattr(self, name)[block::blocks], 0, out=total)
        fewer.samples = self.samples
        return fewer

    def block_means(self, centre: Tensor, matrix: Tensor) -> tuple[Tensor, Tensor]:
        """[blocks, D] and [blocks], float64, on the CPU: the mean over each block of x - ``centre``, and of (x -
        ``centre``)^T ``matrix`` (x - ``centre``).

        Args:
            centre: [D], float64.
            matrix: [D, D], float64, symmetric.

        Raises:
            ValueError: a block without samples, or a feature on a GPU that was not finite.
        """
        self._refuse_late()
        self._add_waiting()
        if not bool(self._count.all()):
            raise ValueError(f"samples are {self.samples}, wanted at least one for each of {self.blocks} blocks")
        means = (self._sum / self._count[:, None]).cpu()
        off = centre - self._origin.cpu()
        forms = []
        halved = (2 * matrix.tril(-1) + matrix.diag().diag()).to(self._products.device)  # the lower triangle is all
        for mean, count, products in zip(means, self._count, self._products, strict=True):
            about_origin = float((products * halved).sum() / count)
            forms.append(about_origin - 2 * float(mean @ matrix @ off) + float(off @ matrix @ off))
        return means - off, torch.tensor(forms, dtype=torch.float64)

    def merge(self, other: FeatureMoments) -> None:
        """Add the samples of another with the same settings (of another process, say), which stays as it was.

        Raises:
            ValueError: settings differ, or a feature on a GPU was not finite.
        """
        self._require_same_settings(other)
        for one in (self, other):
            one._require_mergeable()
        if not other._has_origin:
            return
        if not self._has_origin:
            self._set_origin(other._origin)
        device = self._sum.device
        by = other._origin.to(device) - self._origin
        for block in range(self.blocks):
            count, total = other._count[block].to(device), other._sum[block].to(device)
            self._products[block] += other._products[block].to(device)
            _shift(self._products[block], total, count, by)
            self._sum[block] += total + count * by
            self._count[block] += count
        self._set_numbers([sum(pair) for pair in zip(self._numbers(), other._numbers(), strict=True)])

    def all_reduce(self, group: distributed.ProcessGroup | None = None) -> None:
        """Make the samples of all processes of the group those of each: every process must call, once, in the end. One
        that has seen no samples does not know where those of the others are, unless it was given a ``device``.

        Raises:
            ValueError: a feature on a GPU was not finite, on the process where it happens.
        """
        self._require_mergeable()
        known = self._origin.new_tensor([float(self._has_origin)])
        told = gather_tensors(torch.cat([known, self._origin]), group)
        origins = [one[1:] for one in told if bool(one[0])]
        if origins:
            self._move_to(origins[0])
        counts = self._origin.new_tensor(self._numbers())
        for sums in (self._count, self._sum, *self._products, counts):  # one message of all would be a copy of them
            distributed.all_reduce(sums, group=group)
        self._set_numbers([int(number) for number in counts.tolist()])

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from a :meth:`state_dict`.

        Raises:
            ValueError: a key is missing, or settings differ from those here. Nothing is changed then.
        """
        super().load_state_dict(state)
        self._waiting_rows = 0
        self._has_origin = self.samples > 0

    def _states(self) -> dict[str, Tensor]:
        return {"origin": self._origin, "count": self._count, "sum": self._sum, "products": self._products}

    def _of(self, blocks: Iterable[int]) -> tuple[int, Tensor, Tensor]:
        self._refuse_late()
        self._add_waiting()
        chosen = list(blocks)
        n = float(self._count[chosen].sum())
        if not n:
            raise ValueError("samples are 0, wanted at least one update before")
        mean = self._sum[chosen].sum(0) / n
        lower = self._products[chosen[0]].clone()
        for block in chosen[1:]:
            lower += self._products[block]
        lower.addr_(mean, mean, alpha=-n).div_(max(n - 1, 1))
        return int(n), (self._origin + mean).cpu(), _mirrored(lower.cpu())

    def _wait(self, rows: Tensor, dtype: torch.dtype) -> None:
        """Few rows at a time would be added at the speed of the memory of the sums: they wait until there are many."""
        first = 0
        while first < len(rows):
            waiting = self._room(dtype, self.samples + first - self._waiting_rows)
            part = rows[first : first + len(waiting) - self._waiting_rows]
            waiting[self._waiting_rows : self._waiting_rows + len(part)] = part
            self._waiting_rows += len(part)
            first += len(part)
            if self._waiting_rows == len(waiting):
                self._flush(self.start + self.samples + first - self._waiting_rows)

    def _room(self, dtype: torch.dtype, added: int) -> Tensor:
        """Where rows wait that are to be added in ``dtype`` when so many have been added.

        Where there are few, the covariance is singular, or nearly so, and float32 would leave eigenvalues in the place
        of 0 whose roots count.
        """
        if added < _IN_DOUBLE * self.dim:
            dtype = torch.float64
        now = self._waiting
        if now is not None and (now.dtype == dtype or (self._waiting_rows and now.dtype == torch.float64)):
            return now
        self._add_waiting()
        at_once = _rows_at_once(self.dim) * 4 // dtype.itemsize
        self._waiting = torch.empty(at_once * self.blocks, self.dim, dtype=dtype, device=self._sum.device)
        return self._waiting

    def _add_waiting(self) -> None:
        if self._waiting_rows:
            self._flush(self.start + self.samples - self._waiting_rows)

    def _flush(self, place: int) -> None:
        """The rows that wait, of which the first is sample ``place``."""
        assert self._waiting is not None
        rows = self._waiting[: self._waiting_rows]
        self._waiting_rows = 0
        if not self._has_origin:
            mean = rows.mean(0, dtype=torch.float64)
            rounded = mean.float().double()  # exact where it is subtracted in float32
            self._set_origin(torch.where(rounded.isfinite(), rounded, mean))
        for block, own in rows_by_block(rows, place, self.blocks):
            centred = own - self._origin.to(own.dtype)
            self._count[block] += len(own)
            self._sum[block] += centred.sum(0, dtype=torch.float64)
            _add_products(self._products[block], centred)

    def _set_origin(self, origin: Tensor) -> None:
        """Before there are sums."""
        self._origin.copy_(origin)
        self._has_origin = True

    def _move_to(self, origin: Tensor) -> None:
        """Sums about another origin."""
        by = self._origin - origin
        for products, total, count in zip(self._products, self._sum, self._count, strict=True):
            _shift(products, total, count, by)
            total += count * by
        self._set_origin(origin)


def accumulate_features(name: str, features: Array | Iterable[Array]) -> FeatureMoments:
    """All of the features, [N, D], or batches of these.

    Raises:
        TypeError, ValueError: as :meth:`FeatureMoments.update`, or no batch; ``name`` is what messages call them.
    """
    moments: FeatureMoments | None = None
    for batch in batches_of(name, features):
        rows = as_features(name, batch, None if moments is None else moments.dim)
        if moments is None:
            moments = FeatureMoments(rows.size(1))
        moments.update(rows)
    assert moments is not None  # batches_of refuses none
    return moments


def check_dim(dim: int) -> None:
    """
    Raises:
        ValueError: below 1.
    """
    if dim < 1:
        raise ValueError(f"dim is {dim}, wanted at least 1")


def _blocks_that_fit(dim: int) -> int:
    fit = _STATE_BYTES // (8 * dim * dim)
    return min(max(fit // _UNIT * _UNIT, _FEWEST_BLOCKS), _MOST_BLOCKS)


def largest_finite(rows: Tensor, place: int) -> float:
    """The largest magnitude of features on a CPU, [N, D], N at least 1, the first being sample ``place``.

    Raises:
        ValueError: one is not finite.
    """
    least, greatest = (float(x) for x in rows.aminmax())  # NaN goes through
    if not math.isfinite(least) or not math.isfinite(greatest):
        row = int((~rows.isfinite().all(1)).nonzero()[0])
        kind = "NaN" if bool(rows[row].isnan().any()) else "infinity"
        raise ValueError(f"features of row {row} (sample {place + row}) hold {kind}, wanted finite ones")
    return max(-least, greatest)


def state_bytes(dim: int, blocks: int) -> int:
    """What the sums take, and the rows that wait."""
    return 8 * blocks * (dim * dim + dim + 1 + _rows_at_once(dim) * dim)


def _rows_at_once(dim: int) -> int:
    return min(max(dim // 2, _FEWEST_ROWS), _MOST_ROWS)


def _add_products(total: Tensor, rows: Tensor) -> None:
    """Add the lower triangle of ``rows``^T ``rows`` to that of ``total``, [D, D], float64; what is above is void."""
    for first in range(0, rows.size(1), _COLUMNS_AT_ONCE):
        columns = slice(first, first + _COLUMNS_AT_ONCE)
        tile = total[first:, columns]
        if rows.dtype == total.dtype:
            tile.addmm_(rows[:, first:].T, rows[:, columns])
        else:
            tile += rows[:, first:].T @ rows[:, columns]


def _shift(products: Tensor, total: Tensor, count: Tensor, by: Tensor) -> None:
    """Make products of ``count`` features that add up to ``total`` those of features that are greater ``by`` so much,
    sum (x + d)(x + d)^T = sum x x^T + s d^T + d (s + n d)^T."""
    products.addr_(total, by).addr_(by, total + count * by)


def _mirrored(lower: Tensor) -> Tensor:
    """Symmetric, from the lower triangle."""
    triangle = lower.tril()
    return triangle + triangle.tril(-1).T
