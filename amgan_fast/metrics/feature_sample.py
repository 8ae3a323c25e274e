"""A random choice of the features of samples that come batch by batch, which does not depend on how they come."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, distributed

from amgan_fast.memory import to_device
from amgan_fast.metrics.arrays import Array, as_labels
from amgan_fast.metrics.feature_arrays import as_features, refuse_not_finite
from amgan_fast.metrics.late_checks import LateFeatures
from amgan_fast.metrics.split_mix import split_mix
from amgan_fast.processes import gather_tensors


class FeatureSample:
    """Keeps at most ``most`` of the features of all samples, each as likely as any other, for scores that need features
    and not moments of them. The memory is that of ``most`` features however many samples there are.

    Which are kept is decided by the samples' numbers 0, 1, 2, ... alone: each number has a pseudorandom priority
    (SplitMix64 of it), and the ``most`` numbers with the least priorities are kept (bottom-k sampling: Cohen and
    Kaplan, "Summarizing data using bottom-k sketches", 2007). So one pass keeps what shards keep that are merged in any
    order, or processes together, in whatever batches.

    Args:
        dim: D, values of a feature, at least 1.
        most: how many are kept, at least 1. With at least as many as samples: all.
        start: the number of the first sample, where others (other shards) have those before it.
        device: where features are kept; None: the CPU.

    Raises:
        ValueError: ``dim`` or ``most`` below 1, or ``start`` below 0.

    >>> import torch
    >>> from amgan_fast.metrics import FeatureSample
    >>> features = torch.rand(1000, 4)
    >>> whole, shard, other_shard = FeatureSample(4, 50), FeatureSample(4, 50), FeatureSample(4, 50, start=600)
    >>> for batch in features.split(64):
    ...     whole.update(batch)
    >>> shard.update(features[:600])
    >>> other_shard.update(features[600:])
    >>> shard.merge(other_shard)
    >>> torch.equal(shard.features, whole.features), whole.samples, list(whole.features.shape)
    (True, 1000, [50, 4])
    """

    def __init__(
        self, dim: int, most: int = 10_000, *, start: int = 0, device: torch.device | str | None = None
    ) -> None:
        for name, value, least in (("dim", dim, 1), ("most", most, 1), ("start", start, 0)):
            if value < least:
                raise ValueError(f"{name} is {value}, wanted at least {least}")
        self.dim = dim
        self.most = most
        self.samples = 0
        """Samples seen."""
        self._next = start  # the number of the next sample
        self._has_labels: bool | None = None  # None: no samples yet
        # Kept in no order; `_rows` has room for more, so that a new feature replaces an old one in its place.
        self._indices = torch.empty(0, dtype=torch.int64)
        self._labels = torch.empty(0, dtype=torch.int64)
        self._rows = torch.empty(0, dim, device=device or "cpu")
        self._late = LateFeatures(device)

    def update(self, features: Array, labels: Array | None = None) -> None:
        """Add a batch, whose samples have the next numbers.

        Args:
            features: [N, D], floating point, finite also in float32, in which they are kept.
            labels: [N], integers, kept beside; with each batch or with none.

        Raises:
            TypeError: no tensors or arrays, or of another dtype.
            ValueError: another shape, a feature that is not finite, or labels with some batches alone. Nothing is
                added then. Of features on a GPU, which nothing waits for where they are kept there too, one that is not
                finite is found by what reads them, which names its batch.
        """
        features = as_features("features", features, self.dim)
        count = len(features)
        if labels is not None:
            labels = as_labels(labels, count).long().cpu()
        if count and self._has_labels not in (None, labels is not None):
            found, wanted = ("no labels", "labels") if labels is None else ("labels", "none")
            raise ValueError(f"this batch has {found}, wanted {wanted} as with those before it")
        if features.is_cuda and count:
            self._late.look(features.float(), self._next)
        else:
            refuse_not_finite("features", features, self._next)
        if count:
            self._has_labels = labels is not None
        indices = torch.arange(self._next, self._next + count)
        self._add(indices, features, torch.zeros(count, dtype=torch.int64) if labels is None else labels)
        self._next += count
        self.samples += count

    @property
    def features(self) -> Tensor:
        """float32 [n, D], n = min(samples, ``most``): those kept, in the order of their numbers."""
        self._late.refuse()
        return self._rows[to_device(self._order(), self._rows.device)]

    @property
    def indices(self) -> Tensor:
        """int64 [n]: their numbers, ascending."""
        return self._indices[self._order()]

    @property
    def labels(self) -> Tensor | None:
        """int64 [n]: the labels beside :attr:`features`; None where none were given."""
        return self._labels[self._order()] if self._has_labels else None

    @property
    def is_whole(self) -> bool:
        """Whether all samples are kept."""
        return self.samples <= self.most

    def thinned(self, most: int) -> FeatureSample:
        """What one would have kept that was to keep at most ``most``, no more than here.

        Raises:
            ValueError: ``most`` is more than are kept here, or below 1.

        >>> import torch
        >>> from amgan_fast.metrics import FeatureSample
        >>> sample = FeatureSample(2, 500)
        >>> sample.update(torch.rand(2000, 2))
        >>> sample.thinned(100).features.shape
        torch.Size([100, 2])
        """
        if most > self.most and not self.is_whole:
            raise ValueError(f"most is {most}, wanted at most the {self.most} that are kept")
        self._late.refuse()
        fewer = FeatureSample(self.dim, most, device=self._rows.device)
        fewer._add(self._indices, self._rows[: len(self._indices)], self._labels)
        fewer.samples, fewer._next, fewer._has_labels = self.samples, self._next, self._has_labels
        return fewer

    def merge(self, other: FeatureSample) -> None:
        """Add the samples of another (of another process, say). Samples that come later go on after both.

        Raises:
            ValueError: it has another ``dim`` or ``most``, samples of the same numbers, or labels where these have
                none. Nothing is changed then.
        """
        self._require_same("other", {"dim": other.dim, "most": other.most})
        for one in (self, other):
            one._late.refuse()
        if len({self._has_labels, other._has_labels} - {None}) > 1:
            found, wanted = ("labels", "none") if other._has_labels else ("no labels", "labels")
            raise ValueError(f"other has {found}, wanted {wanted} as here")
        twice = other._indices[torch.isin(other._indices, self._indices)]
        if len(twice):
            raise ValueError(
                f"other has sample {int(twice.min())}, which is here too, wanted other samples: start says the number "
                "of the first"
            )
        if self._has_labels is None:
            self._has_labels = other._has_labels
        self._add(other._indices, other._rows[: len(other._indices)], other._labels)
        self.samples += other.samples
        self._next = max(self._next, other._next)

    def all_reduce(self, group: distributed.ProcessGroup | None = None) -> None:
        """Make the samples of all processes of the group those of each: every process must call, once, in the end. No
        process holds more than twice the features that are kept.

        Raises:
            ValueError: as for :meth:`merge`, on every process.
        """
        self._late.refuse()
        device = self._rows.device
        labels = -1 if self._has_labels is None else int(self._has_labels)
        numbers = [self.dim, self.most, labels, len(self._indices), self.samples, self._next]
        told = torch.stack(gather_tensors(torch.tensor(numbers, device=device), group))
        for process in told.tolist():
            self._require_same("another process", {"dim": process[0], "most": process[1]})
        if len(with_labels := {int(one) for one in told[:, 2]} - {-1}) > 1:
            raise ValueError("some processes have labels, wanted all or none of them")
        padded = torch.full((int(told[:, 3].max()),), -1, dtype=torch.int64, device=device)
        padded[: len(self._indices)] = self._indices.to(device)
        indices = torch.cat(gather_tensors(padded, group)).cpu()
        indices = indices[indices >= 0]
        if len(indices.unique()) < len(indices):
            raise ValueError("processes have samples of the same numbers, wanted other ones: start says the first")
        indices = indices[_least(indices, self.most)].sort().values
        # Each kept sample is one process's: the sum over all is that one's, to the last bit.
        mine = torch.isin(self._indices, indices)
        places = torch.searchsorted(indices, self._indices[mine]).to(device)
        rows = torch.zeros(len(indices), self.dim, device=device)
        rows[places] = self._rows[: len(self._indices)][mine.to(device)]
        beside = torch.zeros(len(indices), dtype=torch.int64, device=device)
        beside[places] = self._labels[mine].to(device)
        distributed.all_reduce(rows, group=group)
        distributed.all_reduce(beside, group=group)
        self._indices, self._rows, self._labels = indices, rows, beside.cpu()
        self._has_labels = bool(with_labels.pop()) if with_labels else None
        self.samples, self._next = int(told[:, 4].sum()), int(told[:, 5].max())

    def state_dict(self) -> dict[str, Any]:
        """Everything, as numbers and tensors: torch.load(weights_only=True) takes it."""
        return {
            "dim": self.dim,
            "most": self.most,
            "samples": self.samples,
            "next": self._next,
            "indices": self.indices,
            "features": self.features.cpu(),
            "labels": self.labels,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from a :meth:`state_dict`.

        Raises:
            ValueError: a key is missing, ``dim`` or ``most`` are not those here, or tensors are none that
                ``state_dict`` gives. Nothing is changed then.
        """
        for name in ("dim", "most", "samples", "next", "indices", "features", "labels"):
            if name not in state:
                raise ValueError(f"state has no {name}, wanted what state_dict() returned")
        self._require_same("state", state)
        samples, following = int(state["samples"]), int(state["next"])
        indices, rows, labels = state["indices"], state["features"], state["labels"]
        count = min(samples, self.most)
        wanted = {"indices": ((count,), torch.int64), "features": ((count, self.dim), torch.float32)}
        if labels is not None:
            wanted["labels"] = ((count,), torch.int64)
        for name, (shape, dtype) in wanted.items():
            found = state[name]
            if not isinstance(found, Tensor) or found.shape != shape or found.dtype != dtype:
                is_one = isinstance(found, Tensor)
                what = f"of shape {list(found.shape)}, {found.dtype}" if is_one else f"= {type(found).__name__}"
                raise ValueError(f"state has {name} {what}, wanted {list(shape)}, {dtype}")
        ascending = bool((indices.diff() > 0).all())
        if count and not (ascending and int(indices[0]) >= 0 and int(indices[-1]) < following):
            raise ValueError(f"state has indices that do not ascend from 0 to below {following}")
        refuse_not_finite("state's features", rows, 0)
        self.samples, self._next = samples, following
        self._indices = indices.to("cpu", copy=True)
        self._rows = rows.to(self._rows.device, copy=True)
        self._labels = torch.zeros_like(self._indices) if labels is None else labels.to("cpu", copy=True)
        self._has_labels = None if not samples else labels is not None
        self._late.forget()

    def _require_same(self, name: str, settings: Mapping[str, int]) -> None:
        for setting in ("dim", "most"):
            if settings[setting] != getattr(self, setting):
                raise ValueError(f"{name} has {setting} = {settings[setting]}, wanted {getattr(self, setting)} as here")

    def _order(self) -> Tensor:
        return self._indices.argsort()

    def _add(self, indices: Tensor, rows: Tensor, labels: Tensor) -> None:
        """Samples of these numbers, as far as they are among the least."""
        kept = len(self._indices)
        least = _least(torch.cat([self._indices, indices]), self.most)
        is_out = torch.ones(kept, dtype=torch.bool)
        is_out[least[least < kept]] = False
        new = least[least >= kept] - kept
        # Into the places of those that are out, and behind them.
        places = torch.cat([is_out.nonzero()[:, 0], torch.arange(kept, len(least))])
        self._make_room(len(least))
        self._indices[places], self._labels[places] = indices[new], labels[new]
        device = self._rows.device
        self._rows[to_device(places, device)] = to_device(rows[to_device(new, rows.device)], device).float()

    def _make_room(self, count: int) -> None:
        """For so many samples; of their features for twice as many as there is room for, so that they move seldom."""
        self._indices, self._labels = (
            torch.cat([x, x.new_empty(count - len(x))]) for x in (self._indices, self._labels)
        )
        if count > (room := len(self._rows)):
            larger = self._rows.new_empty(min(max(count, 2 * room), self.most), self.dim)
            larger[:room] = self._rows
            self._rows = larger


