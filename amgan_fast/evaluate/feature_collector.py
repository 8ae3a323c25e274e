"""What is kept of samples' features in one pass, for the scores that compare them with others."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor

from amgan_fast.metrics import ClassFeatureMoments, FeatureMoments, FeatureSample

_CLASS_BYTES = 2**30  # of the moments of all classes
_FLOAT_BYTES = 4


@dataclass(frozen=True)
class FeatureKeeping:
    """What of them is kept.

    >>> from amgan_fast.evaluate.feature_collector import FeatureKeeping
    >>> FeatureKeeping(dim=64, most=10_000).classes is None
    True
    """

    dim: int
    """Features of a sample."""
    most: int
    """Samples whose features are kept as they are."""
    classes: int | None = None
    """The number of classes whose moments are kept apart; None: none are."""
    too_large: bool = False
    """Whether that is since they would take more than 1 GiB."""

    @classmethod
    def of(cls, dim: int, most: int, classes: int | None) -> FeatureKeeping:
        """With the moments of ``classes``, where these are known and not too large: by one limit for all processes."""
        too_large = classes is not None and ClassFeatureMoments.bytes_of(dim, classes) > _CLASS_BYTES
        return cls(dim, most, None if too_large else classes, too_large)

    @property
    def memory(self) -> int:
        """The bytes that all of it takes."""
        classes = 0 if self.classes is None else ClassFeatureMoments.bytes_of(self.dim, self.classes)
        return FeatureMoments.bytes_of(self.dim) + _FLOAT_BYTES * self.most * self.dim + classes


class FeatureCollector:
    """Takes features batch by batch: their moments, those of each class, and the features of some samples.

    The state does not grow with the samples. It can be merged, saved and loaded as accumulators of scores can.

    Args:
        keeping: what is kept.
        device: of the features.
        start: samples that other processes take before the first one here.
        class_starts: those of each class; None: none.

    >>> import torch
    >>> from amgan_fast.evaluate.feature_collector import FeatureCollector, FeatureKeeping
    >>> collector = FeatureCollector(FeatureKeeping(dim=3, most=10), torch.device("cpu"))
    >>> collector.update(torch.rand(50, 3), None)
    >>> collector.moments.samples, list(collector.sample.features.shape)
    (50, [10, 3])
    """

    def __init__(
        self,
        keeping: FeatureKeeping,
        device: torch.device,
        *,
        start: int = 0,
        class_starts: Sequence[int] | None = None,
    ) -> None:
        self.keeping = keeping
        self.moments = FeatureMoments(keeping.dim, start=start, device=device)
        self.sample = FeatureSample(keeping.dim, keeping.most, start=start, device=device)
        self.classes = None
        if keeping.classes is not None:
            self.classes = ClassFeatureMoments(keeping.dim, keeping.classes, starts=class_starts, device=device)

    def update(self, features: Tensor, classes: Tensor | None) -> None:
        """Add a batch.

        Args:
            features: [N, D], floating point.
            classes: [N], the class of each; None: not known.

        Raises:
            ValueError: features that are not finite, or not as many as before.
        """
        self.moments.update(features)
        self.sample.update(features)
        if self.classes is not None and classes is not None:
            self.classes.update(features, classes)

    def all_reduce(self) -> None:
        """Make the samples of all processes those of each."""
        for part in self._parts().values():
            part.all_reduce()

    def merge(self, other: FeatureCollector) -> None:
        """Add the samples of another.

        Raises:
            ValueError: it keeps something else.
        """
        others = other._parts()
        for name, part in self._parts().items():
            part.merge(others[name])

    def state_dict(self) -> dict[str, Any]:
        """Everything, as numbers and tensors by name."""
        parts = {name: part.state_dict() for name, part in self._parts().items()}
        keeping = self.keeping
        return parts | {"keeping": asdict(keeping)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take the samples of a :meth:`state_dict`.

        Raises:
            KeyError, ValueError: it is of no collector like this one.
        """
        for name, part in self._parts().items():
            part.load_state_dict(state[name])

    @staticmethod
    def keeping_of(state: Mapping[str, Any]) -> FeatureKeeping:
        """Of a :meth:`state_dict`."""
        return FeatureKeeping(**state["keeping"])

    def _parts(self) -> dict[str, Any]:
        parts = {"moments": self.moments, "sample": self.sample, "classes": self.classes}
        return {name: part for name, part in parts.items() if part is not None}
