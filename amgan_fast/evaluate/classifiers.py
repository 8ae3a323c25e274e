"""Classifiers by what the user calls them: a file of this package, module:function, or inception-v3."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import nn

from amgan_fast.errors import InputError
from amgan_fast.evaluate.classifier import read_classifier
from amgan_fast.evaluate.image_classifier import ImageClassifier
from amgan_fast.evaluate.inception import load_inception_v3
from amgan_fast.evaluate.inputs import Inputs
from amgan_fast.evaluate.loading import file_sha256, weights_sha256
from amgan_fast.evaluate.user_network import build_user_network

__all__ = ["INCEPTION_V3", "ImageClassifier", "open_classifier"]

INCEPTION_V3 = "inception-v3"

_INCEPTION_SIZE = (299, 299)
_BIAS_NOTES = {
    True: "with the bias of the last layer; the original Inception Score is computed without it",
    False: "without the bias of the last layer, as the original Inception Score is computed",
}


def open_classifier(
    spec: str,
    *,
    device: torch.device | str = "cpu",
    resize: str | None = None,
    value_range: str | None = None,
    size: tuple[int, int] | None = None,
    dtype: torch.dtype = torch.float32,
    weights: Path | None = None,
    last_bias: bool = True,
) -> ImageClassifier:
    """A classifier, frozen and in evaluation mode, on ``device``.

    Args:
        spec: one of

            - the file of a classifier that this package trained. Its size, channels and range are fixed, and its
              accuracy is the one recorded.
            - ``"module:function"``, which makes a :class:`torch.nn.Module` or another callable, prepared images
              [N, C, H, W] -> logits [N, K]. This runs the user's code; the current folder can be imported from.
            - ``"inception-v3"``: torchvision's, with ``weights``.
        resize: one of :data:`amgan_fast.evaluate.inputs.RESIZES`, for images of another size; None: ``"bilinear"``
            for Inception v3, else ``"none"``.
        value_range: one of :data:`amgan_fast.evaluate.inputs.RANGES`; None: ``"amgan"`` for a file of this package,
            else ``"signed"``.
        size: (H, W) in pixels that ``module:function`` takes; None: any.
        dtype: of the images and of a module's weights.
        weights: torchvision's state_dict of inception_v3, saved by :func:`torch.save` or in a .safetensors file.
            Nothing is ever downloaded.
        last_bias: of Inception v3; see :func:`amgan_fast.evaluate.inception.load_inception_v3`.

    Raises:
        InputError: there is no such classifier, it cannot be loaded, or it does not take what is given.
    """
    device = torch.device(device)
    if spec == INCEPTION_V3:
        _refuse_another_size(spec, size, _INCEPTION_SIZE)
        inputs = Inputs(_INCEPTION_SIZE, 3, resize or "bilinear", value_range or "signed", dtype)
        return _inception(inputs, device, weights, last_bias)
    if weights is not None:
        raise InputError(f"weights is {weights}, wanted none for {spec}: they are for {INCEPTION_V3}")
    if not last_bias:
        raise InputError(
            f"last_bias is False, wanted True for {spec}: only {INCEPTION_V3} does without (--no-last-bias)"
        )
    if ":" in spec and not Path(spec).exists():
        return _users(spec, Inputs(size, None, resize or "none", value_range or "signed", dtype), device)
    if not Path(spec).exists():
        raise InputError(f"classifier is {spec!r}, wanted a file, module:function, or {INCEPTION_V3}")
    classifier = read_classifier(Path(spec), device).for_images(spec, resize=resize or "none", dtype=dtype)
    _refuse_another_size(spec, size, classifier.inputs.size)
    if value_range not in (None, classifier.inputs.value_range):
        fixed = classifier.inputs.value_range
        raise InputError(
            f"value_range is {value_range!r} (--input-range), wanted none for {spec}: its own is {fixed!r}"
        )
    return classifier


def _inception(inputs: Inputs, device: torch.device, weights: Path | None, last_bias: bool) -> ImageClassifier:
    if weights is None:
        raise InputError(f"weights is None, wanted the file of torchvision's weights for {INCEPTION_V3} (--weights)")
    network = load_inception_v3(weights, last_bias=last_bias).to(device, inputs.dtype)
    return ImageClassifier(
        name=INCEPTION_V3,
        network=network,
        inputs=inputs,
        device=device,
        num_classes=network.fc.out_features,
        sha256=file_sha256(weights),
        note=_BIAS_NOTES[last_bias],
    )


def _users(spec: str, inputs: Inputs, device: torch.device) -> ImageClassifier:
    network = build_user_network(spec)
    if not isinstance(network, nn.Module):
        note = "its weights cannot be told from a function: no SHA-256"
        return ImageClassifier(spec, network, inputs, device, note=note)
    sha256 = weights_sha256(network)
    return ImageClassifier(spec, network.to(device, inputs.dtype), inputs, device, sha256=sha256)


def _refuse_another_size(spec: str, size: tuple[int, int] | None, fixed: tuple[int, int] | None) -> None:
    if fixed is not None and size not in (None, fixed):
        raise InputError(
            f"size is {size[0]} x {size[1]} (--input-size), wanted none for {spec}: its own is {fixed[0]} x {fixed[1]}"
        )
