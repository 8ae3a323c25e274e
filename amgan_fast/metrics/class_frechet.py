"""The Fréchet distance within classes: of each one's features to those of the same class of a reference."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import distributed

from amgan_fast.errors import some_of
from amgan_fast.memory import fits_in_half_of, memory_of, to_device
from amgan_fast.metrics.arrays import Array, as_labels
from amgan_fast.metrics.estimate import Estimate, joint_error
from amgan_fast.metrics.feature_arrays import as_features
from amgan_fast.metrics.feature_moments import FeatureMoments, check_dim, largest_finite, state_bytes
from amgan_fast.metrics.frechet import FrechetDistance, frechet_distance, limit
from amgan_fast.metrics.numbers import Numbers

_SETTINGS = ("dim", "num_classes", "blocks")


class ClassFeatureMoments:
    """Collects features with labels batch by batch; :func:`class_frechet_distance` compares them class by class.

    There is one :class:`FeatureMoments` for each class, in whose blocks the samples of the class come in turn. Memory
    is that of one times the classes, however many samples there are: 10 classes of 2,048 features in 8 blocks take 3.4
    GB.

    Args:
        dim: the number of features D, at least 1.
        num_classes: at least 1.
        blocks: as of :class:`FeatureMoments`, for each class.
        starts: of each class, the samples that others take before the first one here; None: there are none.
        device: where the sums are kept; None: where the first features are.

    Raises:
        ValueError: an argument out of its range, or more memory than half of what the device has.

    >>> import torch
    >>> from amgan_fast.metrics import ClassFeatureMoments
    >>> moments = ClassFeatureMoments(dim=2, num_classes=2)
    >>> moments.update(torch.tensor([[0.0, 1.0], [5.0, 5.0], [2.0, 3.0]]), torch.tensor([0, 1, 0]))
    >>> moments.class_samples, moments.of_class(0).mean.tolist()
    ([2, 1], [1.0, 2.0])
    """

    def __init__(
        self,
        dim: int,
        num_classes: int,
        *,
        blocks: int = 8,
        starts: Sequence[int] | None = None,
        device: torch.device | str | None = None,
    ) -> None:
        check_dim(dim)
        if num_classes < 1:
            raise ValueError(f"num_classes is {num_classes}, wanted at least 1")
        _require_memory(dim, num_classes, blocks, torch.device(device or "cpu"))
        self.dim = dim
        self.num_classes = num_classes
        self.blocks = blocks
        if starts is not None and len(starts) != num_classes:
            raise ValueError(f"starts are {len(starts)}, wanted {num_classes}, one for each class")
        first = [0] * num_classes if starts is None else starts
        self._classes = [FeatureMoments(dim, blocks=blocks, start=start, device=device) for start in first]

    @staticmethod
    def bytes_of(dim: int, num_classes: int, blocks: int = 8) -> int:
        """The memory that one takes.

        >>> from amgan_fast.metrics import ClassFeatureMoments
        >>> round(ClassFeatureMoments.bytes_of(2048, 10) / 1e9, 1)
        3.4
        """
        return num_classes * state_bytes(dim, blocks)

    @property
    def samples(self) -> int:
        """Samples seen."""
        return sum(self.class_samples)

    @property
    def class_samples(self) -> list[int]:
        """Those of each class."""
        return [moments.samples for moments in self._classes]

    def of_class(self, label: int) -> FeatureMoments:
        """The moments of a class, which go on with its samples."""
        return self._classes[label]

    def update(self, features: Array, labels: Array) -> None:
        """Add a batch. On a GPU nothing waits for it where labels are on the CPU.

        Args:
            features: [N, D], as :meth:`FeatureMoments.update` takes them.
            labels: [N], integers 0 to ``num_classes`` - 1: true labels, or those that samples were asked for.

        Raises:
            TypeError: no tensors or arrays, or dtypes of another kind.
            ValueError: a wrong shape, a label out of range, or a feature that is not finite. Nothing of the batch is
                added then. On a GPU such a feature is found by the next call that reads the sums, which tells where it
                is among the samples of its class.
        """
        rows = as_features("features", features, self.dim)
        of_row = as_labels(as_labels(labels, len(rows)).cpu(), len(rows), below=self.num_classes)
        if not len(rows):
            return
        if not rows.is_cuda:
            largest_finite(rows, self.samples)
        for label in of_row.unique().tolist():
            own = (of_row == label).nonzero().squeeze(1)
            self._classes[label].update(rows[to_device(own, rows.device)])

    def merge(self, other: ClassFeatureMoments) -> None:
        """Add the samples of another with the same settings (of another process, say), which stays as it was.

        Raises:
            ValueError: settings differ, or a feature on a GPU was not finite.
        """
        for name in _SETTINGS:
            mine, others = getattr(self, name), getattr(other, name)
            if mine != others:
                raise ValueError(f"other has {name} = {others}, wanted {mine} as here")
        for own, theirs in zip(self._classes, other._classes, strict=True):
            own.merge(theirs)

    def all_reduce(self, group: distributed.ProcessGroup | None = None) -> None:
        """Make the samples of all processes of the group those of each: every process must call, once, in the end. One
        that has no samples of a class does not know where those of the others are, unless it was given a ``device``.

        Raises:
            ValueError: a feature on a GPU was not finite, on the process where it happens.
        """
        for moments in self._classes:
            moments.all_reduce(group)

    def state_dict(self) -> dict[str, Any]:
        """Everything, as numbers and tensors: torch.load(weights_only=True) takes it."""
        states = [moments.state_dict() for moments in self._classes]
        sums = {name: torch.stack([state[name] for state in states]) for name in self._shapes}
        return {name: getattr(self, name) for name in _SETTINGS} | {"samples": self.class_samples} | sums

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from a :meth:`state_dict`.

        Raises:
            ValueError: a key is missing, or settings differ from those here. Nothing is changed then.
        """
        sums = self._shapes
        for name in (*_SETTINGS, "samples", *sums):
            if name not in state:
                raise ValueError(f"state has no {name}, wanted what state_dict() returned")
        for name in _SETTINGS:
            if state[name] != getattr(self, name):
                raise ValueError(f"state has {name} = {state[name]}, wanted {getattr(self, name)} as here")
        if len(state["samples"]) != self.num_classes:
            raise ValueError(f"state has samples of {len(state['samples'])} classes, wanted {self.num_classes}")
        for name, shape in sums.items():
            if list(state[name].shape) != [self.num_classes, *shape]:
                found, wanted = list(state[name].shape), [self.num_classes, *shape]
                raise ValueError(f"state has {name} of shape {found}, wanted {wanted}")
        for label, moments in enumerate(self._classes):
            own = {name: state[name][label] for name in ("samples", *sums)}
            moments.load_state_dict({"dim": self.dim, "blocks": self.blocks} | own)

    @property
    def _shapes(self) -> dict[str, list[int]]:
        """Of the sums of a class, by name."""
        return {name: list(sums.shape) for name, sums in self._classes[0]._states().items()}


