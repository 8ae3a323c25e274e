#!/usr/bin/env bash
# torchmetrics 1.9.0: InceptionScore is NaN as soon as one class is nobody's: where its probability underflows to 0 for
# every sample of a split, the logarithm of the mean is -inf and 0 * inf is NaN. In float32 a class 104 logits below
# the largest is enough: a sure classifier with a class that the generator dropped. The score of the same logits
# without that class is finite, and is the limit.
#
# Output seen:
#   torchmetrics 1.9.0, torch 2.13.0+cpu
#   third class at -80: 1.999840 ; at -110: nan ; without it: 1.999840
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/pip" install --quiet --disable-pip-version-check "torch==2.13.0" "numpy==2.3.5" "torchmetrics==1.9.0"
"$folder/env/bin/python" -W ignore - <<'PYTHON'
import math

import torch
import torchmetrics
from torchmetrics.image.inception import InceptionScore

print(f"torchmetrics {torchmetrics.__version__}, torch {torch.__version__}")


class Logits(torch.nn.Module):
    """Reads the class of an image off its first pixel; the third logit is given."""

    def __init__(self, third):
        super().__init__()
        self.third = third

    def forward(self, images):
        sure = 12.0 * torch.nn.functional.one_hot(images[:, 0, 0, 0].long(), 2).float()
        return sure if self.third is None else torch.cat([sure, torch.full((len(images), 1), self.third)], 1)


def score(third):
    metric = InceptionScore(feature=Logits(third), splits=1)
    images = torch.zeros(100, 3, 2, 2, dtype=torch.uint8)
    images[50:] = 1
    metric.update(images)
    return float(metric.compute()[0])


rare, never, without = score(-80.0), score(-110.0), score(None)
print(f"third class at -80: {rare:.6f} ; at -110: {never:.6f} ; without it: {without:.6f}")
assert math.isclose(rare, without, rel_tol=1e-5) and math.isnan(never)
PYTHON
