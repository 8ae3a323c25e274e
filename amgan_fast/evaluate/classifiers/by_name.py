"""Classifiers by what the user calls them: a file of this package, module:function, or inception-v3."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import torch
from torch import nn

from amgan_fast.errors import InputError
from amgan_fast.evaluate.classifiers.image_classifier import ImageClassifier
from amgan_fast.evaluate.classifiers.inception import load_inception_v3
from amgan_fast.evaluate.classifiers.inputs import Inputs
from amgan_fast.evaluate.classifiers.trained import read_classifier
from amgan_fast.evaluate.classifiers.user_network import build_user_network
from amgan_fast.evaluate.classifiers.weights_digest import file_sha256, weights_sha256
from amgan_fast.option_declarations import Resize, ValueRange
from amgan_fast.user_code import users_errors

INCEPTION_V3 = "inception-v3"

_INCEPTION_SIZE = (299, 299)
_ON_TENSOR_CORES = (torch.float16, torch.bfloat16)  # of CUDA, which take channels as the innermost dimension
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
              [N, C, H, W] -> logits [N, K] or a dict with ``"logits"`` and ``"features"``, or a dict of that and what
              it was made for (:func:`amgan_fast.evaluate.classifiers.user_network.build_user_network`). This runs
              the user's code; the current folder can be imported from.
            - ``"inception-v3"``: torchvision's, with ``weights``.
        resize: one of :data:`amgan_fast.evaluate.classifiers.inputs.RESIZES`, for images of another size; None:
            ``"bilinear"`` for Inception v3, else ``"none"``.
        value_range: one of :data:`amgan_fast.evaluate.classifiers.inputs.RANGES`; None: ``"amgan"`` for a file of this
            package, else what ``module:function`` says, or ``"signed"``.
        size: (H, W) in pixels that ``module:function`` takes; None: what it says, or any.
        dtype: of the images and of a module's weights.
        weights: torchvision's state_dict of inception_v3, saved by :func:`torch.save` or in a .safetensors file.
            Nothing is ever downloaded.
        last_bias: of Inception v3; see :func:`amgan_fast.evaluate.classifiers.inception.load_inception_v3`.

    Raises:
        InputError: there is no such classifier, it cannot be loaded, or it does not take what is given.

    >>> from amgan_fast.evaluate import open_classifier
    >>> print(open_classifier("torch.nn:Flatten", size=(8, 8), value_range="unit").inputs)
    8 x 8, resize none; range unit: u / 255; float32
    """
    return open_as_asked(Asked(spec, resize, value_range, size, dtype), torch.device(device), weights, last_bias)


@dataclass(frozen=True)
class Asked:
    """What the user asks of a classifier's inputs; None: what the classifier says, or a default."""

    spec: str
    resize: Resize | None
    value_range: ValueRange | None
    size: tuple[int, int] | None
    dtype: torch.dtype
    kind: Literal["classifier", "extractor"] = "classifier"
    """What errors call it."""

    def refuse_another(self, size: tuple[int, int] | None = None, value_range: ValueRange | None = None) -> None:
        """
        Args:
            size: of the classifier; None: it takes what is asked for.
            value_range: likewise.
        """
        spec = self.spec
        if size is not None and self.size not in (None, size):
            found = " x ".join(map(str, self.size))
            own = " x ".join(map(str, size))
            raise InputError(f"size is {found} (--input-size), wanted none for {spec}: its own is {own}")
        if value_range is not None and self.value_range not in (None, value_range):
            raise InputError(
                f"value_range is {self.value_range!r} (--input-range), wanted none for {spec}: its own is "
                f"{value_range!r}"
            )


def open_as_asked(asked: Asked, device: torch.device, weights: Path | None, last_bias: bool = True) -> ImageClassifier:
    """As :func:`open_classifier`; of an extractor of the user's it is taken on trust that its network gives logits."""
    spec = asked.spec
    if spec == INCEPTION_V3:
        return _inception(asked, device, weights, last_bias)
    if weights is not None:
        raise InputError(f"weights is {weights}, wanted none for {spec}: they are for {INCEPTION_V3}")
    if not last_bias:
        raise InputError(
            f"last_bias is False, wanted True for {spec}: only {INCEPTION_V3} does without (--no-last-bias)"
        )
    return _users(asked, device) if ":" in spec and not Path(spec).exists() else _own(asked, device)


def _own(asked: Asked, device: torch.device) -> ImageClassifier:
    """Of this package."""
    path = Path(asked.spec)
    if not path.is_file():
        raise InputError(
            f"{asked.kind} is {asked.spec!r}{_folder(path)}, wanted a file, module:function, or {INCEPTION_V3}"
        )
    trained = read_classifier(path, device)
    classifier = trained.for_images(asked.spec, resize=asked.resize or "none", dtype=asked.dtype)
    asked.refuse_another(classifier.inputs.size, classifier.inputs.value_range)
    return classifier


def _folder(path: Path) -> str:
    if not path.is_dir():
        return ""
    own = path / "classifier.pt"
    return f", a folder; its classifier is {own}" if own.is_file() else ", a folder"


def _inception(asked: Asked, device: torch.device, weights: Path | None, last_bias: bool) -> ImageClassifier:
    asked.refuse_another(_INCEPTION_SIZE)
    inputs = Inputs(_INCEPTION_SIZE, 3, asked.resize or "bilinear", asked.value_range or "signed", asked.dtype)
    if weights is None:
        raise InputError(f"weights is None, wanted the file of torchvision's weights for {INCEPTION_V3} (--weights)")
    network = load_inception_v3(weights, last_bias=last_bias).to(device, inputs.dtype)
    if device.type == "cpu" or inputs.dtype in _ON_TENSOR_CORES:
        network = network.to(memory_format=torch.channels_last)  # and what its layers make, therefore
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


def _users(asked: Asked, device: torch.device) -> ImageClassifier:
    spec, users = asked.spec, build_user_network(asked.spec, asked.kind)
    asked.refuse_another(users.input_size, users.input_range)
    value_range = asked.value_range or users.input_range or "signed"
    classifier = ImageClassifier(
        spec,
        users.network,
        Inputs(asked.size or users.input_size, None, asked.resize or "none", value_range, asked.dtype),
        device,
        num_classes=users.num_classes,
        class_names=users.class_names,
        takes_any_size=users.takes_any_size,
        is_users=True,
    )
    if not isinstance(users.network, nn.Module):
        return replace(classifier, note="its weights cannot be told from a function: no SHA-256")
    with users_errors(
        f"{asked.kind} {spec}: its module cannot be prepared", "a module whose state is tensors of values"
    ):
        sha256 = weights_sha256(users.network)
        return replace(classifier, network=users.network.to(device, asked.dtype), sha256=sha256)
