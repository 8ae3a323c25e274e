"""Objectives against the papers' formulas: by value, by class-aware gradient, and in use."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from torch import Tensor, nn

from amgan_fast import objectives
from amgan_fast.objectives import AMGAN, GAN, MODELS, LabelGAN

K, N = 5, 7


@pytest.fixture
def logits(generator: torch.Generator) -> Tensor:
    return (3 * torch.randn(N, K + 1, generator=generator, dtype=torch.float64)).requires_grad_()


@pytest.fixture
def labels(generator: torch.Generator) -> Tensor:
    return torch.randint(K, (N,), generator=generator)


def descent(loss: Tensor, logits: Tensor) -> Tensor:
    """-d(N * loss)/d(logits): the class-aware gradient of each row."""
    return -torch.autograd.grad(loss, logits)[0] * len(logits)


def test_class_cross_entropy_is_that_of_the_real_logits(logits, labels):
    want = nn.functional.cross_entropy(logits[:, :K], labels)
    torch.testing.assert_close(objectives.CLASS_CROSS_ENTROPY(logits, labels), want)


def test_class_cross_entropy_to_uniform(logits):
    want = -logits[:, :K].log_softmax(1).mean()
    torch.testing.assert_close(objectives.CLASS_CROSS_ENTROPY_TO_UNIFORM(logits), want)


def test_saturating_generator_is_log_of_the_fake_probability(logits):
    loss = objectives.saturating_generator()(logits)
    torch.testing.assert_close(loss, logits.log_softmax(1)[:, K].mean())
    probability = logits.softmax(1).detach()
    want = probability.clone()
    want[:, K] = -(1 - probability[:, K])
    torch.testing.assert_close(descent(loss, logits), want)


def test_smoothed_saturating_generator_stops_where_the_real_probability_is_the_smoothing():
    smoothing = 0.2
    row = torch.tensor([[smoothing, 1 - smoothing]], dtype=torch.float64).log().requires_grad_()
    loss = objectives.saturating_generator(smoothing)(row)
    torch.testing.assert_close(descent(loss, row), torch.zeros(1, 2, dtype=torch.float64))


@pytest.mark.parametrize("smoothing", [-0.1, 1.5, float("nan")])
def test_saturating_generator_refuses_a_smoothing_out_of_range(smoothing):
    with pytest.raises(ValueError, match=r"smoothing is .*wanted a number in \[0, 1\]"):
        objectives.saturating_generator(smoothing)


def test_gan_is_binary_cross_entropy(generator):
    real, fake = (torch.randn(N, 1, generator=generator, dtype=torch.float64) for _ in range(2))
    bce = nn.functional.binary_cross_entropy_with_logits
    want = bce(real, torch.ones_like(real)) + bce(fake, torch.zeros_like(fake))
    torch.testing.assert_close(GAN().discriminator_loss(real, torch.zeros(N, dtype=torch.int64), fake), want)
    torch.testing.assert_close(GAN().generator_loss(fake), bce(fake, torch.ones_like(fake)))
    torch.testing.assert_close(GAN(saturating=True).generator_loss(fake), -bce(fake, torch.zeros_like(fake)))


def test_gan_refuses_logits_of_several_columns(logits):
    with pytest.raises(ValueError, match=r"logits are \[7, 6\], wanted \[N, 1\]"):
        GAN().generator_loss(logits)


@pytest.mark.parametrize("model", [LabelGAN, AMGAN])
def test_the_discriminator_of_k_plus_1_classes(model, logits, labels):
    generated = logits.detach().flip(0)
    want = nn.functional.cross_entropy(logits, labels) - generated.log_softmax(1)[:, K].mean()
    torch.testing.assert_close(model().discriminator_loss(logits, labels, generated), want)


def test_labelgan_generator(logits):
    probability = logits.softmax(1).detach()
    real = probability[:, :K].sum(1, keepdim=True)
    loss = LabelGAN().generator_loss(logits)
    torch.testing.assert_close(loss, -real.log().mean())
    want = torch.cat([(1 - real) * probability[:, :K] / real, -(1 - real)], 1)
    torch.testing.assert_close(descent(loss, logits), want)


def test_smoothed_labelgan_generator_stops_at_its_target():
    row = torch.tensor([[0.9, 0.1]], dtype=torch.float64).log().requires_grad_()
    loss = LabelGAN(generator_smoothing=0.1).generator_loss(row)
    torch.testing.assert_close(descent(loss, row), torch.zeros(1, 2, dtype=torch.float64))


def test_amgan_generator_with_dynamic_and_with_given_labels(logits, labels):
    for given, target in ((None, logits[:, :K].argmax(1)), (labels, labels)):
        loss = AMGAN().generator_loss(logits, given)
        torch.testing.assert_close(loss, nn.functional.cross_entropy(logits, target))
        want = nn.functional.one_hot(target, K + 1) - logits.softmax(1).detach()
        torch.testing.assert_close(descent(loss, logits), want)


@pytest.mark.parametrize("model", MODELS.values(), ids=MODELS)
def test_loss_and_grad_is_what_autograd_says(model, generator, labels):
    objective = model()
    shape = (N, objective.outputs(K))
    real, fake = (torch.randn(shape, generator=generator, requires_grad=True) for _ in range(2))

    loss = objective.discriminator_loss(real, labels, fake)
    want = (loss.detach(), *torch.autograd.grad(loss, (real, fake)))
    with torch.no_grad():  # a trainer may be anywhere
        got = objective.discriminator_loss_and_grad(real, labels, fake)
    torch.testing.assert_close(got, want)

    loss = objective.generator_loss(fake, labels)
    want = (loss.detach(), *torch.autograd.grad(loss, fake))
    got = objective.generator_loss_and_grad(fake, labels)
    torch.testing.assert_close(got, want)
    assert not any(value.requires_grad for value in got)


def test_fake_zero_is_a_column_of_zeros(generator, labels):
    real, fake = (torch.randn(N, K, generator=generator) for _ in range(2))
    with_column = [nn.functional.pad(x, (0, 1)) for x in (real, fake)]
    for model in (LabelGAN, AMGAN):
        zero, column = model(fake="zero"), model()
        assert (zero.outputs(K), column.outputs(K)) == (K, K + 1)
        torch.testing.assert_close(
            zero.discriminator_loss(real, labels, fake),
            column.discriminator_loss(with_column[0], labels, with_column[1]),
        )
        torch.testing.assert_close(zero.generator_loss(fake), column.generator_loss(with_column[1]))


def test_objectives_are_values():
    assert AMGAN(real_smoothing=0.1) == AMGAN(real_smoothing=0.1) != AMGAN()
    with pytest.raises(dataclasses.FrozenInstanceError):
        AMGAN().real_smoothing = 0.5


def test_own_networks_in_three_lines():
    torch.manual_seed(0)
    D, G = nn.Linear(4, K + 1), nn.Linear(2, 4)
    x, y, z = torch.randn(8, 4), torch.randint(K, (8,)), torch.randn(8, 2)

    objective = AMGAN()
    objective.discriminator_loss(D(x), y, D(G(z).detach())).backward()
    objective.generator_loss(D(G(z))).backward()

    assert all(p.grad is not None and p.grad.isfinite().all() for p in (*D.parameters(), *G.parameters()))
