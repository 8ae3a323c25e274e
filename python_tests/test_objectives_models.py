"""Every model's losses against the papers' formulas, by value and by class-aware gradient, in float64.

The formulas are written with torch.nn.functional alone. C is the softmax over the K class logits, D that over all K+1,
D_r the sum of its first K; b is the real/generated logit of models that have one.
"""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor
from torch.nn.functional import (
    binary_cross_entropy_with_logits,
    cross_entropy,
    logsigmoid,
    one_hot,
    pad,
    softplus,
)

from amgan_fast.objectives import (
    ACGAN,
    ADCGAN,
    AMGAN,
    ECGAN,
    GAN,
    TACGAN,
    ACGANStar,
    ACGANStarPlus,
    CatGAN,
    GANStar,
    ImprovedGAN,
    LabelGAN,
    MultiHinge,
    Objective,
    OmniGAN,
    ReACGAN,
    RelativisticAMGAN,
    RpGAN,
)

K, N, M = 5, 7, 4  # classes, real rows, generated rows
BINARY_HEAD = (GANStar, ACGANStar, ACGANStarPlus, ACGAN)
CLASS_TARGET = (ACGANStar, ACGANStarPlus, ACGAN)

Batch = tuple[Tensor, Tensor, Tensor, Tensor]


@pytest.fixture
def batch(generator: torch.Generator) -> Batch:
    """K+1 columns of real and of generated rows, leaves, and the labels of both."""
    real, fake = (2 * torch.randn(n, K + 1, generator=generator, dtype=torch.float64) for n in (N, M))
    labels, fake_labels = (torch.randint(K, (n,), generator=generator) for n in (N, M))
    return real.requires_grad_(), labels, fake.requires_grad_(), fake_labels


def binary(b: Tensor, target: float) -> Tensor:
    return binary_cross_entropy_with_logits(b, torch.full_like(b, target))


def uniform_cross_entropy(class_logits: Tensor) -> Tensor:
    return cross_entropy(class_logits, torch.full_like(class_logits, 1 / class_logits.size(1)))


def entropy(probability: Tensor) -> Tensor:
    return torch.special.entr(probability).sum(-1).mean()


def descent(loss: Tensor, logits: Tensor) -> Tensor:
    """-d(N * loss)/d(logits): the class-aware gradient of each row."""
    return -torch.autograd.grad(loss, logits)[0] * len(logits)


def real_probability(logits: Tensor) -> Tensor:
    """D_r, [N, 1]."""
    return logits.softmax(1)[:, :K].sum(1, keepdim=True)


def close(got: Tensor, want: Tensor) -> None:
    torch.testing.assert_close(got, want)


# One logit


def test_gan(batch):
    real, labels, fake, _ = batch
    b, g = real[:, :1], fake[:, :1]
    want = softplus(-b).mean() + softplus(g).mean()
    close(GAN().discriminator_loss(b, labels, g), want)
    close(GAN().generator_loss(g), softplus(-g).mean())
    close(GAN(saturating=True).generator_loss(g), -softplus(g).mean())
    close(descent(GAN().generator_loss(g), fake)[:, :1], 1 - g.sigmoid())
    close(descent(GAN(saturating=True).generator_loss(g), fake)[:, :1], g.sigmoid())


@pytest.mark.parametrize("model", [GAN, *BINARY_HEAD])
def test_smoothing_of_the_binary_head(model, batch):
    """By value, beside the same model without smoothing, whose class terms are the same."""
    real, labels, fake, fake_labels = batch
    if model is GAN:
        real, fake = real[:, :1], fake[:, :1]
    b, g = real[:, :1], fake[:, :1]
    plain, smooth = model(), model(real_smoothing=0.1, fake_smoothing=0.2)
    got = smooth.discriminator_loss(real, labels, fake, fake_labels)
    want = plain.discriminator_loss(real, labels, fake, fake_labels)
    close(got - want, binary(b, 0.9) - binary(b, 1.0) + binary(g, 0.2) - binary(g, 0.0))
    smooth = model(generator_smoothing=0.3)
    close(smooth.generator_loss(fake) - plain.generator_loss(fake), binary(g, 0.7) - binary(g, 1.0))


