"""The networks: what they are made of, and what one can do with each of them."""

from __future__ import annotations

import copy
import io
import math

import pytest
import torch
from checking import Trace
from layer_outputs import WEIGHTED, layer_outputs
from torch import nn
from torch.nn.utils import parametrize

from amgan_fast.nn import (
    NETWORKS,
    BatchNormLeakyReLUDropout,
    LatentSource,
    NetworkOptions,
    Sampler,
    VirtualBatchNorm,
    build_discriminator,
    build_generator,
    has_virtual_batch_norm,
    init_from_data,
    network_options,
    set_reference_batch,
)
from amgan_fast.nn.layers import InputNoise
from amgan_fast.objectives import AMGAN
from amgan_fast.runs import StepOptions
from amgan_fast.train import AdversarialStep

INPUTS = 6
BATCH = 5
SHAPES = {"mlp": (1, 8, 8), "conv": (1, 12, 8), "paper": (3, 32, 32), "acgan128": (3, 128, 128), "resnet": (3, 16, 24)}
WIDTHS = {"mlp": 0.1, "conv": 0.25, "paper": 1 / 16, "acgan128": 1 / 16, "resnet": 1 / 16}
TECHNIQUES = {
    "source": {},
    "techniques": {"normalization": "virtual", "weight_norm": True, "minibatch_discrimination": True},
    "plain": {"normalization": "none", "weight_norm": False, "input_noise": 0.0, "dropout": 0.0},
}

every_network = pytest.mark.parametrize("network", NETWORKS)
every_technique = pytest.mark.parametrize("techniques", TECHNIQUES)


def narrow_pair(network: str, techniques: str = "source", **options) -> tuple[nn.Module, nn.Module]:
    """A generator and a discriminator of few channels, ready to use; always the same. Without spectral norm, by which
    no pass is like the one before it (test_spectral_norm.py)."""
    torch.manual_seed(0)
    options = {"width": WIDTHS[network], "spectral_norm": False, **TECHNIQUES[techniques], **options}
    options = network_options(network, **options)
    generator = build_generator(network, INPUTS, SHAPES[network], options)
    discriminator = build_discriminator(network, AMGAN(), 10, SHAPES[network], options)
    if options.normalization == "virtual":
        set_reference_batch(generator, torch.randn(4, INPUTS))
        if has_virtual_batch_norm(discriminator):
            set_reference_batch(discriminator, torch.randn(4, *SHAPES[network]))
    return generator, discriminator


