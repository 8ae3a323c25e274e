"""ReACGAN: rows of a batch are compared with each other, and with a proxy of their class."""

from __future__ import annotations

import math
from dataclasses import dataclass
from numbers import Integral
from typing import ClassVar

import torch
from torch import Tensor, nn

from amgan_fast.nn import ProxyHead
from amgan_fast.objectives.arguments import check_temperature
from amgan_fast.objectives.binary import BinaryHead
from amgan_fast.objectives.losses import CLASS_CROSS_ENTROPY, RowLoss
from amgan_fast.objectives.terms import (
    Heads,
    Pair,
    Separate,
    Term,
    check_real_labels,
    given_or_dynamic,
)
from amgan_fast.option_checks import check_finite, check_not_negative, check_that
from amgan_fast.precision import at_least_float32, without_autocast

_LARGEST_EMBEDDING = 65_536


@dataclass(frozen=True)
class _DataToData(Term):
    """D2D-CE of rows [K cosines | embedding] ([RE]); ``cross_entropy``: that of their similarities, with its weight."""

    cross_entropy: RowLoss
    embedding_size: int
    temperature: float
    positive_margin: float
    negative_margin: float
    needs_labels: bool = False

    def __call__(self, logits: Tensor, labels: Tensor | None = None) -> Tensor:
        if self.needs_labels:
            check_real_labels(labels)
        wide = at_least_float32(logits)
        cosines, embedding = wide[:, : -self.embedding_size], wide[:, -self.embedding_size :]
        y = given_or_dynamic(labels, cosines)[:, None]
        similarities = self._similarities(cosines, embedding, y)
        # Over all columns and no other one: R of the family, without a logit of the generated class.
        first = torch.zeros_like(y[:, 0])
        return self.cross_entropy(similarities, first, fake="zero")

    def and_grad(self, logits: Tensor, labels: Tensor | None = None) -> tuple[Tensor, Tensor]:
        with without_autocast(logits.device):  # the backward of a product is products, too
            return super().and_grad(logits, labels)

    def _similarities(self, cosines: Tensor, embedding: Tensor, y: Tensor) -> Tensor:
        """Over the temperature: of every row with its proxy, and with the N rows, -inf with those of its class."""
        with without_autocast(embedding.device):
            others = embedding @ embedding.T
        with_proxy = (cosines.gather(1, y) - self.positive_margin).clamp_max(0)
        with_others = (others - self.negative_margin).clamp_min(0).masked_fill(y == y.T, -math.inf)
        return torch.cat([with_proxy, with_others], 1) / self.temperature


@dataclass(frozen=True)
class ReACGAN(BinaryHead):
    """ReACGAN: the embedding of a row is pulled to its class's proxy and pushed from rows of other classes ([RE]).

    Logits are [b | K cosines with the proxies | embedding of length 1], as :class:`amgan_fast.nn.ProxyHead` gives them.
    L_D: GAN's + w D2D-CE(x, y); L_G: GAN's + w D2D-CE(g, y_g), the mean over the rows i of a batch of

        -s_i + log(e^s_i + sum over rows j of other classes e^s_ij),

    s_i = min(0, cos(e_i, proxy of y_i) - m_p) / tau and s_ij = max(0, cos(e_i, e_j) - m_n) / tau: 0 in a batch of one
    class alone. The dynamic label of g is that of the nearest proxy; the source has given ones. The authors' code
    trains b by the hinge loss, and divides the sum over j, without gradient, by the row's largest
    e^((cos - m_n) / tau), which their formula does not. Several processes compare the rows of each; theirs compare all.

    Args:
        auxiliary_weight: w, of both losses; in the authors' runs 0.5 on CIFAR-10, 0.75 on Tiny ImageNet.
        temperature: tau; 0.5 and 0.75 there.
        positive_margin: m_p; 0.98 and 1 there.
        negative_margin: m_n; 1 - m_p there.
        embedding_size: 512 and 768 there.

    >>> import torch
    >>> from amgan_fast.objectives import ReACGAN
    >>> objective = ReACGAN(embedding_size=2)
    >>> objective.outputs(num_classes=3)
    6
    >>> rows = torch.tensor([[0.0, 0.98, 0.0, 0.0, 1.0, 0.0], [0.0, 0.0, 0.98, 0.0, 0.0, 1.0]])
    >>> objective.generator_loss(rows, torch.tensor([0, 1]))  # both as wanted: log 2 + 0.5 log(1 + 1)
    tensor(1.0397)
    """

    name: ClassVar[str] = "reacgan"
    has_target_class: ClassVar[bool] = True
    _first_class_column: ClassVar[int] = 1
    auxiliary_weight: float = 0.5
    temperature: float = 0.5
    positive_margin: float = 0.98
    negative_margin: float = 0.02
    embedding_size: int = 512

    def __post_init__(self) -> None:
        check_not_negative("auxiliary_weight", self.auxiliary_weight)
        check_temperature("temperature", self.temperature, or_zero=False)
        check_finite("positive_margin", self.positive_margin)
        check_finite("negative_margin", self.negative_margin)
        size = self.embedding_size
        holds = isinstance(size, Integral) and 1 <= size <= _LARGEST_EMBEDDING
        check_that(holds, "embedding_size", size, f"an integer from 1 to {_LARGEST_EMBEDDING:,}")
        super().__post_init__()

    @property
    def _other_columns(self) -> int:
        return 1 + self.embedding_size

    def build_head(self, features: int, num_classes: int) -> nn.Module:
        return ProxyHead(features, num_classes, self.embedding_size)

    def _discriminator(self) -> Pair:
        return Separate(Heads(self._on_real(), self._data_to_data(needs_labels=True)), Heads(self._on_generated()))

    def _generator(self) -> Term:
        return Heads(self._of_generator(), self._data_to_data())

    def _data_to_data(self, needs_labels: bool = False) -> Term:
        return _DataToData(
            CLASS_CROSS_ENTROPY.weighted(self.auxiliary_weight),
            self.embedding_size,
            self.temperature,
            self.positive_margin,
            self.negative_margin,
            needs_labels,
        )