@pytest.mark.parametrize("saturating", [False, True])
def test_where_the_smoothed_gan_stops(saturating):
    def slope(loss: Tensor, b: Tensor) -> Tensor:
        return torch.autograd.grad(loss, b)[0].abs().max()

    def at(probability: float) -> Tensor:
        return torch.full((3, 1), math.log(probability / (1 - probability)), dtype=torch.float64).requires_grad_()

    objective = GAN(saturating, real_smoothing=0.1, fake_smoothing=0.2, generator_smoothing=0.3)
    real, fake = at(0.9), at(0.2)
    loss = objective.discriminator_loss(real, torch.zeros(3, dtype=torch.int64), fake)
    assert max(slope(loss, real), slope(objective.discriminator_loss(real, None, fake), fake)) < 1e-15
    stop = at(0.3 if saturating else 0.7)
    assert slope(objective.generator_loss(stop), stop) < 1e-15
    elsewhere = at(0.5)
    assert slope(objective.generator_loss(elsewhere), elsewhere) > 0.01


# Two heads


@pytest.mark.parametrize("model", BINARY_HEAD)
@pytest.mark.parametrize("given", [True, False], ids=["given labels", "dynamic labels"])
def test_models_with_a_classifier(model, given, batch):
    real, labels, fake, fake_labels = batch
    y = fake_labels if given else fake[:, 1:].argmax(1)
    gan = binary(real[:, :1], 1.0) + binary(fake[:, :1], 0.0)
    on_real = cross_entropy(real[:, 1:], labels)
    want = {
        GANStar: gan + 0.1 * on_real,
        ACGANStar: gan + on_real,
        ACGANStarPlus: gan + on_real + uniform_cross_entropy(fake[:, 1:]),
        ACGAN: gan + on_real + cross_entropy(fake[:, 1:], y),
    }[model]
    got = model().discriminator_loss(real, labels, fake, fake_labels if given else None)
    close(got, want)
    close(torch.autograd.grad(got, (real, fake)), torch.autograd.grad(want, (real, fake)))

    generator = binary(fake[:, :1], 1.0) + (cross_entropy(fake[:, 1:], y) if model in CLASS_TARGET else 0)
    close(model().generator_loss(fake, fake_labels if given else None), generator)


def test_gradients_of_the_ac_gan_generators(batch):
    _, _, fake, y = batch
    for weight in (1.0, 0.1, 0.0):
        loss = ACGANStar(auxiliary_weight=weight).generator_loss(fake, y)
        close(loss, binary(fake[:, :1], 1.0) + weight * cross_entropy(fake[:, 1:], y))
        classes = weight * (one_hot(y, K) - fake[:, 1:].softmax(1))
        close(descent(loss, fake), torch.cat([1 - fake[:, :1].sigmoid(), classes], 1).detach())


def test_the_generator_of_gan_star_does_not_see_the_classifier(batch):
    _, _, fake, y = batch
    for objective in (GANStar(), GANStar(saturating=True)):
        want = fake[:, :1].sigmoid() if objective.saturating else 1 - fake[:, :1].sigmoid()
        close(descent(objective.generator_loss(fake, y), fake), pad(want, (0, K)).detach())


def test_ac_gan_star_plus_stops_where_generated_rows_are_of_no_class(batch):
    real, labels, fake, _ = batch
    loss = ACGANStarPlus().discriminator_loss(real, labels, fake)
    close(descent(loss, fake)[:, 1:], (1 / K - fake[:, 1:].softmax(1)).detach())


@pytest.mark.parametrize("model", BINARY_HEAD)
def test_class_smoothing_of_the_classifier(model, batch):
    real, labels, fake, _ = batch
    weight = 0.1 if model is GANStar else 1
    got = model(class_smoothing=0.3).discriminator_loss(real, labels, fake)
    got = got - model().discriminator_loss(real, labels, fake)
    want = cross_entropy(real[:, 1:], labels, label_smoothing=0.3) - cross_entropy(real[:, 1:], labels)
    close(got, weight * want)


# Two classifiers


@pytest.fixture
def two_classifiers(generator: torch.Generator) -> Batch:
    """b and 2K columns of real and of generated rows, leaves, and the labels of both."""
    real, fake = (2 * torch.randn(n, 2 * K + 1, generator=generator, dtype=torch.float64) for n in (N, M))
    labels, fake_labels = (torch.randint(K, (n,), generator=generator) for n in (N, M))
    return real.requires_grad_(), labels, fake.requires_grad_(), fake_labels