def kept_features(name: str, features: Array | FeatureSample, least: int) -> Tensor:
    """float32 [n, D]: those of a score's argument, which may be a :class:`FeatureSample`.

    Args:
        name: of the argument.
        least: how many there are to be.

    Raises:
        TypeError, ValueError: as for :meth:`FeatureSample.update`; or there are fewer than ``least``.
    """
    if isinstance(features, FeatureSample):
        features = features.features
    else:
        features = as_features(name, features)
        refuse_not_finite(name, features, 0)
    if len(features) < least:
        raise ValueError(f"{name} are {len(features)} features, wanted at least {least}")
    return features.float()


def kept_pair(
    samples: Array | FeatureSample, others: Array | FeatureSample, least: int, name: str = "reference"
) -> tuple[Tensor, Tensor]:
    """Of a score's ``samples`` and of what they are compared with: :func:`kept_features` of both, on the device of the
    samples.

    Args:
        name: of the argument ``others``.

    Raises:
        TypeError, ValueError: as for :func:`kept_features`, or features of another length.
    """
    first, second = kept_features("samples", samples, least), kept_features(name, others, least)
    if first.size(1) != second.size(1):
        raise ValueError(f"samples have {first.size(1)} values each, wanted {second.size(1)} as {name}")
    return first, second.to(first.device)


def _least(indices: Tensor, most: int) -> Tensor:
    """[min(N, ``most``)]: the places of those with the least priorities, ascending."""
    if len(indices) <= most:
        return torch.arange(len(indices))
    return split_mix(indices).topk(most, largest=False, sorted=False).indices.sort().values
