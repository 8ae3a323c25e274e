#!/usr/bin/env bash
# torch 2.13.0: after torch.backends.fp32_precision = "tf32", setting torch.backends.cudnn.allow_tf32 = False raises nothing
# and changes nothing: convolutions still say tf32, and from then on reading cudnn.allow_tf32 raises. In the default state
# the same line does turn TF32 off. Code that wants full float32 whatever its caller has set must set
# cudnn.conv.fp32_precision (and cudnn.rnn's) itself, and read them back.
#
# Output seen:
#   torch 2.13.0+cpu
#   default: conv tf32, then allow_tf32 = False: conv none, reads False
#   fp32_precision = "tf32": conv tf32, then allow_tf32 = False: conv tf32, reads RuntimeError
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/pip" install --quiet --disable-pip-version-check "torch==2.13.0" "numpy==2.3.5"
for first in default tf32; do
  "$folder/env/bin/python" - "$first" <<'PYTHON'
import sys

import torch
from torch.backends import cudnn

(first,) = sys.argv[1:]
what = first
if first == "default":
    print("torch", torch.__version__)
else:
    torch.backends.fp32_precision = first
    what = f'fp32_precision = "{first}"'
before = cudnn.conv.fp32_precision
cudnn.allow_tf32 = False
after = cudnn.conv.fp32_precision
try:
    reads = str(cudnn.allow_tf32)
except RuntimeError as error:
    reads = type(error).__name__
print(f"{what}: conv {before}, then allow_tf32 = False: conv {after}, reads {reads}")
assert before == "tf32"
assert (after, reads) == (("none", "False") if first == "default" else ("tf32", "RuntimeError"))
PYTHON
done
