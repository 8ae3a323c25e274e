#!/usr/bin/env bash
# torch 2.13.0: aten::native_batch_norm, which F.batch_norm calls on the CPU, updates running_mean and running_var in
# place in training, and its schema says that it writes to nothing. A tool that goes by schemas (a TorchDispatchMode that
# records, replays or undoes what a step does) loses those two; aten::_native_batch_norm_legit tells of its own.
#
# Output seen:
#   torch 2.13.0+cpu
#   F.batch_norm calls aten.native_batch_norm.default
#   aten.native_batch_norm.default is mutable: False, writes to: []; running mean 0.0 -> 1.0
#   aten._native_batch_norm_legit.default is mutable: True, writes to: ['running_mean', 'running_var']
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/pip" install --quiet --disable-pip-version-check "torch==2.13.0" "numpy==2.3.5"
"$folder/env/bin/python" - <<'PYTHON'
import torch
from torch.nn import functional as F
from torch.utils._python_dispatch import TorchDispatchMode

print("torch", torch.__version__)


def writes(operation):
    return [a.name for a in operation._schema.arguments if a.alias_info is not None and a.alias_info.is_write]


class Record(TorchDispatchMode):
    def __torch_dispatch__(self, operation, types, arguments=(), options=None):
        called.append(operation)
        return operation(*arguments, **(options or {}))


called = []
mean, variance = torch.zeros(1), torch.ones(1)
with Record():
    F.batch_norm(torch.ones(4, 1, 2, 2), mean, variance, training=True, momentum=1.0)
(operation,) = (x for x in called if "batch_norm" in str(x))
print("F.batch_norm calls", operation)
mutable = operation._schema.is_mutable
print(f"{operation} is mutable: {mutable}, writes to: {writes(operation)}; running mean 0.0 -> {mean.item()}")
assert not mutable and not writes(operation) and mean == 1 and variance == 0
legit = torch.ops.aten._native_batch_norm_legit.default
print(f"{legit} is mutable: {legit._schema.is_mutable}, writes to: {writes(legit)}")
assert writes(legit) == ["running_mean", "running_var"]
PYTHON
