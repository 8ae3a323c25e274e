"""Feature extractors by what the user calls them: module:function, a network of known name, or a classifier's file."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn

from amgan_fast.evaluate.classifiers.by_name import INCEPTION_2015, INCEPTION_V3, Asked, open_as_asked
from amgan_fast.evaluate.classifiers.feature_extractor import FeatureExtractor
from amgan_fast.evaluate.classifiers.features import LinearInputs
from amgan_fast.evaluate.classifiers.inception_2015 import FEATURES, Inception2015
from amgan_fast.option_declarations import Resize, ValueRange

_NOTES = {
    INCEPTION_V3: "the pool of torchvision's Inception v3, whose distances compare with none that papers print: these "
    "are of another network",
    INCEPTION_2015: "the last pool of the network of published FIDs: the same samples have the distances that papers "
    "print, where these resize as TensorFlow 1 does",
}


def open_extractor(
    spec: str,
    *,
    device: torch.device | str = "cpu",
    resize: Resize | None = None,
    value_range: ValueRange | None = None,
    size: tuple[int, int] | None = None,
    dtype: torch.dtype = torch.float32,
    weights: Path | None = None,
) -> FeatureExtractor:
    """A feature extractor, frozen and in evaluation mode, on ``device``.

    Args:
        spec: one of

            - ``"module:function"``, which makes a :class:`torch.nn.Module` or another callable, prepared images
              [N, C, H, W] -> features [N, D], or a dict with these as ``"features"``; or a dict of that and what it was
              made for (:func:`amgan_fast.evaluate.classifiers.user_network.build_user_network`). So a function whose
              network gives both logits and features is a classifier and an extractor. This runs the user's code; the
              current folder can be imported from.
            - ``"inception-2015"``: the 2,048 features of published FIDs, with ``weights``.
            - ``"inception-v3"``: those of torchvision's, with ``weights``.
            - the file of a classifier that this package trained: what its last layer takes.
        resize: as of :func:`amgan_fast.evaluate.open_classifier`, like the four below.
        value_range: of what the network is given.
        size: (H, W) of the images that it takes.
        dtype: of the images and of a module's weights.
        weights: the file of them.

    Raises:
        InputError: there is no such extractor, it cannot be loaded, or it does not take what is given.

    >>> from amgan_fast.evaluate import open_extractor
    >>> import torch
    >>> pixels = open_extractor("torch.nn:Flatten", value_range="unit")
    >>> pixels.features(torch.full((1, 1, 2, 2), 255, dtype=torch.uint8))
    tensor([[1., 1., 1., 1.]])
    """
    asked = Asked(spec, resize, value_range, size, dtype, kind="extractor")
    found = open_as_asked(asked, torch.device(device), weights)
    network, dim = found.network, None
    if isinstance(network, Inception2015):
        dim = FEATURES
    elif not found.is_users and isinstance(network, nn.Module):
        dim = [layer for layer in network.modules() if isinstance(layer, nn.Linear)][-1].in_features
        network = _WithFeatures(network)
    return FeatureExtractor(
        found.name,
        network,
        found.inputs,
        found.device,
        sha256=found.sha256,
        sha256_of=found.sha256_of,
        note=_NOTES.get(spec, found.note),
        is_users=found.is_users,
        takes_any_size=found.takes_any_size,
        dim=dim,
    )


class _WithFeatures(nn.Module):
    """A classifier's network, which gives what its last layer takes, too."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network
        self.eval()

    def forward(self, images: Tensor) -> dict[str, Tensor | None]:
        with LinearInputs(self.network) as taken:
            logits = self.network(images)
        return {"logits": logits, "features": taken.of(logits)}
