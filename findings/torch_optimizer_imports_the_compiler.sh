#!/usr/bin/env bash
# torch 2.13.0: to make an optimizer, even SGD of one layer, imports PyTorch's compiler and SymPy, 800 modules and more, which
# `import torch` leaves out. Nothing is compiled: the method that takes the parameters is marked as one that the compiler
# is not to look into, and the mark imports the compiler when it is first called. A program that forks workers before it
# makes an optimizer pays for it in each of them. (2.14.1 does the same.)
#
# Output seen:
#   torch 2.13.0+cpu
#   import torch: torch._dynamo no, sympy no
#   a layer, its gradients and a step by hand: torch._dynamo no, sympy no
#   torch.optim.SGD: torch._dynamo yes, sympy yes, 800 modules or more
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/pip" install --quiet --disable-pip-version-check "torch==2.13.0" "numpy==2.3.5"
"$folder/env/bin/python" - <<'PYTHON'
import sys

import torch


def imported():
    return [name in sys.modules for name in ("torch._dynamo", "sympy")]


def say(what, found, more=""):
    named = ", ".join(f"{n} {'yes' if x else 'no'}" for n, x in zip(("torch._dynamo", "sympy"), found))
    print(f"{what}: {named}{more}")


print("torch", torch.__version__)
first = imported()
say("import torch", first)
layer = torch.nn.Linear(3, 2)
layer(torch.ones(1, 3)).sum().backward()
with torch.no_grad():
    for parameter in layer.parameters():
        parameter -= 0.1 * parameter.grad
second = imported()
say("a layer, its gradients and a step by hand", second)
before = len(sys.modules)
torch.optim.SGD(layer.parameters(), lr=0.1)
third, more = imported(), len(sys.modules) - before
say("torch.optim.SGD", third, ", 800 modules or more" if more >= 800 else f", {more} modules")
if [first, second, third] != [[False] * 2, [False] * 2, [True] * 2] or more < 800:
    sys.exit("this has changed")
PYTHON
