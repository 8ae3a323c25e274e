"""The libraries that have an Inception Score, each fed as its users feed it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

FLOAT32 = 1e-6  # relative error of the score where single numbers are rounded to this type
FLOAT64 = 1e-13


@dataclass(frozen=True)
class Tool:
    """``score(library, logits, batch)`` is the Inception Score that ``library``, the imported module, gives."""

    name: str
    package: str  # as pip has it
    module: str
    score: Callable[[Any, Tensor, int], float]
    allowed: float  # relative error
    fed: str


def ours(library: Any, logits: Tensor, batch: int) -> float:
    scores = library.ScoreAccumulator(logits.size(1), device=logits.device)
    for part in logits.split(batch):
        scores.update(part)
    return scores.compute().inception_score


def torchmetrics(library: Any, logits: Tensor, batch: int) -> float:
    # normalize=False, the default: images, here the logits themselves, reach the feature extractor as they are.
    metric = library.InceptionScore(feature=torch.nn.Identity(), splits=1, normalize=False).to(logits.device)
    for part in logits.split(batch):
        metric.update(part)
    return float(metric.compute()[0])


def ignite(library: Any, logits: Tensor, batch: int) -> float:
    # It wants probabilities; its own Inception network ends in the same Softmax.
    softmax = torch.nn.Softmax(dim=1)
    metric = library.InceptionScore(logits.size(1), feature_extractor=softmax, device=logits.device)
    for part in logits.split(batch):
        metric.update(part)
    return float(metric.compute())


def torch_fidelity(library: Any, logits: Tensor, batch: int) -> float:
    # With one split the order is all the same, and the shuffle, its default, would cost a copy.
    result = library.isc_features_to_metric(logits, splits=1, shuffle=False)
    return float(result[library.KEY_METRIC_ISC_MEAN])


TOOLS = {
    tool.name: tool
    for tool in (
        Tool("ours", "amgan-fast", "amgan_fast.metrics", ours, FLOAT64, "batches of logits; keeps float64 sums"),
        Tool(
            "torchmetrics",
            "torchmetrics",
            "torchmetrics.image.inception",
            torchmetrics,
            FLOAT32,
            "batches of logits through nn.Identity; keeps all",
        ),
        Tool(
            "ignite",
            "pytorch-ignite",
            "ignite.metrics",
            ignite,
            FLOAT32,
            "batches of logits through nn.Softmax; keeps float64 sums",
        ),
        Tool(
            "torch-fidelity",
            "torch-fidelity",
            "torch_fidelity.metric_isc",
            torch_fidelity,
            FLOAT64,
            "the whole matrix of logits, made float64",
        ),
    )
}
