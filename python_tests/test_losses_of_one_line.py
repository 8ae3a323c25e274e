"""What docs/objectives.md says is one line of the family is the loss of the paper, in PyTorch's words."""

from __future__ import annotations

import torch
from checking import check_rows
from torch.nn import functional as F

from amgan_fast import ops

CLASS = {"coefficients": (0, 1, 1, 0, 0), "fake": "zero"}


def drawn(rows=20, classes=10, seed=0):
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(rows, classes, generator=generator, dtype=torch.float64)
    return 3 * logits, torch.randint(classes, (rows,), generator=generator)


def test_rotations_of_ssgan():
    logits, turns = drawn(classes=4)
    check_rows(lambda x: ops.kplus1_loss(x, turns, **CLASS), lambda x: F.cross_entropy(x, turns), [logits], "mean", "")


def test_the_two_cross_entropies_of_p2gan():
    (real, labels), (generated, asked) = drawn(), drawn(rows=13, seed=1)
    check_rows(
        lambda x, g: ops.kplus1_loss(x, labels, **CLASS) + ops.kplus1_loss(g, asked, **CLASS),
        lambda x, g: F.cross_entropy(x, labels) + F.cross_entropy(g, asked),
        [real, generated],
        "mean",
        "",
    )


def test_guidance_by_a_classifier():
    logits, labels = drawn()
    weights = torch.rand(20, generator=torch.Generator().manual_seed(2))
    check_rows(
        lambda x: ops.kplus1_loss(x, labels, row_weight=weights, **CLASS),
        lambda x: (weights.double() * F.cross_entropy(x, labels, reduction="none")).mean(),
        [logits],
        "mean",
        "",
    )


def test_fixmatch():
    """Equation 4: the mean is over all rows, those below the threshold too."""
    weak, _ = drawn()
    strong, _ = drawn(seed=1)
    likely, pseudo = weak.softmax(1).max(1)
    taken = likely > likely.median()
    check_rows(
        lambda x: ops.kplus1_loss(x, pseudo, row_weight=taken.float(), **CLASS),
        lambda x: (F.cross_entropy(x, pseudo, reduction="none") * taken).mean(),
        [strong],
        "mean",
        "",
    )


def test_mixup():
    logits, labels = drawn()
    others, share = labels.flip(0), 0.3
    check_rows(
        lambda x: ops.kplus1_loss(
            x, labels, (0, 1, 1 - share, 0, 0), fake="zero", second_labels=others, second_coefficient=share
        ),
        lambda x: (1 - share) * F.cross_entropy(x, labels) + share * F.cross_entropy(x, others),
        [logits],
        "mean",
        "",
    )


def test_distillation():
    logits, _ = drawn(classes=11)
    teacher = drawn(classes=11, seed=1)[0].softmax(1)
    check_rows(
        lambda x: ops.kplus1_cross_entropy(x, teacher),
        lambda x: F.cross_entropy(x, teacher),
        [logits],
        "mean",
        "",
    )
