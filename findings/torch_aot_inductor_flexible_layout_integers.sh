#!/usr/bin/env bash
# torch 2.13.0: the tag flexible_layout, which says nothing but that an operation takes inputs of any strides, decides whether
# a package of AOTInductor can call it. With the tag, an operation whose schema has integers behind the star compiles and
# loads, and its call raises as soon as one of them is left at its default: the generated code passes all of them, the
# executor expects those that were written. Without the tag, or with the integers in front of the star, the same program
# runs. (2.14.1 does the same; pytorch/pytorch#194261 is about it.)
#
# Output seen:
#   torch 2.13.0+cpu
#   by keyword: runs
#   by keyword, flexible_layout: RuntimeError: Mismatch between ints consumed and num_ints, got int_id = 1, num_ints = 2
#   by position, flexible_layout: runs
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/pip" install --quiet --disable-pip-version-check "torch==2.13.0" "numpy==2.3.5" "setuptools==80.9.0"
export TORCHINDUCTOR_CACHE_DIR="$folder/cache"
"$folder/env/bin/python" - "$folder" 2>"$folder/errors" <<'PYTHON' || { cat "$folder/errors" >&2; exit 1; }
import sys
from pathlib import Path

import torch

library = torch.library.Library("finding", "DEF")


def scaled(x, a=1, b=0):
    return x * a + b, x.clone()


def shapes(x, a=1, b=0):
    return torch.empty_like(x), torch.empty_like(x)


def result(name, arguments, *tags):
    library.define(f"{name}(Tensor x, {arguments}) -> (Tensor, Tensor)", tags=tags)
    library.impl(name, scaled, "CPU")
    torch.library.register_fake(f"finding::{name}", shapes, lib=library)

    class Program(torch.nn.Module):
        def forward(self, x):
            return getattr(torch.ops.finding, name)(x, a=3)[0]

    example = (torch.arange(4.0),)
    path = str(Path(sys.argv[1]) / f"{name}.pt2")
    torch._inductor.aoti_compile_and_package(torch.export.export(Program(), example), package_path=path)
    program = torch._inductor.aoti_load_package(path)
    try:
        assert program(*example).tolist() == [0.0, 3.0, 6.0, 9.0]
    except RuntimeError as error:
        return f"RuntimeError: {str(error).splitlines()[0]}"
    return "runs"


tag = torch.Tag.flexible_layout
print("torch", torch.__version__)
plain = result("plain", "*, SymInt a=1, SymInt b=0")
print("by keyword:", plain)
tagged = result("tagged", "*, SymInt a=1, SymInt b=0", tag)
print("by keyword, flexible_layout:", tagged)
positional = result("positional", "SymInt a=1, SymInt b=0", tag)
print("by position, flexible_layout:", positional)
assert (plain, positional) == ("runs", "runs")
assert "Mismatch between ints consumed and num_ints" in tagged
PYTHON