@pytest.mark.parametrize("weight", [1.0, 0.3])
@pytest.mark.parametrize("given", [True, False], ids=["given labels", "dynamic labels"])
def test_adcgan(weight, given, two_classifiers):
    """log of the probabilities C(y, 1 | x) of real rows and C(y, 0 | g) of generated ones, of 2K that add up to 1."""
    real, labels, fake, fake_labels = two_classifiers
    y = fake_labels if given else fake[:, 1::2].argmax(1)
    on_real, on_fake = (x[:, 1:].softmax(1).view(-1, K, 2) for x in (real, fake))
    rows = torch.arange(M)
    classifier = -on_real[torch.arange(N), labels, 0].log().mean() - on_fake[rows, y, 1].log().mean()
    want = binary(real[:, :1], 1.0) + binary(fake[:, :1], 0.0) + weight * classifier
    objective = ADCGAN(auxiliary_weight=weight)
    got = objective.discriminator_loss(real, labels, fake, fake_labels if given else None)
    close(got, want)
    close(torch.autograd.grad(got, (real, fake)), torch.autograd.grad(want, (real, fake), retain_graph=True))

    generator = binary(fake[:, :1], 1.0) - weight * (on_fake[rows, y, 0].log() - on_fake[rows, y, 1].log()).mean()
    loss = objective.generator_loss(fake, fake_labels if given else None)
    close(loss, generator)
    pull = torch.stack([one_hot(y, K), -one_hot(y, K)], 2).flatten(1).double()
    close(descent(loss, fake), torch.cat([1 - fake[:, :1].sigmoid(), weight * pull], 1).detach())


@pytest.mark.parametrize("weight", [1.0, 0.3])
@pytest.mark.parametrize("given", [True, False], ids=["given labels", "dynamic labels"])
def test_tacgan(weight, given, two_classifiers):
    real, labels, fake, fake_labels = two_classifiers
    c, twin = fake[:, 1 : K + 1], fake[:, K + 1 :]
    y = fake_labels if given else c.argmax(1)
    classifiers = cross_entropy(real[:, 1 : K + 1], labels) + cross_entropy(twin, y)
    want = binary(real[:, :1], 1.0) + binary(fake[:, :1], 0.0) + weight * classifiers
    objective = TACGAN(auxiliary_weight=weight)
    got = objective.discriminator_loss(real, labels, fake, fake_labels if given else None)
    close(got, want)
    close(torch.autograd.grad(got, (real, fake)), torch.autograd.grad(want, (real, fake)))

    loss = objective.generator_loss(fake, fake_labels if given else None)
    close(loss, binary(fake[:, :1], 1.0) + weight * (cross_entropy(c, y) - cross_entropy(twin, y)))
    pull = weight * torch.cat([one_hot(y, K) - c.softmax(1), twin.softmax(1) - one_hot(y, K)], 1)
    close(descent(loss, fake), torch.cat([1 - fake[:, :1].sigmoid(), pull], 1).detach())


def test_real_labels_of_adcgan_are_no_classes_of_generated_rows(two_classifiers):
    """K..2K-1 would be columns, and are no labels; errors count in classes."""
    real, labels, fake, _ = two_classifiers
    with pytest.raises(IndexError, match=r"labels\[0\] is 5, wanted 0 <= label <= 4"):
        ADCGAN().discriminator_loss(real, labels.index_fill(0, torch.tensor([0]), K), fake)


# A classifier of the K classes alone


@pytest.mark.parametrize("alpha", [1.0, 0.3])
@pytest.mark.parametrize("given", [True, False], ids=["given labels", "dynamic labels"])
def test_ecgan(alpha, given, batch):
    """GAN's loss of d = l_y + alpha * logsumexp(l)."""
    real, labels, fake, fake_labels = batch
    x, g = real[:, :K], fake[:, :K]
    y = fake_labels if given else g.argmax(1)

    def logit(logits: Tensor, classes: Tensor) -> Tensor:
        return (one_hot(classes, K) * logits).sum(1) + alpha * logits.exp().sum(1).log()

    objective = ECGAN(unconditional_weight=alpha, class_weight=0.3)
    got = objective.discriminator_loss(x, labels, g, fake_labels if given else None)
    want = binary(logit(x, labels), 1.0) + binary(logit(g, y), 0.0) + 0.3 * cross_entropy(x, labels)
    close(got, want)
    close(torch.autograd.grad(got, (real, fake)), torch.autograd.grad(want, (real, fake), retain_graph=True))

    loss = objective.generator_loss(g, fake_labels if given else None)
    close(loss, binary(logit(g, y), 1.0))
    behind = 1 - logit(g, y).sigmoid()[:, None]
    close(descent(loss, fake)[:, :K], (behind * (one_hot(y, K) + alpha * g.softmax(1))).detach())


