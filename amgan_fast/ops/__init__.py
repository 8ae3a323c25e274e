"""Fused losses and score sums as torch operations: ``torch.ops.amgan_fast.*`` with documented signatures."""

from amgan_fast import _extension as _extension  # loads the operations
from amgan_fast.ops.batch_norm import batch_norm_leaky_dropout
from amgan_fast.ops.entropy import class_entropy, class_entropy_and_grad
from amgan_fast.ops.hinge import kplus1_hinge_loss, kplus1_hinge_loss_and_grad
from amgan_fast.ops.kplus1 import (
    KPlus1Terms,
    am_discriminator_loss,
    am_discriminator_loss_and_grad,
    am_generator_loss,
    am_generator_loss_and_grad,
    kplus1_cross_entropy,
    kplus1_loss,
    kplus1_loss_and_grad,
    kplus1_terms,
    labelgan_generator_loss,
)
from amgan_fast.ops.leaky_dropout import leaky_dropout
from amgan_fast.ops.scores import ScoreSums, score_sums

__all__ = [
    "KPlus1Terms",
    "ScoreSums",
    "am_discriminator_loss",
    "am_discriminator_loss_and_grad",
    "am_generator_loss",
    "am_generator_loss_and_grad",
    "batch_norm_leaky_dropout",
    "class_entropy",
    "class_entropy_and_grad",
    "kplus1_cross_entropy",
    "kplus1_hinge_loss",
    "kplus1_hinge_loss_and_grad",
    "kplus1_loss",
    "kplus1_loss_and_grad",
    "kplus1_terms",
    "labelgan_generator_loss",
    "leaky_dropout",
    "score_sums",
]
