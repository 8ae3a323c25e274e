#!/usr/bin/env bash
# torch 2.13.0: the grad_output that a custom autograd function is given can be a view with the negative bit set: its
# memory holds the opposite of its value. Python code sees nothing of it; C++ or a kernel that takes the data pointer,
# or a fast path that looks whether the value at it is 1, has the wrong sign. The imaginary part of a conjugate is enough.
#
# Output seen:
#   torch 2.13.0+cpu
#   grad_output -1.0, is_neg() True, in memory 1.0
#   numpy(): Can't call numpy() on Tensor that has negative bit set. Use tensor.resolve_neg().numpy() instead.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/pip" install --quiet --disable-pip-version-check "torch==2.13.0" "numpy==2.3.5"
"$folder/env/bin/python" - <<'PYTHON'
import torch

print("torch", torch.__version__)
seen = []


class Identity(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        return x.clone()

    @staticmethod
    def backward(ctx, grad_output):
        seen.append(grad_output)
        return grad_output


x = torch.tensor(2.0, requires_grad=True)
(torch.complex(torch.zeros(()), Identity.apply(x)).conj() * 1.0).imag.backward()
grad = seen[0]
offset = grad.storage_offset()
in_memory = torch.tensor(grad.untyped_storage().tolist(), dtype=torch.uint8).view(torch.float32)[offset]
print(f"grad_output {float(grad)}, is_neg() {grad.is_neg()}, in memory {float(in_memory)}")
assert float(grad) == -1 and grad.is_neg() and float(in_memory) == 1
try:
    grad.numpy()
except RuntimeError as error:
    print("numpy():", error)
else:
    raise SystemExit("numpy() took it")
PYTHON