# Several labels


def multi_label(logits: Tensor, right: Tensor) -> Tensor:
    """log(1 + sum over the wrong labels of e^l) + log(1 + sum over the right ones of e^-l), as it is written."""
    wrong_sum, right_sum = (logits.exp() * ~right).sum(1), ((-logits).exp() * right).sum(1)
    return ((1 + wrong_sum).log() + (1 + right_sum).log()).mean()


@pytest.mark.parametrize("given", [True, False], ids=["given labels", "dynamic labels"])
def test_omni_gan(given, generator):
    real, fake = ((2 * torch.randn(n, K + 2, generator=generator).double()).requires_grad_() for n in (N, M))
    labels, fake_labels = (torch.randint(K, (n,), generator=generator) for n in (N, M))
    y = fake_labels if given else fake[:, :K].argmax(1)
    is_real, is_generated = torch.tensor([1, 0]).bool(), torch.tensor([0, 1]).bool()

    def its_class_and_real(classes: Tensor) -> Tensor:
        return torch.cat([one_hot(classes, K).bool(), is_real.expand(len(classes), 2)], 1)

    generated = torch.cat([torch.zeros(M, K, dtype=torch.bool), is_generated.expand(M, 2)], 1)
    got = OmniGAN().discriminator_loss(real, labels, fake, fake_labels if given else None)
    want = multi_label(real, its_class_and_real(labels)) + multi_label(fake, generated)
    close(got, want)
    close(torch.autograd.grad(got, (real, fake)), torch.autograd.grad(want, (real, fake)))

    loss = OmniGAN().generator_loss(fake, fake_labels if given else None)
    right = its_class_and_real(y)
    close(loss, multi_label(fake, right))
    up, down = (-fake).exp() * right, fake.exp() * ~right
    want = up / (1 + up.sum(1, keepdim=True)) - down / (1 + down.sum(1, keepdim=True))
    close(descent(loss, fake), want.detach())
    assert torch.autograd.gradgradcheck(lambda x: OmniGAN().generator_loss(x, y), fake)
    assert torch.autograd.gradgradcheck(lambda x: OmniGAN().discriminator_loss(x, labels, fake), real)


def test_omni_gan_is_accurate_where_all_is_well():
    """2 exp(-20) of the wrong labels and exp(-40) + exp(-30) of the right ones: a difference from A would lose them."""
    row = torch.tensor([[40.0, -20.0, 30.0, -20.0]])
    loss, grad = OmniGAN().generator_loss_and_grad(row, torch.tensor([0]))
    assert loss.item() == pytest.approx(2 * math.exp(-20) + math.exp(-40) + math.exp(-30), rel=1e-5)
    want = [-math.exp(-40), math.exp(-20), -math.exp(-30), math.exp(-20)]
    assert grad[0].tolist() == pytest.approx(want, rel=1e-5)


# CatGAN


def test_catgan(batch):
    real, labels, fake, _ = batch
    x, g = real[:, :K], fake[:, :K]

    def certain_and_even(class_logits: Tensor) -> Tensor:
        probability = class_logits.softmax(1)
        return -entropy(probability.mean(0)) + entropy(probability)

    for weight in (0.0, 0.5):
        got = CatGAN(label_weight=weight).discriminator_loss(x, labels, g)
        want = certain_and_even(x) - entropy(g.softmax(1)) + weight * cross_entropy(x, labels)
        close(got, want)
        close(torch.autograd.grad(got, (real, fake)), torch.autograd.grad(want, (real, fake)))
    close(CatGAN().generator_loss(g), certain_and_even(g))
    close(CatGAN().unlabelled_loss(x), certain_and_even(x))


def test_the_gradient_of_catgan(batch):
    """-mean KL(C, mean C) is what its generator maximises: -C_k (log C_k - log mean C_k - KL) a row."""
    _, _, fake, _ = batch
    g = fake[:, :K]
    c = g.softmax(1)
    ratio = c.log() - c.mean(0).log()
    want = c * (ratio - (c * ratio).sum(1, keepdim=True))
    close(descent(CatGAN().generator_loss(g), fake)[:, :K], want.detach())


