"""Members of the family of row losses ``a*A + r*R - t*l_y - f*l_f - u*S`` by name (:func:`amgan_fast.ops.kplus1_loss`).

A discriminator with one real/generated logit b is the family's case of one class, ``fake="zero"``: then D_r is
sigmoid(b), and the losses of GAN are those of LabelGAN.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

from torch import Tensor

from amgan_fast import ops
from amgan_fast.objectives.arguments import check_floats
from amgan_fast.option_checks import check_finite, check_fraction


class Coefficients(NamedTuple):
    """A member of the family ``a*A + r*R - t*l_y - f*l_f - u*S``, see :func:`amgan_fast.ops.kplus1_loss`.

    >>> from amgan_fast.objectives import real_row
    >>> real_row(smoothing=0.1).coefficients
    Coefficients(a=1, r=0, t=0.9, f=0.1, u=0.0)
    """

    a: float
    r: float
    t: float
    f: float
    u: float


@dataclass(frozen=True)
class RowLoss:
    """A named member of that family; called, it is :func:`amgan_fast.ops.kplus1_loss` with its coefficients.

    Labels are 0..K-1: none of the named losses has the generated class as its y.

    >>> import torch
    >>> from amgan_fast.objectives import Coefficients, RowLoss
    >>> generated = RowLoss("generated row", Coefficients(a=1, r=0, t=0, f=1, u=0))
    >>> generated(torch.zeros(5, 4)), generated.weighted(0.5)(torch.zeros(5, 4))  # log 4, and half of it
    (tensor(1.3863), tensor(0.6931))
    """

    name: str
    coefficients: Coefficients
    second_coefficient: float = 0.0
    """s, of a loss with a second label."""

    def __call__(
        self,
        logits: Tensor,
        labels: Tensor | None = None,
        *,
        fake: str = "column",
        reduction: str = "mean",
        second_labels: Tensor | None = None,
    ) -> Tensor:
        return ops.kplus1_loss(logits, labels, self.coefficients, **self._options(fake, reduction, second_labels))

    def and_grad(
        self,
        logits: Tensor,
        labels: Tensor | None = None,
        *,
        fake: str = "column",
        reduction: str = "mean",
        second_labels: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        """``(loss, grad)``, detached: :func:`amgan_fast.ops.kplus1_loss_and_grad`."""
        check_floats(logits=logits)
        options = self._options(fake, reduction, second_labels)
        return ops.kplus1_loss_and_grad(logits.detach(), labels, self.coefficients, **options)

    def weighted(self, weight: float) -> RowLoss:
        """This loss times ``weight``: a member of the family too."""
        check_finite("weight", weight)
        coefficients = Coefficients(*(weight * c for c in self.coefficients))
        return RowLoss(f"{weight:g} {self.name}", coefficients, weight * self.second_coefficient)

    def _options(self, fake: str, reduction: str, second_labels: Tensor | None) -> dict[str, Any]:
        options: dict[str, Any] = {"fake": fake, "reduction": reduction, "fake_labels": False}
        if second_labels is None and not self.second_coefficient:
            return options  # torch converts what it is given, defaults too
        return options | {"second_labels": second_labels, "second_coefficient": self.second_coefficient}


def real_row(smoothing: float = 0.0, class_smoothing: float = 0.0) -> RowLoss:
    """-log D_y, the discriminator's loss of a real row ([AM] eq. 5).

    Args:
        smoothing: mass of the target on the generated class ([LS] eq. 6), in [0, 1].
        class_smoothing: share of the rest that is spread over the K classes, in [0, 1].

    >>> import torch
    >>> from amgan_fast.objectives import real_row
    >>> real_row()(torch.zeros(2, 4), torch.tensor([0, 2]))  # log 4
    tensor(1.3863)
    """
    check_fraction("smoothing", smoothing)
    check_fraction("class_smoothing", class_smoothing)
    on_classes = 1 - smoothing
    t, u = (1 - class_smoothing) * on_classes, class_smoothing * on_classes
    return RowLoss("real row", Coefficients(a=1, r=0, t=t, f=smoothing, u=u))


def generated_row(smoothing: float = 0.0) -> RowLoss:
    """-log D_{K+1}, the discriminator's loss of a generated row ([AM] eq. 5).

    ``smoothing``: mass of the target that is spread over the K real classes, in [0, 1].

    >>> import torch
    >>> from amgan_fast.objectives import generated_row
    >>> generated_row()(torch.zeros(2, 4))  # log 4
    tensor(1.3863)
    """
    check_fraction("smoothing", smoothing)
    return RowLoss("generated row", Coefficients(a=1, r=0, t=0, f=1 - smoothing, u=smoothing))


def binary_cross_entropy(target: float) -> RowLoss:
    """-target * log D_r - (1 - target) * log D_{K+1}: real against generated, whatever the class; target in [0, 1].

    >>> import torch
    >>> from amgan_fast.objectives import binary_cross_entropy
    >>> logits = torch.zeros(2, 4)  # D_r = 3/4
    >>> binary_cross_entropy(1)(logits), binary_cross_entropy(0)(logits)  # -log(3/4), -log(1/4)
    (tensor(0.2877), tensor(1.3863))
    """
    check_fraction("target", target)
    return RowLoss("binary cross-entropy", Coefficients(a=1, r=-target, t=0, f=1 - target, u=0))


def non_saturating_generator(smoothing: float = 0.0) -> RowLoss:
    """-log D_r, the generator's usual loss ([AM] eq. 2).

    With ``smoothing`` s in [0, 1] its target is (1-s, s) on (real, generated), and its gradient vanishes at D_r = 1-s
    ([LS] eq. 11).

    >>> import torch
    >>> from amgan_fast.objectives import non_saturating_generator
    >>> loss, grad = non_saturating_generator(smoothing=0.25).and_grad(torch.zeros(1, 4))
    >>> grad.abs().max()  # D_r = 3/4 = 1 - s
    tensor(0.)
    """
    check_fraction("smoothing", smoothing)
    return RowLoss("non-saturating generator", binary_cross_entropy(1 - smoothing).coefficients)


def saturating_generator(smoothing: float = 0.0) -> RowLoss:
    """log(1 - D_r), the generator's loss of the minimax game, whose gradient vanishes as D_r goes to 0.

    With ``smoothing`` s in [0, 1] it is the negative of the discriminator's loss on generated rows with target
    (s, 1-s) on (real, generated), and its gradient vanishes at D_r = s ([LS] section 3).

    >>> import torch
    >>> from amgan_fast.objectives import saturating_generator
    >>> saturating_generator()(torch.zeros(2, 4))  # log(1/4)
    tensor(-1.3863)
    """
    check_fraction("smoothing", smoothing)
    return RowLoss("saturating generator", binary_cross_entropy(smoothing).weighted(-1).coefficients)


def class_cross_entropy(smoothing: float = 0.0) -> RowLoss:
    """-log C_y over the K real classes, ``smoothing`` in [0, 1] of the target being spread over them.

    >>> import torch
    >>> from amgan_fast.objectives import class_cross_entropy
    >>> logits = torch.tensor([[0.0, 0.0, 0.0, 5.0]])
    >>> class_cross_entropy()(logits, torch.tensor([1]))  # log 3, whatever the last column
    tensor(1.0986)
    """
    check_fraction("smoothing", smoothing)
    return RowLoss("class cross-entropy", Coefficients(a=0, r=1, t=1 - smoothing, f=0, u=smoothing))


CLASS_CROSS_ENTROPY = class_cross_entropy()
"""-log C_y over the K real classes: the auxiliary classifier's loss ([AM] Lemma 2).

