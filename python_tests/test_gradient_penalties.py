"""R1 and R2: what they are, of which function, at which steps, and what is refused before training starts."""

from __future__ import annotations

import copy
from functools import partial

import pytest
import torch
from tiny_runs import tiny_config
from torch import Tensor, nn

from amgan_fast.errors import InputError
from amgan_fast.nn import (
    BatchNormLeakyReLUDropout,
    Discriminator,
    LatentSource,
    LeakyReLUDropout,
    Sampler,
    build_discriminator,
    network_options,
    set_reference_batch,
)
from amgan_fast.objectives import (
    ACGAN,
    AMGAN,
    ECGAN,
    GAN,
    MODELS,
    ImprovedGAN,
    LabelGAN,
    OmniGAN,
    RelativisticAMGAN,
    finite_difference_penalty,
    gradient_penalty,
)
from amgan_fast.runs import Config, StepOptions
from amgan_fast.train import AdversarialStep
from amgan_fast.train.capture import is_captured

CLASSES, SHAPE = 3, (1, 8, 8)


# The logit


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_the_real_logit_of_classes_is_the_log_odds_of_a_real_one(dtype, generator):
    logits = torch.randn(5, CLASSES + 1, generator=generator, dtype=torch.float64).to(dtype)
    real = logits.double().softmax(1)[:, :-1].sum(1)
    for objective in (AMGAN(), LabelGAN(), ImprovedGAN()):
        got = objective.realness(logits)
        assert got.dtype == (torch.float64 if dtype == torch.float64 else torch.float32)
        torch.testing.assert_close(got.double(), (real / (1 - real)).log(), rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(
        AMGAN(fake="zero").realness(logits).double(), logits.double().logsumexp(1), rtol=1e-5, atol=1e-6
    )


def test_the_real_logit_of_a_binary_head_is_its_column(generator):
    logits = torch.randn(5, 1 + CLASSES, generator=generator)
    assert torch.equal(ACGAN().realness(logits), logits[:, 0])
    assert torch.equal(GAN().realness(logits[:, :1]), logits[:, 0])
    assert ACGAN().realness(logits.bfloat16()).dtype == torch.float32


def test_the_real_logit_of_other_models_is_the_one_that_their_losses_have(generator):
    logits = torch.randn(5, CLASSES + 2, generator=generator)
    want = logits.max(1).values + 0.5 * logits.logsumexp(1)
    torch.testing.assert_close(ECGAN(unconditional_weight=0.5).realness(logits), want)
    assert torch.equal(OmniGAN().realness(logits), logits[:, -2] - logits[:, -1])
    want = logits[:, :-1].max(1).values - logits[:, -1]
    torch.testing.assert_close(RelativisticAMGAN().realness(logits), want)


@pytest.mark.parametrize("model", MODELS)
def test_every_model_has_a_real_logit_or_says_that_it_has_none(model):
    objective = MODELS[model]()
    logits = torch.zeros(5, objective.outputs(CLASSES))
    if objective.has_realness:
        assert objective.realness(logits).shape == (5,)
        with pytest.raises(ValueError, match=f"of {objective.name}"):
            objective.realness(logits[0])
    else:
        with pytest.raises(ValueError, match=f"{model} has no real/generated logit"):
            objective.realness(logits)
        with pytest.raises(InputError, match=f"r2 is 0.5, wanted 0: {model} has no real/generated logit"):
            Config(model=model, r2=0.5)


# The penalties


def plain(network: nn.Module) -> nn.Module:
    """A copy with torch's layers, in evaluation mode."""

    def replace(module: nn.Module) -> nn.Module:
        for name, child in module.named_children():
            setattr(module, name, replace(child))
        if isinstance(module, BatchNormLeakyReLUDropout):
            return nn.Sequential(module.norm, nn.LeakyReLU(module.slope))
        return nn.LeakyReLU(module.slope) if isinstance(module, LeakyReLUDropout) else module

    return replace(copy.deepcopy(network)).eval()


def plain_penalty(network: nn.Module, images: Tensor) -> Tensor:
    """Image by image, of AM-GAN's logit written out."""
    squares = []
    for image in images:
        leaf = image[None].clone().requires_grad_()
        logits = network(leaf)
        (slope,) = torch.autograd.grad(logits[:, :-1].logsumexp(1).sum() - logits[:, -1].sum(), leaf, create_graph=True)
        squares.append(slope.square().sum())
    return torch.stack(squares).mean()


def double_discriminator(network: str = "mlp", **options) -> Discriminator:
    """With running averages that are not those of a start."""
    torch.manual_seed(0)
    built = network_options(network, width=0.1, **options)
    discriminator = build_discriminator(network, AMGAN(), CLASSES, SHAPE, built).double()
    images = torch.rand(6, *SHAPE, dtype=torch.float64) * 2 - 1
    if options.get("normalization") == "virtual":
        set_reference_batch(discriminator, images)
    for _ in range(3):
        discriminator(images)
    return discriminator


def step_of(discriminator: nn.Module, noise: torch.Generator | None = None, **options) -> AdversarialStep:
    generator = nn.Sequential(nn.Linear(4, 64), nn.Tanh(), nn.Unflatten(1, SHAPE)).to(next(discriminator.parameters()))
    settings = StepOptions(generator_lr=1e-3, discriminator_lr=1e-3, ema_decay=0.9, **options)
    sampler = Sampler(generator, DoubleLatents(next(discriminator.parameters()).dtype))
    random = torch.Generator().manual_seed(1)
    return AdversarialStep(sampler, discriminator, AMGAN(), random, settings, noise=noise)


class DoubleLatents(LatentSource):
    def __init__(self, dtype: torch.dtype) -> None:
        super().__init__(4)
        self.dtype = dtype

    def draw(self, count, generator):
        inputs, labels = super().draw(count, generator)
        return inputs.to(self.dtype), labels


def batch(dtype: torch.dtype = torch.float64) -> tuple[Tensor, Tensor]:
    random = torch.Generator().manual_seed(5)
    return torch.rand(4, *SHAPE, generator=random, dtype=dtype) * 2 - 1, torch.arange(4) % CLASSES


def added_by(step: AdversarialStep, images: Tensor, generated: Tensor, number: int = 0) -> tuple[Tensor, list[Tensor]]:
    """The penalty, and its gradients by the weights."""
    penalty = step._regularization.penalties(number, images, generated)
    weights = list(step.discriminator.parameters())
    gradients = torch.autograd.grad(penalty, weights, allow_unused=True)
    return penalty, [torch.zeros_like(w) if g is None else g for w, g in zip(weights, gradients, strict=True)]


@pytest.mark.parametrize(
    ("network", "options"),
    [
        ("mlp", {}),
        ("conv", {}),
        ("conv", {"weight_norm": True}),
        ("conv", {"normalization": "none"}),
        ("mlp", {"normalization": "virtual"}),
        ("paper", {"running_statistics": True}),
    ],
    ids=str,
)
def test_the_exact_penalty_is_that_of_plain_layers_image_by_image(network, options, monkeypatch):
    if network == "paper":
        monkeypatch.setitem(globals(), "SHAPE", (1, 32, 32))
    discriminator = double_discriminator(network, **options)
    images, _ = batch()
    generated = images.flip(3) / 2
    oracle = plain(discriminator)
    step = AdversarialStep(
        Sampler(nn.Linear(2, 2), LatentSource(2)),
        discriminator,
        AMGAN(),
        torch.Generator(),
        StepOptions(r1=0.5, r2=2.0, penalty_every=3),
    )
    got, gradients = added_by(step, images, generated)
    want = 3 * (0.5 / 2 * plain_penalty(oracle, images) + 2.0 / 2 * plain_penalty(oracle, generated))
    torch.testing.assert_close(got, want)
    weights = list(oracle.parameters())
    wanted = torch.autograd.grad(want, weights, allow_unused=True)
    wanted = [torch.zeros_like(w) if g is None else g for w, g in zip(weights, wanted, strict=True)]
    assert max(float(g.abs().max()) for g in wanted) > 1e-4
    torch.testing.assert_close(gradients, wanted)
    assert all(layer.training for layer in discriminator.modules())
    assert (
        step._regularization.penalties(1, images, generated)
        is step._regularization.penalties(5, images, generated)
        is None
    )


def test_a_finite_difference_is_the_slope_along_the_noise(generator):
    """Of a linear function for any sigma, of a smooth one for a small one."""
    images, noise = (torch.randn(7, 5, generator=generator, dtype=torch.float64) for _ in range(2))
    w = torch.randn(5, generator=generator, dtype=torch.float64)
    got = finite_difference_penalty(lambda x: x @ w, images, noise, sigma=0.5)
    torch.testing.assert_close(got, (noise @ w).square().mean())

    def d(x: Tensor) -> Tensor:
        return (x @ w).sin() + x.square().sum(1)

    slopes = torch.autograd.functional.jacobian(lambda x: d(x).sum(), images)
    along = (slopes * noise).sum(1).square().mean()
    torch.testing.assert_close(finite_difference_penalty(d, images, noise, sigma=1e-6), along, rtol=1e-4, atol=0)
    torch.testing.assert_close(gradient_penalty(d, images), slopes.square().sum(1).mean())
    many = noise.new_empty(7, 4000, 5).normal_(generator=generator)  # the mean over noise is the exact one
    estimates = torch.stack([finite_difference_penalty(d, images, many[:, i]) for i in range(4000)])
    torch.testing.assert_close(estimates.mean(), gradient_penalty(d, images), rtol=0.05, atol=0)


@pytest.mark.parametrize("network", ["mlp", "conv"])
def test_finite_differences_are_of_a_share_of_each_batch_without_dropout_and_noise(network):
    discriminator = double_discriminator(network)
    images, _ = batch()
    generated = images.flip(3) / 2
    options = {"r1": 0.5, "r2": 2.0, "gradient_penalty": "finite-difference", "penalty_share": 0.3}  # two of four
    noise = torch.Generator().manual_seed(3)
    got, gradients = added_by(step_of(discriminator, noise, **options), images, generated, number=1)
    noise.manual_seed(3)
    oracle, want = plain(discriminator), 0.0
    for gamma, rows in ((0.5, images[:2]), (2.0, generated[:2])):
        n = torch.randn(rows.shape, generator=noise, dtype=rows.dtype)
        before, after = (x[:, :-1].logsumexp(1) - x[:, -1] for x in (oracle(rows), oracle(rows + 0.01 * n)))
        want = want + gamma / 2 * ((after - before) / 0.01).square().mean()
    torch.testing.assert_close(got, want, rtol=1e-6, atol=0)
    wanted = torch.autograd.grad(want, list(oracle.parameters()), allow_unused=True)
    wanted = [torch.zeros_like(w) if g is None else g for w, g in zip(gradients, wanted, strict=True)]
    torch.testing.assert_close(gradients, wanted, rtol=1e-5, atol=1e-8)


# In a step


@pytest.mark.parametrize("how", ["exact", "finite-difference"])
def test_a_step_adds_the_penalty_to_the_loss_and_to_the_gradients(how):
    images, labels = batch()
    losses, gradients = [], []
    for gamma in (0.0, 0.7):
        step = step_of(
            double_discriminator(normalization="none", dropout=0.0, input_noise=0.0),
            torch.Generator().manual_seed(3),
            r1=gamma,
            gradient_penalty=how,
            penalty_every=2,
        )
        before = copy.deepcopy(step.discriminator)
        losses.append(step._step_discriminator(images, labels))
        gradients.append([p.grad for p in step.discriminator.parameters()])
    step.discriminator.load_state_dict(before.state_dict())
    step.noise.manual_seed(3)
    penalty, added = added_by(step, images, images)
    assert penalty > 1e-4
    torch.testing.assert_close(losses[1] - losses[0], penalty.detach())
    torch.testing.assert_close(gradients[1], [a + b for a, b in zip(gradients[0], added, strict=True)])


def test_unlabelled_images_are_penalized_where_there_are_some():
    discriminator = double_discriminator(normalization="none", dropout=0.0, input_noise=0.0)
    step, seen = step_of(discriminator, r1=1.0), []
    discriminator.register_forward_pre_hook(lambda network, given: None if network.training else seen.append(*given))
    images, labels = batch()
    others = images.flip(0)
    step._step_discriminator(images, labels, others)
    assert len(seen) == 1
    assert torch.equal(seen[0], others)


def test_penalties_of_a_bfloat16_step_are_float32():
    discriminator = double_discriminator().float()
    step = step_of(discriminator, r1=1.0, r2=1.0, precision="bfloat16")
    seen = {}
    discriminator.head.register_forward_hook(lambda head, _, logits: seen.update({head.training: logits.dtype}))
    step(*batch(torch.float32))
    assert seen == {True: torch.bfloat16, False: torch.float32}
    assert step.is_finite()


@pytest.mark.parametrize("how", ["exact", "finite-difference"])
def test_a_compiled_step_has_the_same_penalty(how, monkeypatch):
    """What torch.compile makes has no second derivative, so that an exact penalty goes around it."""
    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend="aot_eager", fullgraph=True))
    torch.compiler.reset()
    states = []
    for compiled in (False, True):
        discriminator = double_discriminator(normalization="none", dropout=0.0, input_noise=0.0)
        step = step_of(discriminator, torch.Generator().manual_seed(3), r1=1.0, gradient_penalty=how, compile=compiled)
        for _ in range(2):
            step(*batch())
        states.append(step.discriminator.state_dict())
    torch.compiler.reset()
    torch.testing.assert_close(states[1], states[0])