def test_catgan_knows_a_class_that_is_nearly_impossible():
    """exp(-300) is 0 in float32; its logarithm is not."""
    logits = torch.tensor([[0.0, -300.0], [0.0, -301.0]], requires_grad=True)
    for loss, grad in (CatGAN().generator_loss_and_grad(logits), CatGAN().unlabelled_loss_and_grad(logits)):
        close(loss, torch.tensor(0.0))
        assert grad.isfinite().all()


# K+1 classes


@pytest.mark.parametrize("model", [LabelGAN, AMGAN])
def test_the_discriminator_of_k_plus_1_classes(model, batch):
    real, labels, fake, _ = batch
    want = cross_entropy(real, labels) - fake.log_softmax(1)[:, K].mean()
    close(model().discriminator_loss(real, labels, fake), want)


@pytest.mark.parametrize("model", [LabelGAN, AMGAN])
def test_smoothed_discriminator_of_k_plus_1_classes(model, batch):
    """Targets written out: one-sided, two-sided and class smoothing."""
    real, labels, fake, _ = batch
    e, s1, s2 = 0.3, 0.2, 0.1
    on_real = (1 - s2) * pad((1 - e) * one_hot(labels, K).double() + e / K, (0, 1))
    on_real[:, K] = s2
    on_fake = torch.tensor([s1 / K] * K + [1 - s1], dtype=torch.float64).expand(M, -1)
    objective = model(real_smoothing=s2, fake_smoothing=s1, class_smoothing=e)
    loss = objective.discriminator_loss(real, labels, fake)
    close(loss, cross_entropy(real, on_real) + cross_entropy(fake, on_fake))
    close(descent(loss, real), on_real - real.softmax(1).detach())


def test_labelgan_generator(batch):
    _, _, fake, _ = batch
    probability, real = fake.softmax(1).detach(), real_probability(fake).detach()
    loss = LabelGAN().generator_loss(fake)
    close(loss, -real.log().mean())
    close(descent(loss, fake), torch.cat([(1 - real) * probability[:, :K] / real, -(1 - real)], 1))


def test_saturating_labelgan_generator(batch):
    _, _, fake, _ = batch
    probability, real = fake.softmax(1).detach(), real_probability(fake).detach()
    loss = LabelGAN(saturating=True).generator_loss(fake)
    close(loss, (1 - real).log().mean())
    close(descent(loss, fake), torch.cat([probability[:, :K], -real], 1))


@pytest.mark.parametrize(("saturating", "stop"), [(False, 0.9), (True, 0.1)])
def test_smoothed_labelgan_generator_stops_at_its_target(saturating, stop):
    row = torch.tensor([[0.3 * stop, 0.7 * stop, 1 - stop]], dtype=torch.float64).log().requires_grad_()
    loss = LabelGAN(generator_smoothing=0.1, saturating=saturating).generator_loss(row)
    close(descent(loss, row), torch.zeros(1, 3, dtype=torch.float64))


def test_amgan_generator_with_dynamic_and_with_given_labels(batch):
    _, _, fake, labels = batch
    for given, target in ((None, fake[:, :K].argmax(1)), (labels, labels)):
        loss = AMGAN().generator_loss(fake, given)
        close(loss, cross_entropy(fake, target))
        close(descent(loss, fake), one_hot(target, K + 1) - fake.softmax(1).detach())


def test_fake_zero_is_a_column_of_zeros(batch):
    real, labels, fake, _ = batch
    x, g = real[:, :K], fake[:, :K]
    objectives = (LabelGAN, AMGAN, lambda **o: AMGAN(target_temperature=0.5, class_prior="uniform", **o))
    for model in (*objectives, lambda **o: ImprovedGAN(feature_matching=False, **o)):
        zero, column = model(fake="zero"), model()
        assert (zero.outputs(K), column.outputs(K)) == (K, K + 1)
        want = column.discriminator_loss(pad(x, (0, 1)), labels, pad(g, (0, 1)))
        close(zero.discriminator_loss(x, labels, g), want)
        close(zero.generator_loss(g), column.generator_loss(pad(g, (0, 1))))
        if zero.has_unlabelled_loss:
            close(zero.unlabelled_loss(x), column.unlabelled_loss(pad(x, (0, 1))))


