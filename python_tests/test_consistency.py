"""Consistency regularization: what a step adds for it, and to what."""

from __future__ import annotations

import copy

import pytest
import torch
from test_gradient_penalties import batch, double_discriminator, step_of
from torch import Tensor, nn

from amgan_fast.errors import InputError
from amgan_fast.nn import LatentSource, Sampler
from amgan_fast.objectives import MODELS
from amgan_fast.runs import Config, StepOptions
from amgan_fast.train import AdversarialStep


def shifted(images: Tensor, uniform: Tensor) -> Tensor:
    """Images of 8 x 8 by -1, 0 or 1 pixel each way."""
    moved = []
    for image, u in zip(images, uniform, strict=True):
        down, right = ((u * 3).long() - 1).tolist()
        framed = nn.functional.pad(image, (1, 1, 1, 1))
        moved.append(framed[:, 1 + down : 9 + down, 1 + right : 9 + right])
    return torch.stack(moved)


@pytest.mark.parametrize("unlabelled", [False, True])
def test_a_step_adds_it_to_the_loss_and_to_the_gradients(unlabelled):
    images, labels = batch()
    given = (images, labels, images.flip(0)) if unlabelled else (images, labels)
    losses, gradients = [], []
    for weight in (0.0, 7.0):
        network = double_discriminator(normalization="none", dropout=0.0, input_noise=0.0)
        step = step_of(network, torch.Generator().manual_seed(3), consistency=weight)
        oracle, generator = copy.deepcopy((step.discriminator, step.generator))
        losses.append(step._step_discriminator(*given))
        gradients.append([p.grad for p in step.discriminator.parameters()])
    inputs, _ = step.sampler.latent.draw(4, torch.Generator().manual_seed(1))
    draws, want = torch.Generator().manual_seed(3), 0.0
    for x in (given[-1 if unlabelled else 0], generator(inputs).detach()):
        moved = shifted(x, torch.rand(4, 2, generator=draws))
        assert not torch.equal(moved, x)
        d, of_moved = (logits[:, :-1].logsumexp(1) - logits[:, -1] for logits in (oracle(x), oracle(moved)))
        want = want + 7.0 * (d - of_moved).square().mean()
    added = torch.autograd.grad(want, list(oracle.parameters()))
    torch.testing.assert_close(losses[1] - losses[0], want.detach(), rtol=1e-6, atol=1e-10)
    torch.testing.assert_close(
        gradients[1], [a + b for a, b in zip(gradients[0], added, strict=True)], rtol=1e-6, atol=1e-10
    )


def test_a_bfloat16_step_with_everything_is_finite():
    everything = {"consistency": 1.0, "lecam": 1.0, "augment": 0.5, "r1": 1.0, "precision": "bfloat16"}
    step = step_of(double_discriminator().float(), **everything)
    step(*batch(torch.float32))
    assert step.is_finite()


def test_what_cannot_be_is_refused():
    with pytest.raises(InputError, match=r"consistency is -1.0, wanted at least 0"):
        Config(consistency=-1.0)
    with pytest.raises(InputError, match=r"consistency is 10.0, wanted 0: catgan has no real/generated logit"):
        Config(consistency=10.0, model="catgan")
    sampler = Sampler(nn.Linear(4, 64), LatentSource(4))
    with pytest.raises(ValueError, match=r"consistency is 1.0, wanted 0: catgan has no real/generated logit"):
        AdversarialStep(sampler, nn.Linear(64, 3), MODELS["catgan"](), torch.Generator(), StepOptions(consistency=1.0))