# What is refused


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"r1": -1.0}, "r1 is -1.0, wanted at least 0"),
        ({"gradient_penalty": "fast"}, "gradient_penalty is 'fast', wanted one of exact, finite-difference"),
        ({"penalty_every": 0}, "penalty_every is 0, wanted at least 1"),
        ({"penalty_share": 0.0}, r"penalty_share is 0.0, wanted a number in \(0, 1\]"),
        ({"r1": 1.0, "cuda_graph": "on"}, "cuda_graph is 'on', wanted auto or off with an exact gradient_penalty"),
        (
            {"r2": 1.0, "network_options": {"minibatch_discrimination": True}},
            "minibatch_discrimination is true, wanted false: r1 and r2 penalize one function of an image",
        ),
        (
            {"r1": 1.0, "network_options": {"running_statistics": False}},
            "running_statistics is false, wanted true: r1 and r2 penalize one function of an image",
        ),
    ],
    ids=str,
)
def test_what_cannot_be_is_refused_before_anything_else(options, said):
    with pytest.raises(InputError, match=said):
        tiny_config(**options)


def test_a_step_without_such_a_logit_or_with_batch_norm_without_averages_is_refused():
    sampler, random = Sampler(nn.Linear(4, 64), LatentSource(4)), torch.Generator()
    with pytest.raises(ValueError, match="r1 or r2 is not 0, wanted 0: catgan has no real/generated logit"):
        AdversarialStep(sampler, nn.Linear(64, 3), MODELS["catgan"](), random, StepOptions(r1=1.0))
    own = build_discriminator("mlp", AMGAN(), 3, SHAPE, network_options("mlp", running_statistics=False))
    with pytest.raises(ValueError, match="batch norm that keeps no averages"):
        AdversarialStep(sampler, own, AMGAN(), random, StepOptions(r1=1.0))


def test_the_network_of_the_paper_gets_averages_and_says_so():
    config = Config(network="paper", r1=1.0)
    assert config.build_network_options().running_statistics
    assert config.notes() == [
        "network_options.running_statistics: true, for model amgan: r1 and r2 penalize one function of an image, "
        "normalized by the averages that batch norm keeps"
    ]


def test_finite_differences_are_captured_and_exact_penalties_are_not():
    there = torch.device("cuda")
    assert is_captured(Config(r1=1.0, gradient_penalty="finite-difference", cuda_graph="on"), there, 1)
    assert not is_captured(Config(r1=1.0), there, 1)
    assert is_captured(Config(gradient_penalty="exact"), there, 1)  # of weight 0