def both(generator: nn.Module, discriminator: nn.Module, inputs: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Images and their logits, with always the same noise and dropout."""
    torch.manual_seed(1)
    images = generator(inputs)
    return images, discriminator(images)


def latent(generator: torch.Generator) -> torch.Tensor:
    return torch.randn(BATCH, INPUTS, generator=generator)


def parameters(network: nn.Module) -> int:
    return sum(p.numel() for p in network.parameters())


# What they are made of


class Permute(nn.Module):
    def __init__(self, *order: int) -> None:
        super().__init__()
        self.order = order

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.permute(self.order)


def test_mlp_as_it_was():
    """Published figures rest on these networks and on the order in which their weights are drawn."""
    leaky, dropout = nn.LeakyReLU(0.2), nn.Dropout(0.3)
    torch.manual_seed(3)
    generator = nn.Sequential(
        *(nn.Linear(32, 256, bias=False), nn.BatchNorm1d(256), leaky),
        *(nn.Linear(256, 256, bias=False), nn.BatchNorm1d(256), leaky),
        *(nn.Linear(256, 64), nn.Tanh(), nn.Unflatten(1, (1, 8, 8))),
    )
    discriminator = nn.Sequential(
        *(InputNoise(0.1), nn.Flatten(), nn.Linear(64, 256), leaky, dropout),
        *(nn.Linear(256, 256, bias=False), nn.BatchNorm1d(256), leaky, dropout),
        *(nn.Linear(256, 256, bias=False), nn.BatchNorm1d(256), leaky, dropout),
        nn.Linear(256, 11),
    )
    assert_same_networks("mlp", 32, (1, 8, 8), generator, discriminator)


def test_conv_as_it_was():
    leaky, dropout = nn.LeakyReLU(0.2), nn.Dropout(0.3)
    torch.manual_seed(3)
    generator = nn.Sequential(
        *(nn.Linear(64, 128 * 49, bias=False), nn.Unflatten(1, (7, 7, 128)), Permute(0, 3, 1, 2)),
        *(nn.BatchNorm2d(128), leaky),
        *(nn.ConvTranspose2d(128, 64, 4, stride=2, padding=1, bias=False), nn.BatchNorm2d(64), leaky),
        *(nn.ConvTranspose2d(64, 32, 4, stride=2, padding=1, bias=False), nn.BatchNorm2d(32), leaky),
        *(nn.Conv2d(32, 1, 3, padding=1), nn.Tanh()),
    )
    discriminator = nn.Sequential(
        *(InputNoise(0.1), nn.Conv2d(1, 32, 4, stride=2, padding=1), leaky, dropout),
        *(nn.Conv2d(32, 64, 4, stride=2, padding=1, bias=False), nn.BatchNorm2d(64), leaky, dropout),
        *(nn.Conv2d(64, 128, 3, padding=1, bias=False), nn.BatchNorm2d(128), leaky, dropout),
        *(Permute(0, 2, 3, 1), nn.Flatten(), nn.Linear(128 * 49, 11)),
    )
    assert_same_networks("conv", 64, (1, 28, 28), generator, discriminator)


def assert_same_networks(network, inputs, image_shape, generator, discriminator):
    torch.manual_seed(3)
    ours = build_generator(network, inputs, image_shape), build_discriminator(network, AMGAN(), 10, image_shape)
    for got, want in zip(ours, (generator, discriminator), strict=True):
        tensors = zip(got.state_dict().values(), want.state_dict().values(), strict=True)
        assert all(torch.equal(a, b) for a, b in tensors)
    z = torch.randn(7, inputs)
    images = generator(z)  # training mode: batch statistics
    torch.testing.assert_close(ours[0](z), images, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(ours[1].eval()(images), discriminator.eval()(images), rtol=1e-5, atol=1e-5)
    for got, want in zip(ours[0].buffers(), generator.buffers(), strict=True):
        torch.testing.assert_close(got, want, rtol=1e-5, atol=1e-6)


# Each layer's weights as the source lists them, in channels a side x side; then biases, and two numbers a channel for
# batch norm.
PAPER_GENERATOR = 100 * 768 * 16 + 9 * (768 * 384 + 384 * 192 + 192 * 96 + 96 * 3) + 3 + 2 * (768 + 384 + 192 + 96)
PAPER_DISCRIMINATOR = 9 * (3 * 64 + 64 * 128 + 128 * 256 + 256 * 512) + 512 * 11 + 11 + 2 * (64 + 128 + 256 + 512)
ACGAN_GENERATOR = (
    (110 * 768 * 16 + 768 * 16)
    + 25 * (768 * 384 + 384 * 256 + 256 * 192 + 192 * 64 + 64 * 3)
    + 3
    + 2 * (384 + 256 + 192 + 64)
)
ACGAN_DISCRIMINATOR = (
    9 * (3 * 16 + 16 * 32 + 32 * 64 + 64 * 128 + 128 * 256 + 256 * 512)
    + 16
    + (512 * 16 * 16 * 11 + 11)
    + 2 * (32 + 64 + 128 + 256 + 512)
)


def test_parameter_counts():
    with torch.device("meta"):
        bare = network_options("paper", weight_norm=False)
        predefined = network_options("paper", predefined_labels=True)
        paper = build_generator("paper", 100, (3, 32, 32)), build_discriminator("paper", AMGAN(), 10, (3, 32, 32))
        bare_paper = (
            build_generator("paper", 100, (3, 32, 32), bare),
            build_discriminator("paper", AMGAN(), 10, (3, 32, 32), bare),
        )
        conditional = build_discriminator("paper", AMGAN(), 10, (3, 32, 32), predefined)
        acgan = (
            build_generator("acgan128", 110, (3, 128, 128)),
            build_discriminator("acgan128", AMGAN(), 10, (3, 128, 128)),
        )
    assert parameters(bare_paper[0]) == PAPER_GENERATOR == 4_717_923
    assert parameters(bare_paper[1]) == PAPER_DISCRIMINATOR == 1_557_579
    assert parameters(paper[0]) - PAPER_GENERATOR == 768 * 16 + 384 + 192 + 96 + 3 == 12_963
    assert parameters(paper[1]) - PAPER_DISCRIMINATOR == 64 + 128 + 256 + 512 + 11 == 971
    assert parameters(conditional) - parameters(paper[1]) == 9 * 512 * 512 + 3 * 512 == 2_360_320 + 512
    assert parameters(acgan[0]) == ACGAN_GENERATOR == 12_736_963
    assert parameters(acgan[1]) == ACGAN_DISCRIMINATOR == 3_015_563


def shapes_of(network: nn.Module, inputs: torch.Tensor) -> list[tuple[int, ...]]:
    """Of the outputs of the layers with weights, without the batch."""
    return [tuple(output.shape[1:]) for output in layer_outputs(network, WEIGHTED, inputs)]


def dropouts(network: nn.Module) -> list[float]:
    """The probability of each dropout, whether it is a layer of its own or not."""
    return [layer.p for layer in network.modules() if getattr(layer, "p", 0.0) > 0]


def count(network: nn.Module, *kinds: type) -> int:
    return sum(isinstance(layer, kinds) for layer in network.modules())


def test_the_papers_networks_are_as_published():
    with torch.device("meta"):
        generator = build_generator("paper", 100, (3, 32, 32))
        discriminator = build_discriminator(
            "paper", AMGAN(), 10, (3, 32, 32), network_options("paper", predefined_labels=True)
        )
        z, images = torch.randn(4, 100), torch.randn(4, 3, 32, 32)
    channels = [(12288,), (384, 8, 8), (192, 16, 16), (96, 32, 32), (3, 32, 32)]
    assert shapes_of(generator, z) == channels
    channels = [(64, 32, 32), (128, 16, 16), (256, 8, 8), (512, 4, 4), (512, 4, 4), (11,)]
    assert shapes_of(discriminator, images) == channels
    assert discriminator.features(images).shape == (4, 512)
    assert count(generator, nn.BatchNorm2d) == 4
    assert count(discriminator, nn.BatchNorm2d) == count(discriminator, nn.Conv2d) == 5
    assert dropouts(discriminator) == [0.3] * 6  # each convolution and the pool
    weighted = [x for x in (*generator.modules(), *discriminator.modules()) if isinstance(x, WEIGHTED)]
    assert all(parametrize.is_parametrized(layer, "weight") for layer in weighted)


def test_the_128_pixel_networks_are_as_published():
    with torch.device("meta"):
        generator = build_generator("acgan128", 110, (3, 128, 128))
        discriminator = build_discriminator("acgan128", AMGAN(), 10, (3, 128, 128))
        z, images = torch.randn(4, 110), torch.randn(4, 3, 128, 128)
    channels = [(12288,), (384, 8, 8), (256, 16, 16), (192, 32, 32), (64, 64, 64), (3, 128, 128)]
    assert shapes_of(generator, z) == channels
    channels = [(16, 64, 64), (32, 64, 64), (64, 32, 32), (128, 32, 32), (256, 16, 16), (512, 16, 16), (11,)]
    assert shapes_of(discriminator, images) == channels
    assert (count(generator, nn.BatchNorm2d), count(discriminator, nn.BatchNorm2d)) == (4, 5)
    assert count(generator, nn.ReLU) == 1
    assert dropouts(discriminator) == [0.5] * 6
    assert dropouts(generator) == []
    assert [layer.slope for layer in generator.modules() if isinstance(layer, BatchNormLeakyReLUDropout)] == [0.0] * 4
    assert count(discriminator, InputNoise) == 0


def test_the_128_pixel_networks_start_from_their_gaussian():
    generator, _ = narrow_pair("acgan128")
    for layer in generator.modules():
        if isinstance(layer, WEIGHTED):
            spread = layer.weight.std().item()
            assert abs(spread / 0.02 - 1) < 5 / math.sqrt(2 * layer.weight.numel())
            assert layer.bias is None or not layer.bias.any()


@every_network
@every_technique
def test_networks_fit_together(network, techniques, generator):
    networks = narrow_pair(network, techniques)
    images, logits = both(*networks, latent(generator))
    assert images.shape == (BATCH, *SHAPES[network])
    assert images.abs().max() <= 1
    assert logits.shape == (BATCH, 11)
    logits.square().sum().backward()
    gradients = [p.grad for network in networks for p in network.parameters()]
    assert all(gradient is not None and gradient.isfinite().all() for gradient in gradients)


@every_network
def test_the_layers_that_options_ask_for(network):
    pair = nn.ModuleList(narrow_pair(network, "plain"))
    assert not count(pair, nn.BatchNorm1d, nn.BatchNorm2d, VirtualBatchNorm, InputNoise)
    assert dropouts(pair) == []
    assert all(layer.bias is not None for layer in pair.modules() if isinstance(layer, WEIGHTED))
    normalized = count(nn.ModuleList(narrow_pair(network)), nn.BatchNorm1d, nn.BatchNorm2d)
    pair = nn.ModuleList(narrow_pair(network, "techniques", input_noise=0.2, dropout=0.25))
    assert not count(pair, nn.BatchNorm1d, nn.BatchNorm2d)
    assert count(pair, VirtualBatchNorm) == normalized
    assert [layer.sigma for layer in pair.modules() if isinstance(layer, InputNoise)] == [0.2]
    assert set(dropouts(pair)) == {0.25}


@every_network
def test_batch_statistics_only_where_there_are_no_running_ones(network):
    for running in (True, False):
        pair = nn.ModuleList(narrow_pair(network, running_statistics=running))
        norms = [x for x in pair.modules() if isinstance(x, nn.BatchNorm1d | nn.BatchNorm2d)]
        assert norms
        assert {norm.running_mean is not None for norm in norms} == {running}
    assert network_options(network).running_statistics == (network != "paper")


@every_network
@every_technique
def test_features_are_what_the_last_layer_takes(network, techniques, generator):
    _, discriminator = narrow_pair(network, techniques)
    images = torch.randn(BATCH, *SHAPES[network], generator=generator)
    torch.manual_seed(2)
    want = discriminator(images)
    torch.manual_seed(2)
    logits, features = discriminator.forward_with_features(images)
    torch.manual_seed(2)
    assert torch.equal(discriminator.features(images), features)
    assert torch.equal(logits, want)
    assert torch.equal(discriminator.head(features), want)
    assert features.shape == (BATCH, discriminator.head.in_features)


@every_network
def test_minibatch_discrimination_leaves_the_reference_batch_out(network):
    """A single image has no other to be near to."""
    _, discriminator = narrow_pair(network, "techniques")
    assert not discriminator.eval().features(torch.zeros(1, *SHAPES[network]))[:, -100:].any()


# What they refuse


@pytest.mark.parametrize(
    ("network", "image_shape", "wanted"),
    [
        ("conv", (1, 30, 28), "'conv' are 30 x 28, wanted sides that are multiples of 4"),
        ("conv", (1, 28, 0), "'conv' are 28 x 0, wanted sides"),
        ("paper", (3, 28, 28), "'paper' are 28 x 28, wanted 32 x 32"),
        ("acgan128", (3, 64, 128), "'acgan128' are 64 x 128, wanted 128 x 128"),
        ("vgg", (3, 32, 32), "network is 'vgg', wanted one of mlp, conv, paper, acgan128, resnet"),
    ],
)
def test_images_that_a_network_does_not_take(network, image_shape, wanted):
    with pytest.raises(ValueError, match=wanted):
        build_generator(network, INPUTS, image_shape)
    with pytest.raises(ValueError, match=wanted):
        build_discriminator(network, AMGAN(), 10, image_shape)


@pytest.mark.parametrize(
    ("option", "value"),
    [
        *(("normalization", "layer"), ("width", 0.0), ("width", math.inf), ("width", math.nan)),
        *(("input_noise", -0.1), ("dropout", 1.0), ("dropout", -0.1), ("dropout", math.nan)),
    ],
)
def test_options_out_of_range(option, value):
    with pytest.raises(ValueError, match=f"{option} is .*, wanted"):
        NetworkOptions(**{option: value})


def test_options_of_the_source_with_changes():
    assert network_options("paper").weight_norm
    assert network_options("paper", weight_norm=None, dropout=0.0) == NetworkOptions(
        weight_norm=True, running_statistics=False, dropout=0.0
    )


# What one can do with each


@every_network
@every_technique
def test_a_deep_copy_is_another_network_with_the_same_outputs(network, techniques, generator):
    pair = narrow_pair(network, techniques)
    copies = copy.deepcopy(pair)
    z = latent(generator)
    want = both(*pair, z)
    assert all(torch.equal(a, b) for a, b in zip(both(*copies, z), want, strict=True))
    with torch.no_grad():
        for p in nn.ModuleList(copies).parameters():
            p.add_(1)
    assert not torch.equal(both(*copies, z)[0], want[0])
    assert torch.equal(both(*pair, z)[0], want[0])


@every_network
@every_technique
def test_a_state_dict_goes_through_a_file_of_tensors(network, techniques, generator):
    pair = nn.ModuleList(narrow_pair(network, techniques))
    z = latent(generator)
    both(*pair, z)  # running statistics that are not the first ones
    file = io.BytesIO()
    torch.save(pair.state_dict(), file)
    file.seek(0)
    torch.manual_seed(5)
    options = {"width": WIDTHS[network], "spectral_norm": False, **TECHNIQUES[techniques]}
    options = network_options(network, **options)
    loaded = nn.ModuleList(
        [
            build_generator(network, INPUTS, SHAPES[network], options),
            build_discriminator(network, AMGAN(), 10, SHAPES[network], options),
        ]
    )
    loaded.load_state_dict(torch.load(file, weights_only=True))
    for want, got in zip(both(*pair.eval(), z), both(*loaded.eval(), z), strict=True):
        assert torch.equal(got, want)


@every_network
def test_a_step_trains_and_averages_with_all_techniques(network, generator):
    """What the trainer does: deep copy, averages of parameters and buffers, a discriminator frozen in G's step."""
    pair = narrow_pair(network, "techniques")
    random = torch.Generator().manual_seed(0)
    options = StepOptions(generator_lr=1e-3, discriminator_lr=1e-3, ema_decay=0.5)
    sampler = Sampler(pair[0], LatentSource(INPUTS))
    step = AdversarialStep(sampler, pair[1], AMGAN(), random, options)
    before = copy.deepcopy(step.averaged.state_dict())
    step(torch.randn(BATCH, *SHAPES[network], generator=generator), torch.arange(BATCH))
    after, trained = step.averaged.state_dict(), step.generator.state_dict()
    for name, value in before.items():
        decay = min(0.5, 1 / 11)
        torch.testing.assert_close(after[name], decay * value + (1 - decay) * trained[name])
    assert torch.equal(after["reference"], before["reference"])
    changed = [name for name in before if not torch.equal(before[name], after[name])]
    assert set(before) - set(changed) == {"reference"}
    assert all(math.isfinite(loss) for loss in step.pop_losses())


@every_network
def test_nothing_is_read_back_from_the_device(network, generator):
    pair = narrow_pair(network, "techniques")
    z = latent(generator)
    with Trace() as trace:
        both(*pair, z)[1].sum().backward()
    assert trace.names
    assert not [name for name in trace.names if "_local_scalar_dense" in name or "nonzero" in name]


@every_network
@every_technique
def test_channels_last_gives_the_same(network, techniques, generator):
    pair = narrow_pair(network, techniques, dropout=0.0, input_noise=0.0)
    z = latent(generator)
    want = both(*pair, z)
    pair = [x.to(memory_format=torch.channels_last) for x in copy.deepcopy(pair)]
    images = want[0].detach().to(memory_format=torch.channels_last)
    convolutional = (nn.Conv2d, nn.ConvTranspose2d, nn.BatchNorm2d, VirtualBatchNorm)
    outputs = layer_outputs(pair[1], convolutional, images)
    assert all(x.dim() == 2 or x.is_contiguous(memory_format=torch.channels_last) for x in outputs)
    torch.testing.assert_close(pair[1](images), want[1], rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(pair[0](z), want[0], rtol=1e-4, atol=1e-4)


@every_network
@every_technique
def test_autocast_to_bfloat16(network, techniques, generator):
    pair = narrow_pair(network, techniques, dropout=0.0, input_noise=0.0)
    z = latent(generator)
    images, logits = both(*pair, z)
    with torch.autocast("cpu", torch.bfloat16):
        half_images, half_logits = both(*pair, z)
    assert half_logits.dtype == torch.bfloat16
    half_logits.float().square().sum().backward()
    assert all(p.grad.dtype == torch.float32 and p.grad.isfinite().all() for x in pair for p in x.parameters())
    # A handful of roundings to 8 bits, of values of order 1.
    torch.testing.assert_close(half_images.float(), images, rtol=0, atol=0.1)
    torch.testing.assert_close(half_logits.float(), logits, rtol=0.1, atol=0.1)


@every_network
@pytest.mark.parametrize("techniques", ["source", "techniques"])
def test_training_mode_compiles_without_a_graph_break(network, techniques, generator):
    pair = narrow_pair(network, techniques)
    z = latent(generator)
    want = both(*pair, z)
    torch._dynamo.reset()
    compiled = torch.compile(lambda z: pair[1].forward_with_features(pair[0](z)), fullgraph=True, backend="eager")
    torch.manual_seed(1)
    torch.testing.assert_close(compiled(z)[0], want[1])


@every_network
def test_data_dependent_initialization_of_every_layer(network, generator):
    """Without batch norm every layer has a bias: mean 0 and variance 1, through both networks."""
    pair = narrow_pair(network, "plain", weight_norm=True)
    z = torch.randn(40, INPUTS, generator=generator)
    images = torch.rand(40, *SHAPES[network], generator=generator) * 2 - 1
    for built, batch in zip(pair, (z, images), strict=True):
        init_from_data(built, batch)
        outputs = layer_outputs(built, WEIGHTED, batch)
        assert len(outputs) == count(built, *WEIGHTED)
        for output in outputs:
            variance, mean = torch.var_mean(output.double().transpose(0, 1).flatten(1), 1, correction=0)
            torch.testing.assert_close(variance, torch.ones_like(variance), rtol=1e-3, atol=0)
            torch.testing.assert_close(mean, torch.zeros_like(mean), rtol=0, atol=1e-4)
