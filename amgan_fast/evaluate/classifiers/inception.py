"""torchvision's Inception v3, with weights from a file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from amgan_fast.errors import InputError, in_one_line
from amgan_fast.tensor_files import load_tensors

if TYPE_CHECKING:
    from torchvision.models import Inception3

_WANTED = "wanted torchvision's state_dict of inception_v3, .pth or .safetensors"

_OUTPUTS_OF_FID = 1008
"""Of the network that FID is computed with (pytorch-fid, torch-fidelity). Names and shapes are torchvision's, and the
weights would load, but its blocks pool otherwise: averages leave the padding out, and the last takes a maximum."""


def load_inception_v3(weights: Path, *, last_bias: bool = True) -> Inception3:
    """Images [N, 3, 299, 299], u / 127.5 - 1 of pixels u -> logits [N, K]; on the CPU, frozen, in evaluation mode.

    That range is what torchvision's own way amounts to. Its transforms make (u / 255 - mean) / std of u; then its
    ``transform_input`` makes x * std / 0.5 + (mean - 0.5) / 0.5 of that, which is u / 127.5 - 1 for every channel.
    ``transform_input`` is off here.

    Args:
        weights: the state_dict in a file of :func:`torch.save`, or of safetensors (suffix .safetensors).
        last_bias: False: without the bias of the last layer, as the original Inception Score is computed
            (openai/improved-gan; in its issue 39 the test set of CIFAR-10 has 10.95 without, 11.23 with it).

    Raises:
        InputError: no such file, a damaged one, or one of another network, that of FID among them.
    """
    from torchvision.models import inception_v3

    # The auxiliary classifier is for training.
    state = {name: value for name, value in _read(weights).items() if not name.startswith("AuxLogits.")}
    try:
        num_classes = len(state["fc.bias"])
        if num_classes == _OUTPUTS_OF_FID:
            raise InputError(
                f"{weights} has {num_classes:,} outputs, which is the network of FID (pytorch-fid, torch-fidelity): it "
                f"pools otherwise than torchvision's, whose logits would be wrong; {_WANTED}"
            )
        with torch.device("meta"):  # nothing is drawn that would be overwritten
            network = inception_v3(
                weights=None, num_classes=num_classes, aux_logits=False, transform_input=False, init_weights=False
            )
        network.load_state_dict(state, assign=True)
    except (KeyError, TypeError, RuntimeError) as error:
        raise InputError(f"{weights} does not fit inception_v3 ({in_one_line(error)}), {_WANTED}") from None
    if not last_bias:
        network.fc.bias.data.zero_()
    return network.eval().requires_grad_(False)


def _read(path: Path) -> dict[str, Tensor]:
    if not path.is_file():
        raise InputError(f"{path} {'is a folder' if path.is_dir() else 'does not exist'}, {_WANTED}")
    if path.suffix == ".safetensors":
        return _read_safetensors(path)
    state = load_tensors(path)
    if other := [name for name, value in state.items() if not isinstance(name, str) or not isinstance(value, Tensor)]:
        raise InputError(f"{path} holds {other[0]!r}, which is no tensor; {_WANTED}")
    return state


def _read_safetensors(path: Path) -> dict[str, Tensor]:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return load_file(path)
    except (SafetensorError, OSError) as error:
        raise InputError(f"{path} is damaged or no safetensors file ({in_one_line(error)}), {_WANTED}") from None
