#!/usr/bin/env bash
# torch 2.13.0, CPU: the backward of batch norm reads a weight that is a strided view as if it were contiguous. The loss
# is right, the gradient of the input is that of other weights, without a word; where the values between are NaN, it
# is NaN. A weight taken as a column of a table (a norm per class, a hypernetwork) is such a view.
#
# Output seen:
#   torch 2.13.0+cpu
#   weight [1, 2, 3, 4] contiguous, strided: the outputs are equal to 1e-5, the gradients of x are not
#   gradient of x[0] / that of the contiguous weight: [1.0, nan, 0.67, nan]
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/pip" install --quiet --disable-pip-version-check "torch==2.13.0" "numpy==2.3.5"
"$folder/env/bin/python" - <<'PYTHON'
import torch

print("torch", torch.__version__)


def run(weight):
    x = torch.randn(8, 4, generator=torch.Generator().manual_seed(0)).requires_grad_()
    y = torch.nn.functional.batch_norm(x, None, None, weight, torch.zeros(4), training=True)
    y.pow(3).sum().backward()
    return y.detach(), x.grad


plain = torch.tensor([1.0, 2.0, 3.0, 4.0])
strided = torch.stack([plain, torch.full((4,), torch.nan)], 1)[:, 0]
assert torch.equal(plain, strided) and strided.stride() == (2,)
(y, grad), (y_strided, grad_strided) = run(plain), run(strided)
assert torch.allclose(y, y_strided, rtol=0, atol=1e-5)  # another path through the forward, which rounds otherwise
print("weight [1, 2, 3, 4] contiguous, strided: the outputs are equal to 1e-5, the gradients of x are not")
ratio = grad_strided[0] / grad[0]
print("gradient of x[0] / that of the contiguous weight:", [round(float(r), 2) for r in ratio])
# It has read 1, NaN, 2, NaN; the weight is 1, 2, 3, 4.
assert torch.allclose(ratio[::2], torch.tensor([1.0, 2 / 3]), rtol=1e-3) and ratio[1::2].isnan().all()
PYTHON