@pytest.mark.parametrize("fake_mode", ["column", "zero"])
@pytest.mark.parametrize("given", [True, False], ids=["given labels", "dynamic labels"])
def test_multi_hinge(fake_mode, given, batch):
    real, labels, fake, fake_labels = batch
    x, g = (real, fake) if fake_mode == "column" else (real[:, :K], fake[:, :K])
    all_of_x, all_of_g = (logits if logits.size(1) > K else pad(logits, (0, 1)) for logits in (x, g))
    y, of_generated = fake_labels if given else fake[:, :K].argmax(1), torch.full((M,), K)

    def hinge(logits: Tensor, target: Tensor) -> Tensor:
        is_target = one_hot(target, K + 1).bool()
        runner_up = logits.masked_fill(is_target, -math.inf).max(1).values
        return (0.7 + runner_up - logits[is_target]).clamp_min(0).mean()

    objective = MultiHinge(fake=fake_mode, margin=0.7)
    got = objective.discriminator_loss(x, labels, g, fake_labels if given else None)
    want = hinge(all_of_x, labels) + hinge(all_of_g, of_generated)
    close(got, want)
    close(torch.autograd.grad(got, (real, fake)), torch.autograd.grad(want, (real, fake), retain_graph=True))
    got, want = objective.generator_loss(g, fake_labels if given else None), hinge(all_of_g, y)
    close(got, want)
    close(descent(got, fake), descent(want, fake))
    got = objective.unlabelled_loss(x)
    want = (0.7 + all_of_x[:, K] - all_of_x[:, :K].amax(1)).clamp_min(0).mean()
    close(got, want)
    close(torch.autograd.grad(got, real), torch.autograd.grad(want, real))


# Pairs


@pytest.fixture
def pairs(batch: Batch) -> Batch:
    """As many real rows as generated ones."""
    real, labels, fake, fake_labels = batch
    return real[:M].detach().requires_grad_(), labels[:M], fake, fake_labels


def log_odds(model: type[Objective], logits: Tensor, labels: Tensor) -> Tensor:
    """log(D_y / D_{K+1}), or log(D_r / (1 - D_r))."""
    probability = logits.softmax(1)
    is_real = probability.gather(1, labels[:, None]) if model is RelativisticAMGAN else real_probability(logits)
    return (is_real / probability[:, K:]).log()[:, 0]


@pytest.mark.parametrize("model", [RelativisticAMGAN, RpGAN])
@pytest.mark.parametrize("given", [True, False], ids=["given labels", "dynamic labels"])
def test_relativistic_models(model, given, pairs):
    """f(d(x) - d(g)) with f(t) = -log sigmoid(t), and its mirror image for the generator."""
    real, labels, fake, fake_labels = pairs
    y = fake_labels if given else fake[:, :K].argmax(1)
    lead = log_odds(model, real, labels) - log_odds(model, fake, y)
    want = -logsigmoid(lead).mean() + 0.5 * cross_entropy(real[:, :K], labels)
    got = model(class_weight=0.5).discriminator_loss(real, labels, fake, fake_labels if given else None)
    close(got, want)
    close(torch.autograd.grad(got, (real, fake)), torch.autograd.grad(want, (real, fake), retain_graph=True))
    close(model().paired_generator_loss(real, labels, fake, fake_labels if given else None), -logsigmoid(-lead).mean())


def test_gradients_of_relativistic_generators(pairs):
    """How far the generated row is behind, from the generated class to its own, or to all real ones."""
    real, labels, fake, y = pairs
    for model, classes in ((RelativisticAMGAN, one_hot(y, K)), (RpGAN, fake[:, :K].softmax(1))):
        behind = (log_odds(model, real, labels) - log_odds(model, fake, y)).sigmoid()[:, None]
        loss = model().paired_generator_loss(real, labels, fake, y)
        close(descent(loss, fake), torch.cat([behind * classes, -behind], 1).detach())


@pytest.mark.parametrize("model", [RelativisticAMGAN, RpGAN])
def test_second_derivatives_of_pairs(model, pairs):
    real, labels, fake, y = pairs
    objective = model(class_weight=0.5)
    assert torch.autograd.gradgradcheck(lambda a, b: objective.discriminator_loss(a, labels, b, y), (real, fake))
    assert torch.autograd.gradgradcheck(lambda a, b: objective.paired_generator_loss(a, labels, b, y), (real, fake))


