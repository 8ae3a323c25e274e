"""Batch norm with the activation and dropout that follow it, as one layer."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from amgan_fast.ops import batch_norm_leaky_dropout, leaky_dropout


class BatchNormLeakyReLUDropout(nn.Module):
    """``norm``, then ``nn.LeakyReLU(slope)``, then ``nn.Dropout(p)``.

    Where ``norm`` takes the statistics of the batch on a CPU, in one operation:
    :func:`amgan_fast.ops.batch_norm_leaky_dropout`.

    Args:
        norm: an ``nn.BatchNorm1d`` or ``nn.BatchNorm2d`` with weight, bias and a constant momentum; or what has
            replaced it, as ``nn.SyncBatchNorm.convert_sync_batchnorm`` does.
        p: the probability of a drop, in training.
        slope: what negative values are multiplied by.
    """

    def __init__(self, norm: nn.Module, p: float = 0.0, slope: float = 0.2) -> None:
        super().__init__()
        self.norm: Any = norm
        self.p = p
        self.slope = slope

    def forward(self, x: Tensor) -> Tensor:
        norm = self.norm
        fused = isinstance(norm, nn.BatchNorm1d | nn.BatchNorm2d) and (norm.training or norm.running_mean is None)
        if not fused or not x.is_cpu:
            # On a GPU cuDNN averages the statistics in the same pass.
            return leaky_dropout(norm(x), self.p, self.slope, training=self.training)
        dropped = self.p if self.training else 0.0
        output, mean, variance = batch_norm_leaky_dropout(x, norm.weight, norm.bias, dropped, self.slope, norm.eps)
        if norm.running_mean is not None:
            _average(norm, mean, variance, x.numel() // x.size(1))
        return output

    def extra_repr(self) -> str:
        return f"p={self.p}, slope={self.slope}"


@torch.no_grad()
def _average(norm: Any, mean: Tensor, variance: Tensor, count: int) -> None:
    """As batch norm does with the statistics of ``count`` values a channel."""
    norm.num_batches_tracked.add_(1)
    norm.running_mean.lerp_(mean, norm.momentum)
    norm.running_var.lerp_(variance * (count / (count - 1)), norm.momentum)
