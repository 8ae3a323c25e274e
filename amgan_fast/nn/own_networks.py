"""Generators and discriminators that the user wrote."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from amgan_fast.errors import InputError
from amgan_fast.nn.options import ImageShape
from amgan_fast.user_code import user_object, users_errors

_ROWS = 2  # of the batch that a network is tried with


@dataclass(frozen=True)
class OwnGenerator:
    """``module:function``, called as ``function(inputs=..., image_shape=..., labels=..., **options)``.

    The function returns a module, float32 [N, inputs] -> float32 [N, C, H, W] in [-1, 1]. The last ``labels`` of the
    inputs are a one-hot label, or there is none with ``labels`` = 0, that is with dynamic labels; the others are
    z ~ N(0, I).

    >>> from amgan_fast.nn import OwnGenerator
    >>> OwnGenerator("no_such_module:generator")(inputs=42, image_shape=(3, 32, 32), labels=10)
    Traceback (most recent call last):
    amgan_fast.errors.InputError: generator no_such_module:generator: no_such_module cannot be imported (...
    """

    spec: str
    options: Mapping[str, Any] = field(default_factory=dict)

    def __call__(self, inputs: int, image_shape: ImageShape, labels: int) -> nn.Module:
        """
        Raises:
            InputError: the function cannot be had or fails, or returns something else.
        """
        where = f"generator {self.spec}"
        given = {"inputs": inputs, "image_shape": image_shape, "labels": labels}
        network = _make(where, "generator", self.spec, given, self.options)
        images = _try(where, network, (_ROWS, inputs))
        wanted = (_ROWS, *image_shape)
        if images.shape != wanted or images.dtype != torch.float32:
            _refuse(where, (_ROWS, inputs), images, f"images {list(wanted)} of torch.float32")
        return network


@dataclass(frozen=True)
class OwnDiscriminator:
    """``module:function``, called as ``function(image_shape=..., **options)``.

    The function returns a module, float32 [N, C, H, W] in [-1, 1] -> float32 features [N, F]: all but the last layer,
    which is the model's (:meth:`amgan_fast.objectives.Objective.build_head`), so that one network serves every model.

    >>> from amgan_fast.nn import OwnDiscriminator
    >>> OwnDiscriminator("discriminator.py")(image_shape=(3, 32, 32))
    Traceback (most recent call last):
    amgan_fast.errors.InputError: discriminator is 'discriminator.py', wanted module:name
    """

    spec: str
    options: Mapping[str, Any] = field(default_factory=dict)

    def __call__(self, image_shape: ImageShape) -> tuple[nn.Module, int]:
        """The module, and F.

        Raises:
            InputError: the function cannot be had or fails, or returns something else.
        """
        where = f"discriminator {self.spec}"
        network = _make(where, "discriminator", self.spec, {"image_shape": image_shape}, self.options)
        features = _try(where, network, (_ROWS, *image_shape))
        if features.ndim != 2 or len(features) != _ROWS or not features.size(1) or features.dtype != torch.float32:
            wanted = f"features [{_ROWS}, F] of torch.float32, F at least 1"
            _refuse(where, (_ROWS, *image_shape), features, wanted)
        return network, features.size(1)


def _make(where: str, option: str, spec: str, given: dict[str, Any], options: Mapping[str, Any]) -> nn.Module:
    function = user_object(option, spec)
    call = ", ".join(f"{name}=..." for name in (*given, *options))
    with users_errors(f"{where}: it fails when called with {call}", "a function that takes these and makes a network"):
        network = function(**given, **options)
    if not isinstance(network, nn.Module):
        raise InputError(f"{where}: it returns a {type(network).__name__}, wanted a torch.nn.Module")
    return network


@torch.no_grad()
def _try(where: str, network: nn.Module, shape: tuple[int, ...]) -> Tensor:
    """What comes of a batch of zeros, in evaluation mode."""
    weight = next(network.parameters(), None)
    if weight is None:
        raise InputError(f"{where}: its network has no parameters, wanted some to train")
    modes = [(module, module.training) for module in network.modules()]
    with users_errors(f"{where}: its network fails on {list(shape)}", "a network of one tensor"):
        try:
            output = network.eval()(torch.zeros(shape, device=weight.device))
        finally:
            for module, training in modes:
                module.training = training
    if not isinstance(output, Tensor):
        raise InputError(f"{where}: of {list(shape)} its network makes a {type(output).__name__}, wanted one tensor")
    return output


def _refuse(where: str, shape: tuple[int, ...], output: Tensor, wanted: str) -> None:
    found = f"of {list(shape)} its network makes {list(output.shape)} of {output.dtype}"
    raise InputError(f"{where}: {found}, wanted {wanted}")