@pytest.mark.parametrize("model", [RelativisticAMGAN, RpGAN])
def test_confident_pairs_keep_their_relative_accuracy(model):
    """log(1 + exp(-60)) in float32, and the loss of the player that is behind by 2000."""
    labels = torch.tensor([0])
    real, fake = torch.tensor([[30.0, -1e3, -30.0]]), torch.tensor([[0.0, -1e3, 0.0]])
    loss, grad, _ = model().discriminator_loss_and_grad(real, labels, fake, labels)
    assert loss.item() == pytest.approx(math.exp(-60), rel=1e-4)
    assert grad[0].tolist() == pytest.approx([-math.exp(-60), 0, math.exp(-60)], rel=1e-4)
    real, fake = torch.tensor([[1e3, -1e3, -1e3]]), torch.tensor([[-1e3, -1e3, 1e3]])
    loss, grad = model().paired_generator_loss_and_grad(real, labels, fake, labels)
    assert loss.item() == pytest.approx(4000, abs=1)
    assert grad.isfinite().all()
    assert grad[0, 2] == 1


# Sharpened targets


@pytest.mark.parametrize("temperature", [0.25, 1.0, 3.0])
def test_sharpened_target_of_amgan(temperature, batch):
    """-log D_r + H(q, C) with q constant: the target (q, 0) instead of a one-hot one."""
    _, _, fake, _ = batch
    q = (fake[:, :K].softmax(1) ** (1 / temperature)).detach()
    q = q / q.sum(1, keepdim=True)
    loss = AMGAN(target_temperature=temperature).generator_loss(fake)
    close(loss, cross_entropy(fake, pad(q, (0, 1))))
    close(descent(loss, fake), pad(q, (0, 1)) - fake.softmax(1).detach())


def test_sharpened_target_of_ac_gan(batch):
    real, labels, fake, _ = batch
    q = (fake[:, 1:].softmax(1) ** 4).detach()
    q = q / q.sum(1, keepdim=True)
    objective = ACGAN(target_temperature=0.25, auxiliary_weight=0.1)
    classes = cross_entropy(fake[:, 1:], q)
    close(objective.generator_loss(fake), binary(fake[:, :1], 1.0) + 0.1 * classes)
    plain = ACGANStar().discriminator_loss(real, labels, fake)
    close(objective.discriminator_loss(real, labels, fake), plain + classes)


def test_a_cold_target_is_the_dynamic_label(batch):
    _, _, fake, _ = batch
    close(AMGAN(target_temperature=1e-4).generator_loss(fake), AMGAN().generator_loss(fake))


# Unlabelled data


def test_semi_supervised_discriminator(batch):
    """CE(y, C(x)) - log(1 - D_{K+1}(x)) - log D_{K+1}(g): note both signs."""
    real, labels, fake, _ = batch
    objective = ImprovedGAN()
    unlabelled = real.flip(0) + 1
    labelled = cross_entropy(real[:, :K], labels) - fake.softmax(1)[:, K].log().mean()
    close(objective.discriminator_loss(real, labels, fake), labelled)
    close(objective.unlabelled_loss(unlabelled), -(1 - unlabelled.softmax(1)[:, K]).log().mean())
    probability, is_real = real.softmax(1).detach(), real_probability(real).detach()
    want = torch.cat([(1 - is_real) * probability[:, :K] / is_real, -(1 - is_real)], 1)
    close(descent(objective.unlabelled_loss(real), real), want)
    # Labelled rows say nothing about being real.
    assert descent(objective.discriminator_loss(real, labels, fake), real)[:, K].eq(0).all()


def test_semi_supervised_discriminator_with_smoothing(batch):
    real, labels, fake, _ = batch
    objective = ImprovedGAN(real_smoothing=0.1, fake_smoothing=0.2, class_smoothing=0.3)
    on_fake = torch.tensor([0.2 / K] * K + [0.8], dtype=torch.float64).expand(M, -1)
    want = cross_entropy(real[:, :K], labels, label_smoothing=0.3) + cross_entropy(fake, on_fake)
    close(objective.discriminator_loss(real, labels, fake), want)
    is_real = real_probability(real)
    close(objective.unlabelled_loss(real), -(0.9 * is_real.log() + 0.1 * (1 - is_real).log()).mean())
    stop = torch.tensor([[0.4, 0.5, 0.1]], dtype=torch.float64).log().requires_grad_()
    close(descent(objective.unlabelled_loss(stop), stop), torch.zeros(1, 3, dtype=torch.float64))


