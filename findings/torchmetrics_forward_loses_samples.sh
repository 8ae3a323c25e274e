#!/usr/bin/env bash
# torchmetrics 1.9.0: metric(batch) of a metric with full_state_update=False sets the state to that of nothing, updates
# it with the batch, and merges what was there before back in. Where the batch is refused, the last does not happen:
# who catches the error and goes on has lost every sample so far, without a word. metric.update(batch) loses nothing.
#
# Output seen:
#   torchmetrics 1.9.0, torch 2.13.0+cpu
#   three samples seen; then a batch refused by update(): 3 left
#   three samples seen; then a batch refused by forward(): 0 left
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/pip" install --quiet --disable-pip-version-check "torch==2.13.0" "numpy==2.3.5" "torchmetrics==1.9.0"
"$folder/env/bin/python" -W ignore - <<'PYTHON'
import torch
import torchmetrics

print(f"torchmetrics {torchmetrics.__version__}, torch {torch.__version__}")


def left(call):
    metric = torchmetrics.MeanSquaredError()
    x = torch.ones(3)
    metric.update(x, x + 1)
    try:
        call(metric)(x, torch.ones(4))
    except RuntimeError:  # shapes differ, as it says
        return int(metric.total)
    raise SystemExit("the batch was taken")


by_update = left(lambda metric: metric.update)
print(f"three samples seen; then a batch refused by update(): {by_update} left")
by_forward = left(lambda metric: metric)
print(f"three samples seen; then a batch refused by forward(): {by_forward} left")
assert by_update == 3 and by_forward == 0
PYTHON
