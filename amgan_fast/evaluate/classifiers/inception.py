"""torchvision's Inception v3, with weights from a file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import torch

from amgan_fast.errors import InputError, in_one_line
from amgan_fast.evaluate.classifiers.weights_file import read_weights

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
        last_bias: False: without the bias of the last layer. The original Inception Score leaves it out, of another
            network, though (:func:`amgan_fast.evaluate.classifiers.inception_2015.load_inception_2015`).

    Raises:
        InputError: no such file, a damaged one, or one of another network, that of FID among them.
    """
    from torchvision.models import inception_v3

    # The auxiliary classifier is for training.
    state = {name: value for name, value in read_weights(weights, _WANTED).items() if not name.startswith("AuxLogits.")}
    try:
        num_classes = len(state["fc.bias"])
        if num_classes == _OUTPUTS_OF_FID:
            raise InputError(
                f"{weights} has {num_classes:,} outputs, which is the network of FID (pytorch-fid, torch-fidelity): it "
                f"pools otherwise than torchvision's, whose logits would be wrong (--classifier inception-2015 is it); "
                f"{_WANTED}"
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
