#!/usr/bin/env bash
# torchmetrics 1.9.0: InceptionScore(splits=10) does not always have ten splits. It cuts with torch.chunk, whose chunks
# are of ceil(N / splits) rows: 12 samples make six splits of two, 25 make nine. The mean over splits depends on
# their length, so scores of sets that are cut differently are not comparable; nothing is said. (numpy.array_split, or
# bounds at i * N // splits as in the code of the original score, give ten.)
#
# Output seen:
#   torchmetrics 1.9.0, torch 2.13.0+cpu
#   splits=10: 12 samples in 6 splits, 20 samples in 10 splits, 25 samples in 9 splits, 101 samples in 10 splits
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/pip" install --quiet --disable-pip-version-check "torch==2.13.0" "numpy==2.3.5" "torchmetrics==1.9.0"
"$folder/env/bin/python" -W ignore - <<'PYTHON'
import torch
import torchmetrics
from torchmetrics.image.inception import InceptionScore

print(f"torchmetrics {torchmetrics.__version__}, torch {torch.__version__}")
lengths = []
chunk = torch.Tensor.chunk


def counted(self, *args, **kwargs):
    parts = chunk(self, *args, **kwargs)
    lengths.append(len(parts))
    return parts


class Logits(torch.nn.Module):
    def forward(self, images):
        return images.flatten(1).float() / 64


torch.Tensor.chunk = counted
found = {}
for samples in (12, 20, 25, 101):
    metric = InceptionScore(feature=Logits(), splits=10)
    metric.update(torch.randint(256, (samples, 3, 2, 2), dtype=torch.uint8))
    metric.compute()
    found[samples] = lengths.pop()
print("splits=10:", ", ".join(f"{n} samples in {parts} splits" for n, parts in found.items()))
assert found == {12: 6, 20: 10, 25: 9, 101: 10}
PYTHON
