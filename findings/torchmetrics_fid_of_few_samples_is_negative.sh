#!/usr/bin/env bash
# torchmetrics 1.9.0: the FID of a set of features against itself is not 0 and may be below 0 where there are fewer
# samples than features: the eigenvalues of the product of two singular covariances are 0 but for rounding, 1e-16, and
# their roots, 1e-8 each, add up. It is a warning of the size of the error that any such FID has: few samples, or features
# of which many are constant.
#
# Output seen:
#   torchmetrics 1.9.0, torch 2.13.0+cpu
#   50 samples of 100 features against themselves: FID -2.2e-06 (float64), below 0: True
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/pip" install --quiet --disable-pip-version-check "torch==2.13.0" "numpy==2.3.5" "torchmetrics==1.9.0"
"$folder/env/bin/python" -W ignore - <<'PYTHON'
import torch
import torchmetrics
from torchmetrics.image.fid import FrechetInceptionDistance

print(f"torchmetrics {torchmetrics.__version__}, torch {torch.__version__}")


class Features(torch.nn.Module):
    num_features = 100

    def forward(self, features):
        return features


features = torch.randn(50, 100, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
metric = FrechetInceptionDistance(feature=Features(), input_img_size=(1, 1, 100)).set_dtype(torch.float64)
for real in (True, False):
    metric.update(features, real=real)
found = float(metric.compute())
print(f"50 samples of 100 features against themselves: FID {found:.1e} (float64), below 0: {found < 0}")
assert 1e-8 < abs(found) < 1e-4
PYTHON
