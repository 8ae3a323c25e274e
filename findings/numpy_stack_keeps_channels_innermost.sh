#!/usr/bin/env bash
# numpy 2.3.5, torch 2.13.0, CPU: np.stack of images that were decoded as [H, W, C] and transposed to [C, H, W] gives
# [N, C, H, W] in the order of the decoder's bytes, channels innermost. torch.from_numpy of it is a channels_last batch,
# which convolutions then stay with: other kernels, other last digits of every logit. np.array, torch.stack and
# default_collate of the same list give a contiguous batch. A score that changes in the tenth digit when one of these
# takes the place of another has this reason.
#
# Output seen:
#   numpy 2.3.5, torch 2.13.0+cpu
#   np.stack       strides (3072, 1, 96, 3): channels_last, and so is the convolution's output
#   np.array       strides (3072, 1024, 32, 1): contiguous, and so is the convolution's output
#   torch.stack    strides (3072, 1024, 32, 1): contiguous, and so is the convolution's output
#   default_collate strides (3072, 1024, 32, 1): contiguous, and so is the convolution's output
#   the pixels are equal, the outputs to 1e-3 (here they are 3e-05 apart)
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/pip" install --quiet --disable-pip-version-check "torch==2.13.0" "numpy==2.3.5"
"$folder/env/bin/python" - <<'PYTHON'
import numpy as np
import torch
from torch.utils.data import default_collate

print(f"numpy {np.__version__}, torch {torch.__version__}")
random = np.random.default_rng(0)
images = [random.integers(0, 256, (32, 32, 3), dtype=np.uint8).transpose(2, 0, 1) for _ in range(8)]
ways = {
    "np.stack": lambda: torch.from_numpy(np.stack(images)),
    "np.array": lambda: torch.from_numpy(np.array(images)),
    "torch.stack": lambda: torch.stack([torch.from_numpy(image) for image in images]),
    "default_collate": lambda: default_collate(images),
}
torch.manual_seed(0)
convolution = torch.nn.Conv2d(3, 16, 3)


def layout(tensor):
    if tensor.is_contiguous():
        return "contiguous"
    return "channels_last" if tensor.is_contiguous(memory_format=torch.channels_last) else "another"


batches = {name: way() for name, way in ways.items()}
with torch.no_grad():
    outputs = {name: convolution(batch.float()) for name, batch in batches.items()}
for name, batch in batches.items():
    print(f"{name:<14} strides {batch.stride()}: {layout(batch)}, and so is the convolution's output")
    assert layout(batch) == layout(outputs[name]) == ("channels_last" if name == "np.stack" else "contiguous")
    assert torch.equal(batch, batches["np.array"])
    assert torch.allclose(outputs[name], outputs["np.array"], rtol=0, atol=1e-3)
apart = (outputs["np.stack"] - outputs["np.array"]).abs().max()
print(f"the pixels are equal, the outputs to 1e-3 (here they are {apart:.0e} apart)")
PYTHON