@dataclass(frozen=True, kw_only=True, repr=False)
class ClassFrechetDistance(Numbers):
    """What :func:`class_frechet_distance` finds; lower is better.

    >>> import torch
    >>> from amgan_fast.metrics import ClassFeatureMoments, class_frechet_distance
    >>> features = torch.randn(2, 900, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    >>> labels = torch.arange(900) % 2
    >>> mine, others = ClassFeatureMoments(3, num_classes=3), ClassFeatureMoments(3, num_classes=3)
    >>> mine.update(features[0] + labels[:, None], labels)
    >>> others.update(features[1], labels)
    >>> print(class_frechet_distance(mine, others))
    Fréchet distance within classes, of 2   (lower is better)
      mean            1.6837
      corrected       1.6584, 95% interval 1.4044 to 1.9124
      class   distance  corrected   95% interval
          0     0.0140     0.0000   0.0000 to 0.0145
          1     3.3534     3.3288   2.8212 to 3.8364
      Warning: classes 2 have fewer than two samples and are not in the mean
    """

    classes: tuple[FrechetDistance | None, ...]
    """Of each class; None: it has fewer than two samples on one of the sides."""
    value: float
    """The mean of the plain distances, as it is published."""
    corrected: float | None
    """The mean of the distances of infinitely many samples, at least 0 (:attr:`unlimited`). None where one of the
    classes has too few samples for its correction."""
    ci95: tuple[float, float] | None
    """The 95% interval of that, not below 0. None as above."""
    unlimited: float | None
    """The corrected mean where chance has taken it below 0; else None."""
    estimate: Estimate | None
    """The corrected mean as it was before it was limited, with its standard error. None as above."""

    @property
    def missing(self) -> tuple[int, ...]:
        """Classes without a distance, which are not in the mean."""
        return tuple(label for label, found in enumerate(self.classes) if found is None)

    @property
    def warnings(self) -> tuple[str, ...]:
        """What makes the mean doubtful: classes that are missing in it, and such with few samples."""
        found = []
        if self.missing:
            names = some_of([str(label) for label in self.missing])
            found.append(f"classes {names} have fewer than two samples and are not in the mean")
        few = [label for label, distance in enumerate(self.classes) if distance is not None and distance.few_samples]
        if few:
            names = some_of([str(label) for label in few])
            found.append(f"classes {names}: {self._of(few[0]).warnings[0]}")
        return tuple(found)

    def to_dict(self) -> dict[str, Any]:
        """Plain values, and the warnings."""
        return super().to_dict() | {"warnings": list(self.warnings)}

    def __str__(self) -> str:
        present = [label for label in range(len(self.classes)) if label not in self.missing]
        lines = [
            f"Fréchet distance within classes, of {len(present)}   (lower is better)",
            f"  mean{self.value:>18.4f}",
        ]
        if self.corrected is not None and self.ci95 is not None:
            lines.append(f"  corrected{self.corrected:>13.4f}, 95% interval {_interval(self.ci95)}")
        lines.append("  class   distance  corrected   95% interval")
        for label in present:
            one = self._of(label)
            corrected = "" if one.corrected is None else f"{one.corrected:>11.4f}   {_interval(one.ci95)}"
            lines.append(f"  {label:5d}{one.value:>11.4f}{corrected}")
        return "\n".join(lines + [f"  Warning: {text}" for text in self.warnings])

    def _of(self, label: int) -> FrechetDistance:
        found = self.classes[label]
        assert found is not None
        return found


