"""Batch norm with the activation and dropout that follow it, as one layer."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from amgan_fast.ops import batch_norm_leaky_dropout, leaky_dropout


class BatchNormLeakyReLUDropout(nn.Module):
    """``norm``, then ``nn.LeakyReLU(slope)``, then ``nn.Dropout(p)``.

    In one operation, :func:`amgan_fast.ops.batch_norm_leaky_dropout`, where that is fused (on a CPU, [N, C] or
    ``channels_last``) and ``norm`` takes the statistics of the batch.

    Args:
        norm: an ``nn.BatchNorm1d`` or ``nn.BatchNorm2d``; one with hooks, without weights or with ``momentum=None``, a
            subclass, or what ``nn.SyncBatchNorm.convert_sync_batchnorm`` puts in its place, is called as it is.
        p: the probability of a drop, in training.
        slope: what negative values are multiplied by.

    >>> import torch
    >>> from torch import nn
    >>> from amgan_fast.nn import BatchNormLeakyReLUDropout
    >>> layer = BatchNormLeakyReLUDropout(nn.BatchNorm1d(1, eps=1e-12), slope=0.5)
    >>> layer(torch.tensor([[1.0], [3.0]])).tolist()  # normalized to -1 and 1, then leaky ReLU
    [[-0.5], [1.0]]
    """

    def __init__(self, norm: nn.Module, p: float = 0.0, slope: float = 0.2) -> None:
        super().__init__()
        self.norm: Any = norm
        self.p = p
        self.slope = slope

    def forward(self, x: Tensor) -> Tensor:
        norm = self.norm
        if not (_takes_the_batch(norm) and _has_kernel(x)):
            return leaky_dropout(norm(x), self.p, self.slope, training=self.training)
        norm._check_input_dim(x)
        dropped = self.p if self.training else 0.0
        output, mean, variance = batch_norm_leaky_dropout(x, norm.weight, norm.bias, dropped, self.slope, norm.eps)
        if norm.running_mean is not None:
            _update_running_statistics(norm, mean, variance, x.numel() // x.size(1))
        return output

    def extra_repr(self) -> str:
        return f"p={self.p}, slope={self.slope}"


def _takes_the_batch(norm: Any) -> bool:
    """Whether ``norm`` does nothing but normalise with the statistics of the batch, and average them at most."""
    return (
        type(norm) in (nn.BatchNorm1d, nn.BatchNorm2d)
        and (norm.training or norm.running_mean is None)
        and norm.track_running_stats == (norm.running_mean is not None)
        and None not in (norm.weight, norm.bias, norm.momentum)
        and not (norm._forward_pre_hooks or norm._forward_hooks)
    )


def _has_kernel(x: Tensor) -> bool:
    """Where torch's own batch norm is the better choice, it averages the statistics in the same pass."""
    channels_innermost = x.is_contiguous(memory_format=torch.channels_last) if x.dim() == 4 else x.dim() == 2
    return x.is_cpu and channels_innermost and x.numel() > x.size(1)


@torch.no_grad()
def _update_running_statistics(norm: Any, mean: Tensor, variance: Tensor, count: int) -> None:
    """As batch norm does with the statistics of ``count`` values a channel."""
    norm.num_batches_tracked.add_(1)
    norm.running_mean.lerp_(mean, norm.momentum)
    norm.running_var.lerp_(variance * (count / (count - 1)), norm.momentum)
