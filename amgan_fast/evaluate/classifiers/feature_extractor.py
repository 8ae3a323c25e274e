"""Any feature extractor, with what a distance of its features has to say of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from amgan_fast.errors import InputError
from amgan_fast.evaluate.classifiers.image_network import ImageNetwork


@dataclass(frozen=True, eq=False)
class FeatureExtractor(ImageNetwork):
    """Images as they come -> features, by a network that is frozen and in evaluation mode.

    Its network makes of what :attr:`inputs` gives either features [N, D], floating point, or a mapping of these as
    ``"features"``, beside which there may be others, as ``"logits"``.

    >>> import torch
    >>> from amgan_fast.evaluate import FeatureExtractor, Inputs
    >>> network = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(12, 7))
    >>> extractor = FeatureExtractor("mine", network, Inputs(size=(2, 2), channels=3), torch.device("cpu"))
    >>> extractor.features(torch.zeros(5, 3, 2, 2, dtype=torch.uint8)).shape
    torch.Size([5, 7])
    """

    dim: int | None = None
    """D; None: what the network gives."""

    def features(self, images: Tensor | Sequence[Tensor]) -> Tensor:
        """Features [N, D] on :attr:`device`, of the network's floating point type; without TF32
        (:func:`amgan_fast.evaluate.full_precision.full_precision`).

        Args:
            images: as :class:`Inputs` takes them.

        Raises:
            InputError: images that do not fit, or a network that fails on them or gives no features.
        """

        def call(prepared: Tensor) -> list[Tensor]:
            given = self.network(prepared)
            if isinstance(given, Mapping):
                if "features" not in given:
                    raise InputError(f"{self.name} gives a dict without 'features', wanted features [N, D] there")
                given = given["features"]
            return [self._features(given, len(prepared), self.dim)]

        return self._run(images, call, "an extractor")[0]

    def to_dict(self) -> dict[str, Any]:
        """All but the network, as plain values."""
        return super().to_dict() | {"dim": self.dim}
