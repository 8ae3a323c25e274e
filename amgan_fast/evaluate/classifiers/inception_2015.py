"""The Inception network of published scores: TensorFlow's graph of 2015, as torch-fidelity carries it."""

from __future__ import annotations

import io
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from amgan_fast.errors import InputError, in_one_line
from amgan_fast.evaluate.classifiers.weights_file import read_weights
from amgan_fast.extras import said_of_missing

if TYPE_CHECKING:
    from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3

FEATURES = 2048
CLASSES = 1008

_WANTED = "wanted torch-fidelity's weights-inception-2015-12-05-6726825d, .pth or .safetensors"
_SIDE = 299
_BODY = (
    *("Conv2d_1a_3x3", "Conv2d_2a_3x3", "Conv2d_2b_3x3", "MaxPool_1", "Conv2d_3b_1x1", "Conv2d_4a_3x3", "MaxPool_2"),
    *("Mixed_5b", "Mixed_5c", "Mixed_5d", "Mixed_6a", "Mixed_6b", "Mixed_6c", "Mixed_6d", "Mixed_6e"),
    *("Mixed_7a", "Mixed_7b", "Mixed_7c", "AvgPool"),
)


class Inception2015(nn.Module):
    """Pixels u, [N, 3, H, W] of any size and floating point type -> ``"logits"`` [N, 1008] and ``"features"``
    [N, 2048], what the last pool gives.

    Pixels are rounded to whole ones, as files have them, since published scores are of files. They are brought to 299 x
    299 as TensorFlow 1 does it, bilinearly without antialiasing and aligned at a corner, in float32 or float64, and
    become (u - 128) / 128.

    Args:
        network: on any device.
        last_bias: whether the logits have the bias of the last layer.
    """

    def __init__(self, network: FeatureExtractorInceptionV3, *, last_bias: bool) -> None:
        super().__init__()
        self.body = nn.Sequential(*(getattr(network, name) for name in _BODY), nn.Flatten())
        self.fc = nn.Linear(FEATURES, CLASSES, bias=last_bias, device="meta")
        self.fc.weight = network.fc.weight
        if last_bias:
            self.fc.bias = network.fc.bias
        self.eval().requires_grad_(False)

    def forward(self, pixels: Tensor) -> dict[str, Tensor]:
        from torch_fidelity.interpolate_compat_tensorflow import interpolate_bilinear_2d_like_tensorflow1x as resize

        # 16 bits are too few for the places that a resize computes.
        exact = pixels if pixels.dtype == torch.float64 else pixels.float()
        scaled = (resize(exact.round(), size=(_SIDE, _SIDE), align_corners=False) - 128) / 128
        features = self.body(scaled.to(pixels.dtype))
        return {"logits": self.fc(features), "features": features}


def load_inception_2015(weights: Path, *, last_bias: bool = True) -> Inception2015:
    """On the CPU, frozen, in evaluation mode.

    Args:
        weights: torch-fidelity's state_dict in a file of :func:`torch.save`, or of safetensors (suffix .safetensors).
        last_bias: False: without the bias of the last layer, as published Inception Scores are (``logits_unbiased`` of
            torch-fidelity; openai/improved-gan, in whose issue 39 the test set of CIFAR-10 has 10.95 without, 11.23
            with it).

    Raises:
        InputError: torch-fidelity is not installed; no such file, a damaged one, or one of another network.
    """
    try:
        from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3
    except ImportError as error:
        raise InputError(f"inception-2015 is torch-fidelity's network: {said_of_missing(error)}") from None

    # The network unpickles whatever its file holds: it is given one of tensors that were read before.
    tensors = io.BytesIO()
    torch.save(read_weights(weights, _WANTED), tensors)
    tensors.seek(0)
    try:
        with torch.random.fork_rng([]):  # the weights it starts with are thrown away
            network = FeatureExtractorInceptionV3("inception-2015", ["2048"], feature_extractor_weights_path=tensors)
    except RuntimeError as error:
        raise InputError(f"{weights} does not fit inception-2015 ({in_one_line(error)}), {_WANTED}") from None
    return Inception2015(network, last_bias=last_bias)
