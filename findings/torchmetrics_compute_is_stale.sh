#!/usr/bin/env bash
# torchmetrics 1.9.0: compute() answers from a cache that merge_state() and load_state_dict() do not clear. A metric that
# has been computed once, then merged with another process's or loaded from a checkpoint, has the new state and gives
# the old number until the next update(). Without the first compute() both are right.
#
# Output seen:
#   torchmetrics 1.9.0, torch 2.13.0+cpu
#   merge_state, 1 and 2: compute() 1.0, state 3.0; never computed before: 3.0
#   load_state_dict of 2 into 1: compute() 1.0, state 2.0; never computed before: 2.0
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/pip" install --quiet --disable-pip-version-check "torch==2.13.0" "numpy==2.3.5" "torchmetrics==1.9.0"
"$folder/env/bin/python" -W ignore - <<'PYTHON'
import torch
import torchmetrics
from torchmetrics.aggregation import SumMetric

print(f"torchmetrics {torchmetrics.__version__}, torch {torch.__version__}")


def pair():
    first, second = SumMetric(), SumMetric()
    for metric, value in ((first, 1.0), (second, 2.0)):
        metric.persistent(True)
        metric.update(value)
    return first, second


def after(change, *, computed):
    first, second = pair()
    if computed:
        first.compute()
    change(first, second)
    return float(first.compute()), float(first.sum_value)


def merge(first, second):
    first.merge_state(second)


def load(first, second):
    first.load_state_dict(second.state_dict())


for text, change, right in (("merge_state, 1 and 2", merge, 3), ("load_state_dict of 2 into 1", load, 2)):
    (stale, state), (fresh, _) = after(change, computed=True), after(change, computed=False)
    print(f"{text}: compute() {stale}, state {state}; never computed before: {fresh}")
    assert stale == 1 and state == fresh == right
PYTHON