@pytest.mark.parametrize("fake", ["column", "zero"])
def test_the_discriminator_of_bad_gan(fake, batch):
    """-log(1 - D_{K+1}(x)) + w * H(C(x)) on unlabelled rows; all else is ImprovedGAN's."""
    real, _, _, _ = batch
    x = real if fake == "column" else real[:, :K]
    with_column = real if fake == "column" else pad(x, (0, 1))
    want = -real_probability(with_column).log().mean() + 0.1 * entropy(real[:, :K].softmax(1))
    got = ImprovedGAN(fake=fake, entropy_weight=0.1).unlabelled_loss(x)
    close(got, want)
    close(torch.autograd.grad(got, real), torch.autograd.grad(want, real))


def test_rows_that_are_labelled_and_unlabelled_make_labelgan(batch):
    """Lemma 2 of AM-GAN: -log D_y = -log D_r - log C_y."""
    real, labels, fake, _ = batch
    semi = ImprovedGAN(feature_matching=False)
    got = semi.discriminator_loss(real, labels, fake) + semi.unlabelled_loss(real)
    close(got, LabelGAN().discriminator_loss(real, labels, fake))
    close(semi.generator_loss(fake), LabelGAN().generator_loss(fake))
    saturating = ImprovedGAN(feature_matching=False, saturating=True)
    close(saturating.generator_loss(fake), LabelGAN(saturating=True).generator_loss(fake))


@pytest.mark.parametrize("prior", [None, "uniform", (0.1, 0.2, 0.3, 0.4, 0.0)])
def test_amgan_on_unlabelled_data(prior, batch):
    real, _, _, _ = batch
    want = cross_entropy(real, real[:, :K].argmax(1))
    if prior is not None:
        p = torch.tensor([1 / K] * K if prior == "uniform" else prior, dtype=torch.float64)
        want = want - (p * real[:, :K].softmax(1).mean(0).log()).sum()
    loss = AMGAN(class_prior=prior).unlabelled_loss(real)
    close(loss, want)
    close(torch.autograd.grad(loss, real), torch.autograd.grad(want, real))


def test_unlabelled_rows_are_smoothed_as_labelled_ones_are(batch):
    real, _, fake, _ = batch
    options = {"real_smoothing": 0.1, "class_smoothing": 0.3}
    y = real[:, :K].argmax(1)
    want = AMGAN(**options).discriminator_loss(real, y, fake) - AMGAN().discriminator_loss(real, y, fake)
    close(AMGAN(**options).unlabelled_loss(real) - AMGAN().unlabelled_loss(real), want)


def test_no_gradient_goes_through_a_dynamic_label(batch):
    """The gradient is that with the label held, which finite differences confirm."""
    _, _, fake, _ = batch
    for objective, class_logits in ((ACGAN(), fake[:, 1:]), (AMGAN(), fake[:, :K])):
        y = class_logits.argmax(1)
        close(objective.generator_loss_and_grad(fake), objective.generator_loss_and_grad(fake, y))
        assert torch.autograd.gradcheck(lambda x, o=objective, y=y: o.generator_loss(x, y), fake)


# Numerics


@pytest.mark.parametrize("margin", [20.0, 60.0])
def test_confident_rows_keep_their_relative_accuracy(margin):
    """sp(-margin) in float32, where 1 - sigmoid would be 0."""
    b = torch.tensor([[margin]])
    want = -logsigmoid(torch.tensor(margin, dtype=torch.float64))
    for objective, logits in ((GAN(), b), (GANStar(), pad(b, (0, K)))):
        loss, grad = objective.generator_loss_and_grad(logits)
        assert abs(loss.item() / want.item() - 1) < 1e-5
        assert abs(grad[0, 0].item() / -math.exp(-margin) - 1) < 1e-5


@pytest.mark.parametrize(
    "objective",
    [
        GAN(saturating=True),
        CatGAN(label_weight=1),
        ACGAN(),
        ACGANStarPlus(),
        AMGAN(target_temperature=0.5),
        ADCGAN(),
        TACGAN(),
        ECGAN(),
        OmniGAN(),
        MultiHinge(),
        ReACGAN(),
    ],
    ids=lambda objective: objective.name,
)
def test_large_logits_stay_finite(objective: Objective, generator):
    real, fake = (1e4 * torch.randn(n, objective.outputs(K), generator=generator) for n in (N, M))
    labels = torch.randint(K, (N,), generator=generator)
    got = (*objective.discriminator_loss_and_grad(real, labels, fake), *objective.generator_loss_and_grad(fake))
    assert all(x.isfinite().all() for x in got)
