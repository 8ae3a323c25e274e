"""What the layers of a network give, for tests."""

from __future__ import annotations

from torch import Tensor, nn

WEIGHTED = (nn.Linear, nn.Conv2d, nn.ConvTranspose2d)


def layer_outputs(network: nn.Module, kinds: tuple[type, ...], inputs: Tensor) -> list[Tensor]:
    """The outputs of the layers of these kinds in a forward pass, in the order they are called."""
    outputs: list[Tensor] = []  # copies: activations in place come after the hook
    handles = [
        layer.register_forward_hook(lambda module, inputs, output: outputs.append(output.detach().clone()))
        for layer in network.modules()
        if isinstance(layer, kinds)
    ]
    network(inputs)
    for handle in handles:
        handle.remove()
    return outputs
