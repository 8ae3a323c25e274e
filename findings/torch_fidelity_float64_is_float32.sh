#!/usr/bin/env bash
# torch-fidelity 0.4.0: feature_extractor_internal_dtype="float64", which its options name as a choice, computes in
# float32. The table that turns names into dtypes has torch.float32 for both, and nothing is said. Features that are
# printed as of float64 therefore have the digits of float32.
#
# Output seen:
#   torch-fidelity 0.4.0, torch 2.14.1
#   float32 -> torch.float32, float64 -> torch.float32
#   a feature extractor of internal dtype float64 has parameters of torch.float32
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/pip" install --quiet --disable-pip-version-check "torch==2.14.1" "torchvision==0.29.1" "torch-fidelity==0.4.0"
cd "$folder"
"$folder/env/bin/python" -W ignore - <<'PYTHON'
from importlib.metadata import version

import torch
from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3
from torch_fidelity.helpers import text_to_dtype

print(f"torch-fidelity {version('torch-fidelity')}, torch {torch.__version__.split('+')[0]}")
found = {name: text_to_dtype(name) for name in ("float32", "float64")}
print(", ".join(f"{name} -> {dtype}" for name, dtype in found.items()))

# The network with random weights: its constructor reads them from a file, which is not needed here.
torch.load, keep = lambda *args, **kwargs: {}, torch.load
torch.nn.Module.load_state_dict, strict = lambda self, state, *args, **kwargs: None, torch.nn.Module.load_state_dict
try:
    extractor = FeatureExtractorInceptionV3(
        "inception-v3-compat",
        ["2048"],
        feature_extractor_weights_path="weights.pth",
        feature_extractor_internal_dtype="float64",
    )
finally:
    torch.load, torch.nn.Module.load_state_dict = keep, strict
dtypes = {parameter.dtype for parameter in extractor.parameters()}
print("a feature extractor of internal dtype float64 has parameters of", *dtypes)
assert set(found.values()) == dtypes == {torch.float32}
PYTHON