def class_frechet_distance(samples: ClassFeatureMoments, reference: ClassFeatureMoments) -> ClassFrechetDistance:
    """The Fréchet distance of each class to the same class of a reference, and the mean over classes: with the features
    of Inception the intra-FID (Miyato and Koyama, arXiv 1802.05637, section 4).

    Classes are independent: their errors go into that of the mean as they are. What the extrapolation of each leaves
    (:attr:`FrechetDistance.third_order`) may be alike in all, and is averaged.

    Args:
        samples: of as many features and classes as the reference.
        reference: real ones, mostly.

    Raises:
        ValueError: other numbers of features or classes, or no class with two samples on both sides.

    >>> import torch
    >>> from amgan_fast.metrics import ClassFeatureMoments, class_frechet_distance
    >>> moments = ClassFeatureMoments(dim=2, num_classes=1)
    >>> moments.update(torch.randn(100, 2), torch.zeros(100, dtype=torch.int64))
    >>> class_frechet_distance(moments, moments).value
    0.0
    """
    for name in ("dim", "num_classes"):
        mine, others = getattr(samples, name), getattr(reference, name)
        if mine != others:
            raise ValueError(f"reference has {name} = {others}, wanted {mine} as samples have")
    classes = tuple(
        frechet_distance(*pair) if min(one.samples for one in pair) >= 2 else None
        for pair in zip(samples._classes, reference._classes, strict=True)
    )
    found = [one for one in classes if one is not None]
    if not found:
        raise ValueError("no class has two samples on both sides, wanted at least one")
    estimate = _mean(found)
    corrected, interval, unlimited = limit(estimate)
    return ClassFrechetDistance(
        classes=classes,
        value=math.fsum(one.value for one in found) / len(found),
        corrected=corrected,
        ci95=interval,
        unlimited=unlimited,
        estimate=estimate,
    )


def _mean(distances: list[FrechetDistance]) -> Estimate | None:
    """Of the corrected ones; None where one has none."""
    known = [
        (one.estimate.value, one.estimate.standard_error, one.estimate.degrees_of_freedom, one.third_order)
        for one in distances
        if one.estimate is not None
    ]
    count, errors, left = len(distances), [], []
    for _, error, freedom, third_order in known:
        assert error is not None
        assert freedom is not None
        assert third_order is not None
        errors.append((math.sqrt(max(error**2 - third_order**2, 0.0)) / count, freedom))
        left.append(third_order)
    if len(known) < count:
        return None
    by_chance, freedom = joint_error(errors)
    value = math.fsum(one for one, *_ in known) / count
    return Estimate(value, math.hypot(by_chance, math.fsum(left) / count), freedom)


def _interval(bounds: tuple[float, float] | None) -> str:
    return "" if bounds is None else f"{bounds[0]:.4f} to {bounds[1]:.4f}"


def _require_memory(dim: int, num_classes: int, blocks: int, device: torch.device) -> None:
    """Before any of it is taken."""
    size = ClassFeatureMoments.bytes_of(dim, num_classes, blocks)
    if device.type != "meta" and not fits_in_half_of(device, size):
        raise ValueError(
            f"moments of {num_classes:,} classes of {dim:,} features in {blocks} blocks take {size / 1e9:,.1f} GB, "
            f"wanted at most half of the {memory_of(device) / 1e9:,.1f} GB there are: fewer classes, features or blocks"
        )
