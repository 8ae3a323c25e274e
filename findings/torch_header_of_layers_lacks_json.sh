#!/usr/bin/env bash
# torch 2.13.0: ATen/functorch/DynamicLayer.h, which says in C++ whether a transform of torch.func is at work, comes with
# the wheel and cannot be included: it wants nlohmann/json.hpp, which does not. What does compile, functorchTLSAccessor of
# ATen/FuncTorchTLS.h, is no answer: once torch.func was used in a process, it is not null any more. The dispatch keys of
# the thread tell (FuncTorchDynamicLayerBackMode).
#
# Output seen:
#   torch 2.13.0
#   ATen/functorch/DynamicLayer.h: nlohmann/json.hpp: No such file or directory
#   before torch.func: accessor 0, key 0
#   within torch.func.grad: accessor 1, key 1
#   after it: accessor 1, key 0
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/pip" install --quiet --disable-pip-version-check "torch==2.13.0" "numpy==2.3.5"
torch=$("$folder/env/bin/python" -c 'import pathlib, torch; print(pathlib.Path(torch.__file__).parent)')
abi=$("$folder/env/bin/python" -c 'import torch; print(int(torch.compiled_with_cxx11_abi()))')
"$folder/env/bin/python" -c 'import torch; print("torch", torch.__version__.split("+")[0])'
echo '#include <ATen/functorch/DynamicLayer.h>' >"$folder/layers.cpp"
if c++ -std=c++20 -w -fsyntax-only -I "$torch/include" "$folder/layers.cpp" 2>"$folder/said"; then
  echo "ATen/functorch/DynamicLayer.h compiles"
  exit 1
fi
missing=$(grep -o 'nlohmann/json.hpp: No such file or directory' "$folder/said" | head -1)
echo "ATen/functorch/DynamicLayer.h: $missing"
cat >"$folder/asked.cpp" <<'CPP'
#include <ATen/FuncTorchTLS.h>
#include <c10/core/impl/LocalDispatchKeySet.h>

extern "C" __attribute__((visibility("default"))) int asked() {
  const bool accessor = at::functorch::functorchTLSAccessor() != nullptr;
  const bool key = c10::impl::tls_is_dispatch_key_included(c10::DispatchKey::FuncTorchDynamicLayerBackMode);
  return 2 * accessor + key;
}
CPP
c++ -std=c++20 -w -shared -fPIC "-D_GLIBCXX_USE_CXX11_ABI=$abi" -I "$torch/include" "$folder/asked.cpp" -L "$torch/lib" \
  -ltorch_cpu -lc10 -o "$folder/asked.so"
"$folder/env/bin/python" - "$folder/asked.so" <<'PYTHON'
import ctypes
import sys

import torch

asked = ctypes.CDLL(sys.argv[1]).asked
seen = {}


def ask(when):
    accessor, key = divmod(asked(), 2)
    print(f"{when}: accessor {accessor}, key {key}")
    seen[when] = (accessor, key)


def loss(x):
    ask("within torch.func.grad")
    return (x * x).sum()


ask("before torch.func")
torch.func.grad(loss)(torch.ones(2))
ask("after it")
sys.exit(seen != {"before torch.func": (0, 0), "within torch.func.grad": (1, 1), "after it": (1, 0)})
PYTHON
