#!/usr/bin/env bash
# torchmetrics 1.9.0: a metric of a MetricCollection whose compute() is a dict gives the collection the keys of that dict,
# without the name it has there, unless another metric of the collection has one of the keys: then all dicts of the
# collection have their metric's name before each key. To add a metric renames what was logged of another.
#
# Output seen:
#   torchmetrics 1.9.0, torch 2.14.1+cu130
#   {"first": dict}: low, high
#   {"first": dict, "high": number}: first_low, first_high, high
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/pip" install --quiet --disable-pip-version-check "torch==2.14.1" "numpy==2.4.6" "torchmetrics==1.9.0"
"$folder/env/bin/python" -W ignore - <<'PYTHON'
import torch
import torchmetrics
from torchmetrics import MeanMetric, Metric, MetricCollection

print(f"torchmetrics {torchmetrics.__version__}, torch {torch.__version__}")


class Range(Metric):
    def __init__(self):
        super().__init__()
        self.add_state("seen", [], dist_reduce_fx="cat")

    def update(self, values):
        self.seen.append(values)

    def compute(self):
        values = torch.cat(self.seen)
        return {"low": values.min(), "high": values.max()}


def keys(**metrics):
    collection = MetricCollection(metrics, compute_groups=False)
    collection.update(torch.arange(3.0))
    return list(collection.compute())


alone, beside = keys(first=Range()), keys(first=Range(), high=MeanMetric())
print('{"first": dict}:', ", ".join(alone))
print('{"first": dict, "high": number}:', ", ".join(beside))
assert sorted(alone) == ["high", "low"]
assert sorted(beside) == ["first_high", "first_low", "high"]
PYTHON
