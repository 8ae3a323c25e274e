"""What a classifier's last layer takes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from torch import Tensor, nn

from amgan_fast.errors import InputError

_WANTED = "wanted a torch.nn.Module that returns what its last torch.nn.Linear gives, [N, F] -> [N, K]"


class LastLayer:
    """The linear layer that gives a network's logits: its inputs are the features of the network.

    >>> import torch
    >>> from torch import nn
    >>> from amgan_fast.evaluate.classifiers.features import LastLayer
    >>> network = nn.Sequential(nn.Flatten(), nn.Linear(4, 7), nn.ReLU(), nn.Linear(7, 3))
    >>> last = LastLayer.of(network, lambda: network(torch.zeros(2, 1, 2, 2)))
    >>> with last.kept():
    ...     _ = network(torch.zeros(5, 1, 2, 2))
    ...     last.taken.shape
    torch.Size([5, 7])
    """

    taken: Tensor
    """[N, F], of the last call within :meth:`kept`."""

    def __init__(self, layer: nn.Linear) -> None:
        self._layer = layer

    @classmethod
    def of(cls, network: object, run: Callable[[], Tensor]) -> LastLayer:
        """
        Args:
            network: a classifier's.
            run: calls it, and returns its logits as they are.

        Raises:
            InputError: its logits are of no linear layer.
        """
        if not isinstance(network, nn.Module):
            raise InputError(f"the classifier is a {type(network).__name__}, which shows no layers; {_WANTED}")
        given: list[tuple[nn.Linear, Tensor, Tensor]] = []

        def note(layer: nn.Module, inputs: tuple[Any, ...], output: Tensor) -> None:
            if isinstance(layer, nn.Linear):
                given.append((layer, inputs[0], output))

        with ExitStack() as stack:
            for layer in network.modules():
                if isinstance(layer, nn.Linear):
                    stack.callback(layer.register_forward_hook(note).remove)
            logits = run()
        for layer, features, output in reversed(given):
            if output is logits and features.ndim == 2:
                return cls(layer)
        raise InputError(f"the classifier's logits are of no linear layer, and features not to be had; {_WANTED}")

    @contextmanager
    def kept(self) -> Iterator[None]:
        """Within it the inputs of every call are :attr:`taken`. The network is not shared out to threads then, since
        it has a hook."""

        def keep(layer: nn.Module, inputs: tuple[Any, ...]) -> None:
            self.taken = inputs[0]

        hook = self._layer.register_forward_pre_hook(keep)
        try:
            yield
        finally:
            hook.remove()
            vars(self).pop("taken", None)
