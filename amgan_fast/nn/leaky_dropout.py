"""The activation and dropout of a discriminator's hidden layer, as one layer."""

from __future__ import annotations

from torch import Tensor, nn

from amgan_fast.ops import leaky_dropout


class LeakyReLUDropout(nn.Module):
    """``nn.LeakyReLU(slope)``, then ``nn.Dropout(p)``, in one pass: see :func:`amgan_fast.ops.leaky_dropout`.

    >>> import torch
    >>> from amgan_fast.nn import LeakyReLUDropout
    >>> LeakyReLUDropout(p=0.5, slope=0.2).eval()(torch.tensor([-10.0, 10.0]))
    tensor([-2., 10.])
    """

    def __init__(self, p: float = 0.5, slope: float = 0.2) -> None:
        super().__init__()
        self.p = p
        self.slope = slope

    def forward(self, x: Tensor) -> Tensor:
        return leaky_dropout(x, self.p, self.slope, training=self.training)

    def extra_repr(self) -> str:
        return f"p={self.p}, slope={self.slope}"
