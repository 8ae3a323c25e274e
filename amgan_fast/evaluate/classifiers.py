"""Classifiers by what the user calls them: a file of this package, module:function, or inception-v3."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import torch
from torch import nn

from amgan_fast.errors import InputError
from amgan_fast.evaluate.image_classifier import ImageClassifier
from amgan_fast.evaluate.inception import load_inception_v3
from amgan_fast.evaluate.inputs import Inputs
from amgan_fast.evaluate.trained import read_classifier
from amgan_fast.evaluate.user_network import build_user_network, users_errors
from amgan_fast.evaluate.weights_digest import file_sha256, weights_sha256
from amgan_fast.options import Resize, ValueRange

INCEPTION_V3 = "inception-v3"

_INCEPTION_SIZE = (299, 299)
_BIAS_NOTES = {
    True: "with the bias of the last layer; the original Inception Score is computed without it",
    False: "without the bias of the last layer, as the original Inception Score, whose network is another one",
}


def open_classifier(
    spec: str,
    *,
    device: torch.device | str = "cpu",
    resize: Resize | None = None,
    value_range: ValueRange | None = None,
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
              [N, C, H, W] -> logits [N, K], or a dict of that and what it was made for
              (:func:`amgan_fast.evaluate.user_network.build_user_network`). This runs the user's code; the current
              folder can be imported from.
            - ``"inception-v3"``: torchvision's, with ``weights``.
        resize: one of :data:`amgan_fast.evaluate.inputs.RESIZES`, for images of another size; None: ``"bilinear"``
            for Inception v3, else ``"none"``.
        value_range: one of :data:`amgan_fast.evaluate.inputs.RANGES`; None: ``"amgan"`` for a file of this package,
            else what ``module:function`` says, or ``"signed"``.
        size: (H, W) in pixels that ``module:function`` takes; None: what it says, or any.
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
        return _users(spec, device, resize or "none", value_range, size, dtype)
    if not Path(spec).is_file():
        raise InputError(
            f"classifier is {spec!r}{_folder(Path(spec))}, wanted a file, module:function, or {INCEPTION_V3}"
        )
    classifier = read_classifier(Path(spec), device).for_images(spec, resize=resize or "none", dtype=dtype)
    _refuse_another_size(spec, size, classifier.inputs.size)
    _refuse_another_range(spec, value_range, classifier.inputs.value_range)
    return classifier


def _folder(path: Path) -> str:
    if not path.is_dir():
        return ""
    own = path / "classifier.pt"
    return f", a folder; its classifier is {own}" if own.is_file() else ", a folder"


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
        sha256_of=str(weights),
        note=_BIAS_NOTES[last_bias],
    )


def _users(
    spec: str,
    device: torch.device,
    resize: Resize,
    value_range: ValueRange | None,
    size: tuple[int, int] | None,
    dtype: torch.dtype,
) -> ImageClassifier:
    users = build_user_network(spec)
    _refuse_another_size(spec, size, users.input_size)
    _refuse_another_range(spec, value_range, users.input_range)
    size = size or users.input_size
    inputs = Inputs(size, None, resize, value_range or users.input_range or "signed", dtype)
    classifier = ImageClassifier(
        spec,
        users.network,
        inputs,
        device,
        num_classes=users.num_classes,
        class_names=users.class_names,
        takes_any_size=users.takes_any_size,
        is_users=True,
    )
    if not isinstance(users.network, nn.Module):
        return replace(classifier, note="its weights cannot be told from a function: no SHA-256")
    with users_errors(f"classifier {spec}: its module cannot be prepared", "a module whose state is tensors of values"):
        sha256 = weights_sha256(users.network)
        return replace(classifier, network=users.network.to(device, dtype), sha256=sha256)


def _refuse_another_range(spec: str, value_range: ValueRange | None, fixed: str | None) -> None:
    if fixed is not None and value_range not in (None, fixed):
        raise InputError(
            f"value_range is {value_range!r} (--input-range), wanted none for {spec}: its own is {fixed!r}"
        )


def _refuse_another_size(spec: str, size: tuple[int, int] | None, fixed: tuple[int, int] | None) -> None:
    if fixed is not None and size not in (None, fixed):
        raise InputError(
            f"size is {size[0]} x {size[1]} (--input-size), wanted none for {spec}: its own is {fixed[0]} x {fixed[1]}"
        )
