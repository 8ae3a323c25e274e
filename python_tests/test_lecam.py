"""LeCam regularization: against its formula, step by step."""

from __future__ import annotations

import copy

import pytest
import torch
from test_gradient_penalties import batch, double_discriminator, step_of
from torch import nn

from amgan_fast.errors import InputError
from amgan_fast.nn import LatentSource, Sampler
from amgan_fast.objectives import MODELS, LeCam
from amgan_fast.runs import Config, StepOptions
from amgan_fast.train import AdversarialStep


def test_rows_are_pulled_to_the_average_of_the_other_kind(generator):
    lecam, averages = LeCam(decay=0.3), [0.0, 0.0]
    for i in range(12):
        real, generated = (torch.randn(n, generator=generator, dtype=torch.float64).requires_grad_() for n in (5, 3))
        decay = min(0.3, i / (i + 10))
        averages = [decay * a + (1 - decay) * d.mean().item() for a, d in zip(averages, (real, generated), strict=True)]
        lecam.update(torch.stack([real.mean(), generated.mean()]))
        got = lecam.penalty(real, generated)
        want = (
            sum((d - averages[1]) ** 2 for d in real.tolist()) / 5
            + sum((d - averages[0]) ** 2 for d in generated.tolist()) / 3
        )
        assert got.item() == pytest.approx(want, rel=1e-5)
        slopes = torch.autograd.grad(got, (real, generated))
        torch.testing.assert_close(slopes[0], 2 * (real - averages[1]).detach() / 5, rtol=1e-5, atol=1e-6)
        torch.testing.assert_close(slopes[1], 2 * (generated - averages[0]).detach() / 3, rtol=1e-5, atol=1e-6)


def test_averages_come_back():
    lecam, other = LeCam(), LeCam()
    for means in torch.tensor([[1.0, -1.0], [2.0, 3.0]]):
        lecam.update(means)
    other.load_state_dict(copy.deepcopy(lecam.state_dict()))
    for one in (lecam, other):
        one.update(torch.tensor([0.5, 0.25]))
    d = torch.tensor([1.0, 2.0])
    assert torch.equal(lecam.penalty(d, d), other.penalty(d, d))
    with pytest.raises(TypeError, match="wanted that of state_dict"):
        other.load_state_dict({"averages": torch.zeros(2)})


@pytest.mark.parametrize("unlabelled", [False, True])
def test_a_step_adds_it_to_the_loss_and_to_the_gradients(unlabelled):
    images, labels = batch()
    given = (images, labels, images.flip(0)) if unlabelled else (images, labels)
    losses, gradients = [], []
    for weight in (0.0, 0.7):
        network = double_discriminator(normalization="none", dropout=0.0, input_noise=0.0)
        step = step_of(network, lecam=weight)
        oracle, generator = copy.deepcopy((step.discriminator, step.generator))
        losses.append(step._step_discriminator(*given))
        gradients.append([p.grad for p in step.discriminator.parameters()])
    inputs, _ = step.sampler.latent.draw(4, torch.Generator().manual_seed(1))
    d = [x[:, :-1].logsumexp(1) - x[:, -1] for x in (oracle(given[-1 if unlabelled else 0]), oracle(generator(inputs)))]
    real, generated = (x.mean().detach() for x in d)
    want = 0.7 * ((d[0] - generated).square().mean() + (d[1] - real).square().mean())
    added = torch.autograd.grad(want, list(oracle.parameters()))
    torch.testing.assert_close(losses[1] - losses[0], want.detach(), rtol=1e-5, atol=1e-7)
    torch.testing.assert_close(
        gradients[1], [a + b for a, b in zip(gradients[0], added, strict=True)], rtol=1e-5, atol=1e-7
    )


def test_a_bfloat16_step_has_float32_averages():
    step = step_of(double_discriminator().float(), lecam=0.5, precision="bfloat16")
    step(*batch(torch.float32))
    assert all(x.dtype == torch.float32 for x in step.state_dict()["regularization"]["lecam"].values())
    assert step.is_finite()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"lecam": -1.0}, "lecam is -1.0, wanted at least 0"),
        ({"lecam_decay": 1.0}, r"lecam_decay is 1.0, wanted a number in \[0, 1\)"),
        ({"lecam": 0.5, "model": "catgan"}, "lecam is 0.5, wanted 0: catgan has no real/generated logit"),
    ],
    ids=str,
)
def test_what_cannot_be_is_refused(options, said):
    with pytest.raises(InputError, match=said):
        Config(**options)


def test_a_step_without_such_a_logit_is_refused():
    sampler = Sampler(nn.Linear(4, 64), LatentSource(4))
    with pytest.raises(ValueError, match=r"lecam is 1.0, wanted 0: catgan has no real/generated logit"):
        AdversarialStep(sampler, nn.Linear(64, 3), MODELS["catgan"](), torch.Generator(), StepOptions(lecam=1.0))
