#!/usr/bin/env bash
# torch 2.13.0: compiled autograd takes a C++ autograd function that keeps a list of integers in ctx->saved_data, or a
# tuple of numbers, but not a tuple that holds a list: backward, which is right without it, then raises. Keys of
# saved_data of their own, one for each member of the tuple, avoid it.
#
# Output seen:
#   torch 2.13.0+cpu
#   a list: eager [2.0, 2.0], compiled [2.0, 2.0]
#   a tuple: eager [2.0, 2.0], compiled [2.0, 2.0]
#   a list in a tuple: eager [2.0, 2.0], compiled RuntimeError: unhashable type: 'List[int]'
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
export PATH="$folder/env/bin:$PATH" TORCH_EXTENSIONS_DIR="$folder/built"
pip install --quiet --disable-pip-version-check "torch==2.13.0" "numpy==2.3.5" "setuptools==80.9.0" "ninja==1.13.0"
python - <<'PYTHON'
import torch
from torch._dynamo import compiled_autograd
from torch.utils.cpp_extension import load_inline

KEPT = {
    "a list": "std::vector<int64_t>{1, 2}",
    "a tuple": "std::make_tuple(int64_t{1}, 2.0)",
    "a list in a tuple": "std::make_tuple(std::vector<int64_t>{1, 2}, 2.0)",
}
TEMPLATE = """
struct Double@ : torch::autograd::Function<Double@> {
  static at::Tensor forward(torch::autograd::AutogradContext* ctx, const at::Tensor& x) {
    ctx->saved_data["kept"] = KEPT;
    return 2 * x;
  }
  static torch::autograd::variable_list backward(torch::autograd::AutogradContext*,
                                                 torch::autograd::variable_list grad) {
    return {2 * grad[0]};
  }
};
at::Tensor double@(const at::Tensor& x) { return Double@::apply(x); }
"""
pieces = [TEMPLATE.replace("@", str(i)).replace("KEPT", kept) for i, kept in enumerate(KEPT.values())]
names = [f"double{i}" for i in range(len(KEPT))]
module = load_inline("doubles", "\n".join(pieces), functions=names, extra_cflags=["-O0"])

print("torch", torch.__version__)
for name, what in zip(names, KEPT, strict=True):
    x, y = torch.ones(2, requires_grad=True), torch.ones(2, requires_grad=True)
    getattr(module, name)(x).sum().backward()
    try:
        with compiled_autograd._enable(torch.compile(backend="eager")):
            getattr(module, name)(y).sum().backward()
        compiled = str(y.grad.tolist())
    except RuntimeError as error:
        compiled = f"RuntimeError: {error}"
    print(f"{what}: eager {x.grad.tolist()}, compiled {compiled}")
    assert x.grad.tolist() == [2, 2]
    assert ("unhashable" in compiled) == (what == "a list in a tuple")
PYTHON
