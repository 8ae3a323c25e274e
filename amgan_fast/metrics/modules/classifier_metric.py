"""A torchmetrics metric of what a classifier says of images, or of its logits."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torchmetrics import Metric
from torchmetrics.image.inception import InceptionScore as TorchmetricsInceptionScore

from amgan_fast.metrics.arrays import Array, as_tensor

PROBABILITIES = (
    "logits are within [0, 1] and sum to 1 in each of the first rows, as probabilities do; wanted logits: a feature "
    "without softmax, or the logarithm of probabilities"
)
_SLACK = 1e-3  # of [0, 1]: what interpolation and half precision step over the border; it changes no byte


class ClassifierMetric(Metric):
    """Holds the classifier; arguments and errors as of :class:`amgan_fast.metrics.modules.InceptionScore`."""

    is_differentiable = False
    full_state_update = False
    feature_network = "inception"  # what torchmetrics.wrappers.FeatureShare shares

    def __init__(self, feature: nn.Module | str | int | None, normalize: bool, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if isinstance(feature, str | int):
            feature = _network_of_torchmetrics(feature)
        if feature is not None and not isinstance(feature, nn.Module):
            wanted = "a torch.nn.Module that returns logits, a name, or None"
            raise TypeError(f"Got unknown input to argument `feature`: feature is {feature!r}, wanted {wanted}")
        if not isinstance(normalize, bool):
            raise ValueError(f"Argument `normalize` expected to be a bool: normalize is {normalize!r}")
        self.inception = feature
        """The classifier, under torchmetrics' name; None: the metric is given logits."""
        self.normalize = normalize
        self.train()

    def train(self, mode: bool = True) -> ClassifierMetric:
        """The classifier stays in evaluation mode, whatever the mode of a model that holds the metric."""
        super().train(mode)
        if self.inception is not None:
            self.inception.eval()
        return self

    def plot(self, val: Tensor | Sequence[Tensor] | None = None, ax: Any = None) -> Any:
        """Draw a value, or several as a curve, with matplotlib.

        Args:
            val: a score or a sequence of scores; None: what :meth:`compute` gives.
            ax: matplotlib axes to draw into; None: those of a new figure.

        Returns:
            The figure (None with ``ax``) and the axes.
        """
        return self._plot(val, ax)

    def _logits(self, imgs: Array) -> Any:
        """[N, K]

        Raises:
            TypeError, ValueError: images that the metric does not take, or images where there is no classifier.
        """
        if self.inception is None:
            if getattr(imgs, "ndim", 2) != 2:
                found = f"logits are {list(imgs.shape)}"
                raise ValueError(f"{found}, wanted [N, K] with K at least 2; images need a feature")
            return imgs
        with torch.no_grad():
            return self.inception(_as_bytes(imgs) if self.normalize else imgs)


def _as_bytes(imgs: Array) -> Tensor:
    imgs = as_tensor("imgs", imgs)
    if not imgs.is_floating_point():
        raise TypeError(f"imgs are {imgs.dtype}, wanted floating point in [0, 1] with normalize=True")
    if imgs.numel():
        least, greatest = (float(value) for value in imgs.aminmax())
        if not (least >= -_SLACK and greatest <= 1 + _SLACK):  # so that NaN fails
            raise ValueError(f"imgs have values from {least:.6g} to {greatest:.6g}, wanted 0 to 1 with normalize=True")
    return (imgs * 255).byte()


def _network_of_torchmetrics(name: str | int) -> nn.Module:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # of the memory that its metric takes
        return TorchmetricsInceptionScore(name).inception