>>> import torch
>>> from amgan_fast.objectives import CLASS_CROSS_ENTROPY
>>> CLASS_CROSS_ENTROPY(torch.zeros(2, 3), torch.tensor([0, 2]), fake="zero")  # log 3
tensor(1.0986)
"""

CLASS_CROSS_ENTROPY_TO_UNIFORM = RowLoss("class cross-entropy to uniform", class_cross_entropy(1).coefficients)
"""H(u, C), u uniform over the K real classes ([AM] section 5.3, the "+" of AC-GAN*+).

>>> import torch
>>> from amgan_fast.objectives import CLASS_CROSS_ENTROPY_TO_UNIFORM
>>> CLASS_CROSS_ENTROPY_TO_UNIFORM(torch.zeros(2, 3), fake="zero")  # log 3, the least there is
tensor(1.0986)
"""

CLASS_LOG_ODDS = RowLoss("class log-odds", Coefficients(a=0, r=0, t=-1, f=1, u=0))
"""log D_y - log D_{K+1} = l_y - l_f: how much likelier a row is real and of class y than generated.

Not a loss: a logit of the row, as a gradient penalty or a relativistic loss wants it.

>>> import torch
>>> from amgan_fast.objectives import CLASS_LOG_ODDS
>>> CLASS_LOG_ODDS(torch.tensor([[3.0, 1.0, 0.5]]), torch.tensor([0]), reduction="none")
tensor([2.5000])
"""

REAL_LOG_ODDS = RowLoss("real log-odds", Coefficients(a=0, r=1, t=0, f=1, u=0))
"""log D_r - log D_{K+1} = R - l_f: how much likelier a row is real than generated, whatever its class.

>>> import torch
>>> from amgan_fast.objectives import REAL_LOG_ODDS
>>> REAL_LOG_ODDS(torch.zeros(1, 4), reduction="none")  # log 3
tensor([1.0986])
"""
