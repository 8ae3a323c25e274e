#!/usr/bin/env bash
# torch 2.13.0: a checkpoint is a zip file with a CRC-32 for each tensor, and torch.load does not look at it. A bit that
# flipped on the disk or on the way is another weight, with weights_only=True and with mmap as well; a weight of 500
# becomes 1.5e-36. zipfile.ZipFile.testzip() finds it: who resumes long runs should ask it first.
#
# Output seen:
#   torch 2.13.0+cpu
#   zipfile.testzip: archive/data/0 is damaged
#   torch.load, mmap False: weight 500 is 1.469368e-36
#   torch.load, mmap True: weight 500 is 1.469368e-36
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/pip" install --quiet --disable-pip-version-check "torch==2.13.0" "numpy==2.3.5"
"$folder/env/bin/python" - "$folder/archive.pt" <<'PYTHON'
import sys
import zipfile
from pathlib import Path

import torch

print("torch", torch.__version__)
path = Path(sys.argv[1])
weights = torch.arange(1000.0)
torch.save({"weights": weights}, path)
content = bytearray(path.read_bytes())
first = content.find(weights.numpy().tobytes())
content[first + 4 * 500 + 3] ^= 0x40  # one bit of the exponent of weight 500
path.write_bytes(content)

with zipfile.ZipFile(path) as file:
    damaged = file.testzip()
print("zipfile.testzip:", damaged, "is damaged")
assert damaged is not None and damaged.endswith("data/0")
for mmap in (False, True):
    loaded = torch.load(path, weights_only=True, mmap=mmap)["weights"]
    print(f"torch.load, mmap {mmap}: weight 500 is {float(loaded[500]):e}")
    assert loaded[500] != 500 and int((loaded != weights).sum()) == 1
PYTHON
