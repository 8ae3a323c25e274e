"""How a generator is told the class of each sample, other than by a one-hot label beside z."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from amgan_fast.precision import without_autocast


class ClassEmbedding(nn.Module):
    """Rows of z and a one-hot label, [N, size + classes] -> z and a learned vector of the class, [N, 2 size].

    The vector is as long as z, as in the authors' code of BigGAN-deep (Brock et al., arXiv 1809.11096: 128 and 128),
    and starts from N(0, 1), as torch's ``nn.Embedding`` does and as z is drawn. Under autocast it is float32.

    Args:
        size: the length of z.
        classes: the number of columns behind it. They need not be one-hot: 0.5 and 0.5 is half way between two classes.

    >>> import torch
    >>> from amgan_fast.nn import ClassEmbedding
    >>> embedding = ClassEmbedding(size=4, classes=3)
    >>> rows = embedding(torch.tensor([[0.0, 0.0, 0.0, 0.0, 0.0, 1.0, 0.0]]))
    >>> rows[0, 4:].equal(embedding.table[1])
    True
    """

    def __init__(self, size: int, classes: int) -> None:
        super().__init__()
        self.size = size
        self.table = nn.Parameter(torch.randn(classes, size))

    def forward(self, rows: Tensor) -> Tensor:
        z, label = rows.split([self.size, len(self.table)], 1)
        return torch.cat([z, _of_class(self.table, label)], 1)

    def extra_repr(self) -> str:
        return f"size={self.size}, classes={len(self.table)}"


class TakesLabel(nn.Module):
    """A layer that :class:`Conditioned` calls with (x, label), where it calls others with x: what has gains and biases
    of classes, or such layers in it, which it hands the label on to (:func:`pass_through`).

    >>> import torch
    >>> from torch import nn
    >>> from amgan_fast.nn import Conditioned, TakesLabel
    >>> class Shift(TakesLabel):
    ...     def forward(self, x, label):
    ...         return x + label @ torch.tensor([[0.0], [10.0]])
    >>> Conditioned(nn.Sequential(nn.Identity(), Shift()), classes=2)(torch.tensor([[5.0, 0.0, 1.0]]))
    tensor([[15.]])
    """


def pass_through(layers: Iterable[nn.Module], x: Tensor, label: Tensor | None) -> Tensor:
    """``layers`` one after the other; ``label`` is for those that take it, None: there is none."""
    for layer in layers:
        x = layer(x, label) if isinstance(layer, TakesLabel) else layer(x)
    return x


class ConditionalBatchNorm(TakesLabel):
    """``norm``, then a gain and a bias for each class and channel: (x, label) -> x * gain[class] + bias[class].

    Statistics are those of the whole batch, as with plain batch norm; all gains start at 1, all biases at 0. Sources:
    Dumoulin et al., arXiv 1610.07629 (of instance norm), de Vries et al., arXiv 1707.00683, and in a GAN's generator
    Miyato and Koyama, arXiv 1802.05637, whose code has such a table for each layer. (Brock et al., arXiv 1809.11096,
    make gains and biases of one embedding that all layers share.) Under autocast gains and biases are float32, and the
    output has the dtype of x.

    Args:
        norm: an ``nn.BatchNorm1d`` or ``nn.BatchNorm2d`` with ``affine=False``.
        classes: the number of columns of a label, one-hot [N, classes]; weights that sum to 1 give the average of
            several classes.

    >>> import torch
    >>> from torch import nn
    >>> from amgan_fast.nn import ConditionalBatchNorm
    >>> layer = ConditionalBatchNorm(nn.BatchNorm1d(1, eps=1e-12, affine=False), classes=2)
    >>> _ = layer.bias.data.copy_(torch.tensor([[0.0], [10.0]]))
    >>> layer(torch.tensor([[1.0], [3.0]]), torch.eye(2)).tolist()  # normalized to -1 and 1
    [[-1.0], [11.0]]
    """

    def __init__(self, norm: nn.BatchNorm1d | nn.BatchNorm2d, classes: int) -> None:
        super().__init__()
        self.norm = norm
        self.gain = nn.Parameter(torch.ones(classes, norm.num_features))
        self.bias = nn.Parameter(torch.zeros(classes, norm.num_features))

    def forward(self, x: Tensor, label: Tensor) -> Tensor:
        each = (*x.shape[:2], *(1 for _ in x.shape[2:]))
        gain, bias = (_of_class(table, label).view(each) for table in (self.gain, self.bias))
        return torch.addcmul(bias, self.norm(x), gain).to(x.dtype)

    def extra_repr(self) -> str:
        return f"classes={len(self.gain)}"


class Conditioned(nn.Module):
    """Takes rows [N, inputs + classes] apart: ``layers`` get the first columns, and those that are :class:`TakesLabel`,
    :class:`ConditionalBatchNorm` say, the others, the label, too.

    Args:
        layers: one after the other, the first takes [N, inputs].
        classes: the number of columns of a label.

    >>> import torch
    >>> from torch import nn
    >>> from amgan_fast.nn import ConditionalBatchNorm, Conditioned
    >>> norm = ConditionalBatchNorm(nn.BatchNorm1d(8, affine=False), classes=3)
    >>> Conditioned(nn.Sequential(nn.Linear(4, 8), norm, nn.ReLU()), classes=3)(torch.randn(5, 7)).shape
    torch.Size([5, 8])
    """

    def __init__(self, layers: nn.Sequential, classes: int) -> None:
        super().__init__()
        self.layers = layers
        self.classes = classes

    def forward(self, rows: Tensor) -> Tensor:
        x, label = rows.split([rows.size(1) - self.classes, self.classes], 1)
        return pass_through(self.layers, x, label)

    def extra_repr(self) -> str:
        return f"classes={self.classes}"


def _of_class(table: Tensor, label: Tensor) -> Tensor:
    """[N, C]: for each one-hot label, [N, classes], its row of ``table``, [classes, C]. A product takes weights of
    classes as well, and its gradient is summed in the same order at every run."""
    with without_autocast(table.device):
        return label @ table
