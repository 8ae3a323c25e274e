"""Virtual batch normalization: a sample is normalized with a fixed batch, not with those it was drawn with."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from amgan_fast.precision import at_least_float32


def set_reference_batch(network: nn.Module, batch: Tensor) -> None:
    """Give the reference batch to a network built with ``normalization="virtual"``, before its first pass.

    Args:
        batch: what the network takes: latent inputs [R, inputs] for a generator, real images [R, C, H, W] for a
            discriminator; R of at least 2, usually the batch size. The network keeps a copy, also in its state_dict.

    Raises:
        ValueError: ``network`` has no virtual batch norm, or ``batch`` has another shape.

    >>> import torch
    >>> from amgan_fast.nn import build_generator, network_options, set_reference_batch
    >>> generator = build_generator("mlp", 32, (1, 8, 8), network_options("mlp", normalization="virtual"))
    >>> set_reference_batch(generator, torch.randn(100, 32))
    >>> generator(torch.randn(5, 32)).shape
    torch.Size([5, 1, 8, 8])
    """
    places = [module for module in network.modules() if isinstance(module, ReferenceBatch)]
    if not places:
        raise ValueError("network has no virtual batch norm, wanted one built with normalization='virtual'")
    for place in places:
        place.set(batch)


def has_virtual_batch_norm(network: nn.Module) -> bool:
    """Whether ``network`` wants :func:`set_reference_batch`.

    >>> from amgan_fast.nn import build_generator, has_virtual_batch_norm
    >>> has_virtual_batch_norm(build_generator("mlp", 32, (1, 8, 8)))
    False
    """
    return any(isinstance(layer, VirtualBatchNorm) for layer in network.modules())


class VirtualBatchNorm(nn.Module):
    """Normalizes rows, [R + N, C] or [R + N, C, H, W], of which the first R are the reference batch.

    Mean and variance of a reference row are those of the reference batch; those of any other row are of the reference
    batch and the row itself, together R + 1 rows: it has the weight 1 / (R + 1). Then a learned scale and offset for
    each channel. In evaluation mode as in training. Source: Salimans et al., arXiv 1606.03498, section 3.5; their
    published code, ``VBN`` in imagenet/model.py of openai/improved-gan, weighs a row's statistics in the same way.

    To be used within a :class:`ReferenceBatch`.

    >>> import torch
    >>> from amgan_fast.nn import ReferenceBatch, VirtualBatchNorm, set_reference_batch
    >>> network = ReferenceBatch(VirtualBatchNorm(1, eps=0), row_shape=(1,))
    >>> set_reference_batch(network, torch.tensor([[-1.0], [1.0]]))
    >>> network(torch.tensor([[0.0], [2.0]]))  # 2: mean 2/3 and variance 14/9 of -1, 1 and 2
    tensor([[0.0000],
            [1.0690]], grad_fn=<SliceBackward0>)
    """

    def __init__(self, channels: int, eps: float = 1e-5) -> None:
        super().__init__()
        self.channels = channels
        self.eps = eps
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))
        self.reference_size: int | None = None

    def forward(self, rows: Tensor) -> Tensor:
        size = self.reference_size
        if size is None:
            raise RuntimeError("virtual batch norm has no reference batch, wanted set_reference_batch(network, batch)")
        values = at_least_float32(rows)
        if rows.dim() == 2:
            values = values[:, :, None]  # one position
        own_variance, own_mean = torch.var_mean(values, tuple(range(2, values.dim())), correction=0)
        mean = own_mean[:size].mean(0)
        variance = own_variance[:size].mean(0) + own_mean[:size].var(0, correction=0)
        # Moments of the two sets together, from those of each: no difference of squares.
        weight = 1 / (size + 1)
        shift = own_mean[size:] - mean
        means = torch.cat([mean.expand(size, -1), mean + weight * shift])
        joint = (1 - weight) * (variance + weight * shift.square()) + weight * own_variance[size:]
        scale = self.weight * torch.rsqrt(torch.cat([variance.expand(size, -1), joint]) + self.eps)
        each = scale.shape + (1,) * (values.dim() - 2)
        normalized = torch.addcmul((self.bias - means * scale).view(each), values, scale.view(each))
        return normalized.view(rows.shape).to(rows.dtype)

    def extra_repr(self) -> str:
        return f"{self.channels}, eps={self.eps}, reference_size={self.reference_size}"


class ReferenceBatch(nn.Module):
    """Runs ``layers`` on a reference batch and the rows given, and returns what comes of the latter.

    The reference batch goes through the layers every time, because its statistics change with their parameters;
    gradients flow through them. Set it with :func:`set_reference_batch`, or by loading a state_dict.

    Args:
        layers: takes [N, *row_shape]; :class:`VirtualBatchNorm` within take their statistics from the reference.
        row_shape: the shape of a row.

    >>> import torch
    >>> from torch import nn
    >>> from amgan_fast.nn import ReferenceBatch, VirtualBatchNorm, set_reference_batch
    >>> network = ReferenceBatch(nn.Sequential(nn.Linear(4, 3), VirtualBatchNorm(3)), row_shape=(4,))
    >>> set_reference_batch(network, torch.randn(100, 4))
    >>> rows = torch.randn(5, 4)
    >>> network(rows)[0].allclose(network(rows[:1])[0], atol=1e-6)  # whatever other rows there are
    True
    """

    reference: Tensor | None

    def __init__(self, layers: nn.Module, row_shape: tuple[int, ...]) -> None:
        super().__init__()
        self.layers = layers
        self.row_shape = tuple(row_shape)
        self.register_buffer("reference", None)

    def set(self, batch: Tensor) -> None:
        if tuple(batch.shape[1:]) != self.row_shape or len(batch) < 2:
            wanted = ", ".join(map(str, self.row_shape))
            raise ValueError(f"reference batch has shape {list(batch.shape)}, wanted [at least 2, {wanted}]")
        self.reference = batch.detach().to(next(self.layers.parameters()).device, copy=True)
        for module in self.layers.modules():
            if isinstance(module, VirtualBatchNorm):
                module.reference_size = len(batch)

    def forward(self, rows: Tensor) -> Tensor:
        if self.reference is None:
            raise RuntimeError("network has no reference batch, wanted set_reference_batch(network, batch)")
        return self.layers(torch.cat([self.reference, rows]))[len(self.reference) :]

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *args: Any) -> None:
        saved = state_dict.get(prefix + "reference")
        if saved is not None and tuple(saved.shape[1:]) == self.row_shape:
            self.set(saved)
        super()._load_from_state_dict(state_dict, prefix, *args)
