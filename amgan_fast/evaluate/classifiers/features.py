"""What a classifier's last layer takes: its features."""

from __future__ import annotations

from contextlib import ExitStack
from types import TracebackType
from typing import TYPE_CHECKING, Any

from torch import Tensor, nn

from amgan_fast.errors import InputError

if TYPE_CHECKING:
    from typing_extensions import Self  # typing has it from Python 3.11 on

_WANTED = (
    "wanted a torch.nn.Module that returns what its last torch.nn.Linear gives, [N, F] -> [N, K], or a dict of logits "
    "and features"
)


class LinearInputs:
    """What the linear layers of a network take in the calls within it: that of the layer which gives the logits is the
    features. Hooks are there within it alone, so that the network can be copied before and afterwards.

    Args:
        network: None: nothing is noted.

    >>> import torch
    >>> from torch import nn
    >>> from amgan_fast.evaluate.classifiers.features import LinearInputs
    >>> network = nn.Sequential(nn.Flatten(), nn.Linear(4, 7), nn.ReLU(), nn.Linear(7, 3))
    >>> with LinearInputs(network) as taken:
    ...     logits = network(torch.zeros(5, 1, 2, 2))
    >>> taken.of(logits).shape
    torch.Size([5, 7])
    """

    def __init__(self, network: object) -> None:
        self._network = network
        self._hooks = ExitStack()
        self._noted: list[tuple[Tensor, Tensor]] = []

    def __enter__(self) -> Self:
        if isinstance(self._network, nn.Module):
            for layer in self._network.modules():
                if isinstance(layer, nn.Linear):
                    self._hooks.callback(layer.register_forward_hook(self._note).remove)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._hooks.close()

    def of(self, logits: Tensor) -> Tensor | None:
        """[N, F], what the layer took that gave this very tensor; None: no linear layer did."""
        return next((features for features, output in reversed(self._noted) if output is logits), None)

    def _note(self, layer: nn.Module, inputs: tuple[Any, ...], output: Tensor) -> None:
        # Those of tokens are large, and no features of an image.
        if inputs and isinstance(inputs[0], Tensor) and inputs[0].ndim == 2:
            self._noted.append((inputs[0], output))


def no_features(network: object) -> InputError:
    """Why a classifier with that network gives none."""
    if not isinstance(network, nn.Module):
        return InputError(f"the classifier is a {type(network).__name__}, which shows no layers; {_WANTED}")
    return InputError(f"the classifier's logits are of no linear layer, and features not to be had; {_WANTED}")
