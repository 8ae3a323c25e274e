"""Spectral normalization of discriminators."""

from __future__ import annotations

import copy
from functools import partial

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations, parametrize

from amgan_fast.nn import LatentSource, Sampler, apply_spectral_norm, build_discriminator, build_generator
from amgan_fast.nn import network_options as with_options
from amgan_fast.objectives import AMGAN
from amgan_fast.runs import StepOptions
from amgan_fast.train import AdversarialStep

SHAPE = (1, 8, 8)
KINDS = nn.Linear | nn.Conv2d | nn.ConvTranspose2d


def normalized(network: nn.Module) -> list[nn.Module]:
    return [layer for layer in network.modules() if parametrize.is_parametrized(layer, "weight")]


@pytest.mark.parametrize("layer", [nn.Linear(5, 4), nn.Conv2d(2, 3, 3), nn.ConvTranspose2d(2, 3, 3)], ids=str)
def test_the_largest_singular_value_becomes_one(layer):
    output_first = layer.weight.transpose(0, 1) if isinstance(layer, nn.ConvTranspose2d) else layer.weight
    want = output_first.detach() / torch.linalg.svdvals(output_first.detach().flatten(1))[0]
    apply_spectral_norm(layer)
    for _ in range(300):
        weight = layer.weight
    got = weight.transpose(0, 1) if isinstance(layer, nn.ConvTranspose2d) else weight
    torch.testing.assert_close(got.detach(), want, rtol=1e-4, atol=1e-5)


def test_it_is_torchs(generator):
    """Weights and their gradients, step by step."""
    ours = nn.Conv2d(2, 3, 3)
    theirs = parametrizations.spectral_norm(copy.deepcopy(ours))
    apply_spectral_norm(ours)
    for name in ("_u", "_v"):
        getattr(ours.parametrizations.weight[0], name).copy_(getattr(theirs.parametrizations.weight[0], name))
    images = torch.randn(4, 2, 5, 5, generator=generator)
    for _ in range(3):
        for layer in (ours, theirs):
            layer.zero_grad()
            layer(images).square().sum().backward()
        assert torch.equal(ours.weight, theirs.weight)
        assert torch.equal(ours.parametrizations.weight.original.grad, theirs.parametrizations.weight.original.grad)


@pytest.mark.parametrize("network", ["mlp", "conv", "paper", "resnet"])
def test_every_layer_of_the_discriminator_and_none_of_the_generator_has_it(network):
    shape = (1, 32, 32) if network in ("paper", "resnet") else SHAPE
    options = with_options(network, spectral_norm=True, minibatch_discrimination=True, width=0.1)
    discriminator = build_discriminator(network, AMGAN(), 10, shape, options)
    layers = normalized(discriminator)
    assert layers == [layer for layer in discriminator.modules() if isinstance(layer, KINDS)]
    assert all(isinstance(one.parametrizations.weight[0], parametrizations._SpectralNorm) for one in layers)
    assert bool(normalized(build_generator(network, 4, shape, options))) == options.weight_norm


def test_weights_are_float32_under_autocast(device):
    layer = nn.Linear(5, 4).to(device)
    apply_spectral_norm(layer)
    with torch.autocast(device.type, torch.bfloat16):
        assert layer.weight.dtype == torch.float32
        assert layer(torch.zeros(1, 5, device=device)).dtype == torch.bfloat16


def new_step(network: str = "conv", **options) -> AdversarialStep:
    torch.manual_seed(0)
    built = with_options(network, spectral_norm=True, width=0.2)
    return AdversarialStep(
        Sampler(build_generator(network, 4, SHAPE, built), LatentSource(4)),
        build_discriminator(network, AMGAN(), 10, SHAPE, built),
        AMGAN(),
        torch.Generator().manual_seed(0),
        StepOptions(generator_lr=1e-3, discriminator_lr=1e-3, ema_decay=0.9, **options),
    )


def vectors(step: AdversarialStep) -> list[torch.Tensor]:
    return [layer.parametrizations.weight[0]._u for layer in normalized(step.discriminator)]


def test_a_step_of_each_player_takes_one_step_of_the_power_method():
    step, images = new_step(r1=0.1, penalty_every=1, feature_matching=0.1), torch.rand(6, *SHAPE) * 2 - 1
    wanted = copy.deepcopy(step.discriminator)
    places = [u.data_ptr() for u in vectors(step)]
    step._step_discriminator(images, torch.arange(6))
    for layer in normalized(wanted):
        assert layer.weight.shape  # one step of the method
    got = [layer.parametrizations.weight[0]._u for layer in normalized(wanted)]
    torch.testing.assert_close(vectors(step), got, rtol=0, atol=0)
    before = [u.clone() for u in vectors(step)]
    step._step_generator(images, torch.arange(6))
    assert not any(torch.equal(a, b) for a, b in zip(before, vectors(step), strict=True))
    assert places == [u.data_ptr() for u in vectors(step)]  # as a CUDA graph needs it


def test_a_compiled_step_is_finite(monkeypatch):
    """It takes a step of the method in every pass, since what torch.compile makes has no cache of weights."""
    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend="aot_eager", fullgraph=True))
    torch.compiler.reset()
    step = new_step("mlp", compile=True)
    for _ in range(2):
        step(torch.rand(6, *SHAPE) * 2 - 1, torch.arange(6))
    torch.compiler.reset()
    assert step.is_finite()
