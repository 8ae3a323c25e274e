"""Classifiers by what the user calls them: a file of this package, module:function, or a network of known name."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import torch
from torch import nn

from amgan_fast.errors import InputError
from amgan_fast.evaluate.classifiers.image_classifier import ImageClassifier
from amgan_fast.evaluate.classifiers.inception import load_inception_v3
from amgan_fast.evaluate.classifiers.inception_2015 import load_inception_2015
from amgan_fast.evaluate.classifiers.inputs import Inputs
from amgan_fast.evaluate.classifiers.trained import read_classifier
from amgan_fast.evaluate.classifiers.user_network import build_user_network
from amgan_fast.evaluate.classifiers.weights_digest import file_sha256, weights_sha256
from amgan_fast.option_declarations import INCEPTION_NAMES, Resize, ValueRange
from amgan_fast.user_code import users_errors

OWN_WEIGHTS = INCEPTION_NAMES
"""Networks that are opened with a file of weights."""
INCEPTION_2015, INCEPTION_V3 = INCEPTION_NAMES

_INCEPTION_SIZE = (299, 299)
_ON_TENSOR_CORES = (torch.float16, torch.bfloat16)  # of CUDA, which take channels as the innermost dimension
_NOTES = {
    (INCEPTION_V3, True): "with the bias of the last layer; torchvision's network, under which no score compares with "
    "those that papers print (inception-2015)",
    (INCEPTION_V3, False): "without the bias of the last layer; torchvision's network, under which no score compares "
    "with those that papers print (inception-2015)",
    (INCEPTION_2015, True): "the network of published scores, but with the bias of the last layer, which Inception "
    "Scores that papers print are without (--no-last-bias)",
    (INCEPTION_2015, False): "the network of published Inception Scores, without the bias of the last layer as these "
    "are: the same samples have the score that papers print, in their splits",
}
"""What can be said of scores, by network and whether the last layer has its bias."""


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
            - ``"inception-2015"``: that of published Inception Scores, torch-fidelity's, with ``weights``. It takes
              images of any size, and resizes them itself.
        resize: one of :data:`amgan_fast.evaluate.classifiers.inputs.RESIZES`, for images of another size; None:
            ``"bilinear"`` for Inception v3, else ``"none"``.
        value_range: one of :data:`amgan_fast.evaluate.classifiers.inputs.RANGES`; None: ``"amgan"`` for a file of this
            package, else what ``module:function`` says, or ``"signed"``.
        size: (H, W) in pixels that ``module:function`` takes; None: what it says, or any.
        dtype: of the images and of a module's weights.
        weights: torchvision's state_dict of inception_v3, or torch-fidelity's for ``"inception-2015"``, saved by
            :func:`torch.save` or in a .safetensors file. Nothing is ever downloaded.
        last_bias: of these two; see :func:`amgan_fast.evaluate.classifiers.inception_2015.load_inception_2015`.

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
    if spec in OWN_WEIGHTS:
        return _inception(asked, device, weights, last_bias)
    if weights is not None:
        raise InputError(f"weights is {weights}, wanted none for {spec}: they are for {' and '.join(OWN_WEIGHTS)}")
    if not last_bias:
        raise InputError(
            f"last_bias is False, wanted True for {spec}: only {' and '.join(OWN_WEIGHTS)} do without (--no-last-bias)"
        )
    return _users(asked, device) if ":" in spec and not Path(spec).exists() else _own(asked, device)


def _own(asked: Asked, device: torch.device) -> ImageClassifier:
    """Of this package."""
    path = Path(asked.spec)
    if not path.is_file():
        raise InputError(
            f"{asked.kind} is {asked.spec!r}{_folder(path)}, wanted a file, module:function, {' or '.join(OWN_WEIGHTS)}"
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
    of_2015 = asked.spec == INCEPTION_2015
    inputs = _inputs_of_2015(asked) if of_2015 else _inputs_of_v3(asked)
    if weights is None:
        whose = "torch-fidelity" if of_2015 else "torchvision"
        raise InputError(f"weights is None, wanted the file of {whose}'s weights for {asked.spec} (--weights)")
    network = (load_inception_2015 if of_2015 else load_inception_v3)(weights, last_bias=last_bias)
    network = network.to(device, inputs.dtype)
    if device.type == "cpu" or inputs.dtype in _ON_TENSOR_CORES:
        network = network.to(memory_format=torch.channels_last)  # and what its layers make, therefore
    return ImageClassifier(
        name=asked.spec,
        network=network,
        inputs=inputs,
        device=device,
        num_classes=network.fc.out_features,
        sha256=file_sha256(weights),
        sha256_of=str(weights),
        note=_NOTES[asked.spec, last_bias],
        takes_any_size=of_2015,
    )


def _inputs_of_v3(asked: Asked) -> Inputs:
    asked.refuse_another(_INCEPTION_SIZE)
    return Inputs(_INCEPTION_SIZE, 3, asked.resize or "bilinear", asked.value_range or "signed", asked.dtype)


def _inputs_of_2015(asked: Asked) -> Inputs:
    """Pixels as they come: what becomes of them is part of the network."""
    asked.refuse_another(value_range="byte")
    for name, value, option in (("size", asked.size, "--input-size"), ("resize", asked.resize, "--resize")):
        if value not in (None, "none"):
            raise InputError(f"{name} is {value!r} ({option}), wanted none for {asked.spec}: it resizes images itself")
    return Inputs(None, 3, "none", "byte", asked.dtype)


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
