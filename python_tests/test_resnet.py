"""The residual networks: against the authors' blocks written plainly in torch.nn, and what one can do with them."""

from __future__ import annotations

import copy
import dataclasses
import math
from functools import partial
from itertools import pairwise

import pytest
import torch
from layer_outputs import WEIGHTED
from tiny_runs import assert_same_run, digits, tiny_config
from torch import Tensor, nn
from torch.nn.functional import interpolate

from amgan_fast.errors import InputError
from amgan_fast.nn import (
    ConditionalBatchNorm,
    LatentSource,
    Sampler,
    build_discriminator,
    build_generator,
    network_options,
)
from amgan_fast.nn.layers import InputNoise
from amgan_fast.nn.resampling import DoublingConv2d, HalvingConv2d
from amgan_fast.nn.resnet import Block, DoublingBlock
from amgan_fast.objectives import AMGAN, GAN
from amgan_fast.runs import Config, StepOptions
from amgan_fast.tensor_files import load_tensors
from amgan_fast.train import AdversarialStep, Observer, TrainingStopped, resume, train, train_classifier

CLASSES, SIZE = 3, 5
TABLES = {  # of the papers and the authors' code: the generator's widths, the discriminator's, how many of these halve
    32: ([256] * 4, [128] * 4, 2),
    48: ([512, 256, 128, 64], [64, 128, 256, 512, 1024], 4),
    64: ([1024, 512, 256, 128, 64], [64, 128, 256, 512, 1024], 5),
    128: ([1024, 1024, 512, 256, 128, 64], [64, 128, 256, 512, 1024, 1024], 5),
}

every_size = pytest.mark.parametrize("side", TABLES)


# The authors' networks


class PlainNorm(nn.Module):
    """Batch norm with torch's own embedding of gains and biases where there are classes."""

    def __init__(self, channels: int, classes: int) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(channels, affine=not classes)
        self.tables = nn.ModuleList([nn.Embedding(classes, channels) for _ in range(2)] if classes else [])

    def forward(self, x: Tensor, y: Tensor | None) -> Tensor:
        gain, bias = (table(y)[:, :, None, None] for table in self.tables) if self.tables else (1, 0)
        return self.norm(x) * gain + bias


class PlainDoublingBlock(nn.Module):
    def __init__(self, before: int, after: int, classes: int = 0, norm: bool = True) -> None:
        super().__init__()
        self.b1 = PlainNorm(before, classes) if norm else None
        self.c1 = nn.Conv2d(before, after, 3, padding=1)
        self.b2 = PlainNorm(after, classes) if norm else None
        self.c2 = nn.Conv2d(after, after, 3, padding=1)
        self.c_sc = nn.Conv2d(before, after, 1)

    def forward(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        h = x if self.b1 is None else self.b1(x, y)
        h = self.c1(interpolate(h.relu(), scale_factor=2, mode="nearest"))
        h = h if self.b2 is None else self.b2(h, y)
        return self.c2(h.relu()) + self.c_sc(interpolate(x, scale_factor=2, mode="nearest"))


class PlainBlock(nn.Module):
    def __init__(self, before: int, after: int, first: bool, halves: bool) -> None:
        super().__init__()
        hidden = after if first else before
        self.first, self.halves = first, halves
        self.c1 = nn.Conv2d(before, hidden, 3, padding=1)
        self.c2 = nn.Conv2d(hidden, after, 3, padding=1)
        self.c_sc = nn.Conv2d(before, after, 1) if halves or before != after else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        pool = partial(nn.functional.avg_pool2d, kernel_size=2) if self.halves else lambda x: x
        residual = pool(self.c2(self.c1(x if self.first else x.relu()).relu()))
        return residual + (self.c_sc(pool(x)) if self.first else pool(self.c_sc(x)))


class PlainGenerator(nn.Module):
    """Its first layer's numbers lie in memory as ours do, channels innermost."""

    def __init__(self, inputs: int, widths: list[int], seed: tuple[int, int], images: int, classes: int = 0) -> None:
        super().__init__()
        self.seed = (*seed, widths[0])
        self.l1 = nn.Linear(inputs, math.prod(self.seed))
        self.blocks = nn.ModuleList([PlainDoublingBlock(a, b, classes) for a, b in pairwise(widths)])
        self.b = nn.BatchNorm2d(widths[-1])
        self.c = nn.Conv2d(widths[-1], images, 3, padding=1)

    def forward(self, z: Tensor, y: Tensor | None = None) -> Tensor:
        h = self.l1(z).unflatten(1, self.seed).permute(0, 3, 1, 2)
        for block in self.blocks:
            h = block(h, y)
        return self.c(self.b(h).relu()).tanh()


class PlainDiscriminator(nn.Module):
    def __init__(self, images: int, widths: list[int], halvings: int, outputs: int) -> None:
        super().__init__()
        pairs = enumerate(zip([images, *widths], widths, strict=False))
        self.blocks = nn.Sequential(*(PlainBlock(a, b, i == 0, i < halvings) for i, (a, b) in pairs))
        self.l = nn.Linear(widths[-1], outputs)

    def forward(self, x: Tensor) -> Tensor:
        return self.l(self.blocks(x).relu().sum((2, 3)))


def narrow(widths: list[int]) -> list[int]:
    return [count // 32 for count in widths]


def options(**changes):
    return network_options("resnet", **{"width": 1 / 32, "spectral_norm": False, **changes})


def copy_weights(ours: nn.Module, theirs: nn.Module) -> None:
    """In the order in which the layers stand; away from a start, where half of them is 0 or 1."""
    torch.manual_seed(0)
    with torch.no_grad():
        for mine, other in zip(ours.parameters(), theirs.parameters(), strict=True):
            assert mine.shape == other.shape
            mine.copy_(torch.randn(mine.shape) / max(1, math.prod(mine.shape[1:])) ** 0.5)
            other.copy_(mine)


def assert_same(ours: nn.Module, theirs: nn.Module, got_inputs: tuple[Tensor, ...], want_inputs: tuple[Tensor, ...]):
    """Outputs, and the gradients of all weights, in float64."""
    got, want = ours.double()(*got_inputs), theirs.double()(*want_inputs)
    torch.testing.assert_close(got, want, rtol=1e-9, atol=1e-9)
    weights = torch.linspace(-1, 1, got.numel(), dtype=got.dtype).view_as(got)
    for output in (got, want):
        (output * weights).sum().backward()
    for mine, other in zip(ours.parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(mine.grad, other.grad, rtol=1e-6, atol=1e-8)


@every_size
def test_parameter_counts_are_the_authors(side):
    generator_widths, discriminator_widths, halvings = TABLES[side]
    seed = side // 2 ** (len(generator_widths) - 1)
    with torch.device("meta"):
        shape, built = (3, side, side), options(width=1.0)
        discriminator = build_discriminator("resnet", GAN(), 10, shape, built)
        pairs = [
            (build_generator("resnet", 128, shape, built), PlainGenerator(128, generator_widths, (seed, seed), 3)),
            (discriminator, PlainDiscriminator(3, discriminator_widths, halvings, 1)),
        ]
        z, images = torch.empty(2, 128), torch.empty(2, *shape)
    for (ours, theirs), inputs in zip(pairs, (z, images), strict=True):
        assert [p.shape for p in ours.parameters()] == [p.shape for p in theirs.parameters()]
        assert ours(inputs).shape == theirs(inputs).shape
    counts = [sum(p.numel() for p in ours.parameters()) for ours, _ in pairs]
    published = {32: [4_276_739, 1_053_825]}
    assert counts == published.get(side, counts)


@pytest.mark.parametrize(("side", "breadth"), [(32, 40), (48, 48)])
def test_a_generator_is_the_authors(side, breadth, generator):
    """Also where the images are oblong."""
    widths = narrow(TABLES[side][0])
    ours = build_generator("resnet", SIZE, (2, side, breadth), options())
    theirs = PlainGenerator(SIZE, widths, (side // 8, breadth // 8), 2)
    copy_weights(ours, theirs)
    z = torch.randn(3, SIZE, generator=generator, dtype=torch.float64)
    assert_same(ours, theirs, (z,), (z,))
    torch.testing.assert_close(ours.eval()(z), theirs.eval()(z), rtol=1e-7, atol=1e-7)  # running averages


def test_a_conditional_generator_is_the_authors(generator):
    """Every block has gains and biases of classes, what comes after the last has not."""
    built = options(conditioning="batch-norm")
    ours = build_generator("resnet", SIZE + CLASSES, (2, 32, 32), built, classes=CLASSES)
    theirs = PlainGenerator(SIZE, narrow(TABLES[32][0]), (4, 4), 2, CLASSES)
    copy_weights(ours, theirs)
    z, labels = torch.randn(4, SIZE, generator=generator, dtype=torch.float64), torch.tensor([0, 2, 1, 2])
    hot = torch.eye(CLASSES, dtype=torch.float64)[labels]
    assert_same(ours, theirs, (torch.cat([z, hot], 1),), (z, labels))
    assert sum(isinstance(layer, ConditionalBatchNorm) for layer in ours.modules()) == 6


@pytest.mark.parametrize("side", [32, 48])
def test_a_discriminator_is_the_authors(side, generator):
    _, widths, halvings = TABLES[side]
    ours = build_discriminator("resnet", AMGAN(), CLASSES, (2, side, 2 * side), options())
    theirs = PlainDiscriminator(2, narrow(widths), halvings, CLASSES + 1)
    copy_weights(ours, theirs)
    images = torch.randn(2, 2, side, 2 * side, generator=generator, dtype=torch.float64)
    assert_same(ours, theirs, (images,), (images,))


def test_without_normalization_a_shortcut_has_what_no_relu_has_touched(generator):
    ours = DoublingBlock(3, 4, options(normalization="none"), 0)
    theirs = PlainDoublingBlock(3, 4, norm=False)
    copy_weights(ours, theirs)
    images = torch.randn(2, 3, 4, 4, generator=generator, dtype=torch.float64)
    assert_same(ours, theirs, (images,), (images,))


def test_weights_start_as_the_authors():
    """Uniform, as Glorot and Bengio have it; Chainer counts the same numbers of inputs and outputs."""
    torch.manual_seed(0)
    built = options(width=0.25)
    networks = [
        build_generator("resnet", 64, (3, 32, 32), built),
        build_discriminator("resnet", AMGAN(), 10, (3, 32, 32), built),
    ]
    in_blocks = {
        layer
        for network in networks
        for block in network.modules()
        if isinstance(block, DoublingBlock | Block)
        for layer in block.residual
    }
    for layer in (x for network in networks for x in network.modules() if isinstance(x, WEIGHTED)):
        weight = layer.weight.detach()
        place = weight[0, 0].numel()
        bound = (6 / (place * (weight.size(0) + weight.size(1)))) ** 0.5 * (2**0.5 if layer in in_blocks else 1)
        assert bound * (1 - 5 / weight.numel() ** 0.5) < weight.abs().max() <= bound * (1 + 1e-6)
        assert weight.std().item() == pytest.approx(bound / 3**0.5, rel=5 / weight.numel() ** 0.5)
        assert layer.bias is None or not layer.bias.any()


# Convolutions that change the size


@pytest.mark.parametrize("shape", [(2, 3, 3, 4), (1, 3, 1, 2)], ids=str)
@pytest.mark.parametrize("kind", [DoublingConv2d, HalvingConv2d])
def test_they_are_a_convolution_and_a_change_of_size(kind, shape, generator):
    layer = kind(3, 5).double()
    height, breadth = shape[2:]
    if kind is HalvingConv2d:
        shape = (*shape[:2], 2 * height, 2 * breadth)
    x = torch.randn(shape, generator=generator, dtype=torch.float64, requires_grad=True)

    def plain(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        if kind is DoublingConv2d:
            return nn.functional.conv2d(interpolate(x, scale_factor=2, mode="nearest"), weight, bias, padding=1)
        return nn.functional.avg_pool2d(nn.functional.conv2d(x, weight, bias, padding=1), 2)

    given = (x, layer.weight, layer.bias)
    got, want = layer(x), plain(*given)
    torch.testing.assert_close(got, want)
    directions = torch.randn(want.shape, generator=generator, dtype=torch.float64)
    for a, b in zip(
        torch.autograd.grad(got, given, directions), torch.autograd.grad(want, given, directions), strict=True
    ):
        torch.testing.assert_close(a, b)
    assert torch.autograd.gradgradcheck(layer, x)


# Sizes and options


@pytest.mark.parametrize(
    ("size", "seed", "blocks"),
    [
        *(((16, 16), (4, 4), 2), ((28, 28), (7, 7), 2), ((20, 36), (5, 9), 2)),
        *(((32, 64), (4, 8), 3), ((40, 40), (5, 5), 3), ((48, 96), (6, 12), 3)),
        *(((64, 64), (4, 4), 4), ((96, 64), (6, 4), 4), ((96, 96), (6, 6), 4)),
        *(((128, 128), (4, 4), 5), ((192, 128), (6, 4), 5)),
    ],
)
def test_sizes_and_what_they_begin_with(size, seed, blocks):
    with torch.device("meta"):
        built = options(width=0.1)
        generator = build_generator("resnet", SIZE, (1, *size), built)
        discriminator = build_discriminator("resnet", AMGAN(), CLASSES, (1, *size), built)
        images = generator(torch.empty(2, SIZE))
        assert discriminator(images).shape == (2, CLASSES + 1)
        assert discriminator.features(images).shape == (2, discriminator.head.in_features)
    assert images.shape == (2, 1, *size)
    assert generator[1].shape[:2] == seed
    assert sum(isinstance(layer, DoublingBlock) for layer in generator) == blocks


@pytest.mark.parametrize("size", [(8, 8), (12, 16), (30, 32), (32, 34)])
def test_sizes_that_are_refused(size):
    wanted = f"'resnet' are {size[0]} x {size[1]}, wanted sides that are multiples of 4 and at least 16"
    with pytest.raises(ValueError, match=wanted):
        build_generator("resnet", SIZE, (1, *size))
    with pytest.raises(ValueError, match=wanted):
        build_discriminator("resnet", AMGAN(), CLASSES, (1, *size))


def test_the_sources_options():
    source = network_options("resnet")
    assert source.spectral_norm
    discriminator = build_discriminator("resnet", AMGAN(), CLASSES, (1, 16, 16), source)
    kinds = (nn.modules.batchnorm._BatchNorm, InputNoise, nn.Dropout)
    assert not [layer for layer in discriminator.modules() if isinstance(layer, kinds) or getattr(layer, "p", 0)]


def test_dropout_and_noise_where_they_are_asked_for():
    built = options(dropout=0.2, input_noise=0.3)
    discriminator = build_discriminator("resnet", AMGAN(), CLASSES, (1, 16, 16), built)
    assert isinstance(discriminator.body[0], InputNoise)
    dropped = [layer.p for layer in discriminator.modules() if hasattr(layer, "p")]
    assert dropped == [0.2] * 8  # one ReLU in the first block, two in each other, and the last


# Steps and runs


SHAPE = (3, 16, 16)


def new_step(step_options: StepOptions, **changes) -> AdversarialStep:
    torch.manual_seed(0)
    built = network_options("resnet", width=0.05, conditioning="batch-norm", **changes)
    return AdversarialStep(
        Sampler(
            build_generator("resnet", SIZE + CLASSES, SHAPE, built, classes=CLASSES),
            LatentSource(SIZE, torch.full((CLASSES,), 1 / CLASSES)),
        ),
        build_discriminator("resnet", AMGAN(), CLASSES, SHAPE, built),
        AMGAN(),
        torch.Generator().manual_seed(0),
        step_options,
    )


def take_step(step: AdversarialStep) -> None:
    torch.manual_seed(1)
    step(torch.rand(6, *SHAPE) * 2 - 1, torch.arange(6) % CLASSES)


@pytest.mark.parametrize(
    "step_options",
    [
        StepOptions(precision="bfloat16"),
        StepOptions(share_latents=True, feature_matching=0.1),
        StepOptions(r1=0.1, penalty_every=1),  # second derivatives
        StepOptions(r1=0.1, r2=0.1, gradient_penalty="finite-difference", augment=0.5, consistency=1.0, lecam=0.1),
    ],
    ids=["bfloat16", "features", "exact", "regularized"],
)
def test_a_step_trains_every_weight(step_options):
    step = new_step(step_options)
    before = copy.deepcopy([step.generator.state_dict(), step.discriminator.state_dict()])
    take_step(step)
    assert step.is_finite()
    for old, network in zip(before, (step.generator, step.discriminator), strict=True):
        new = network.state_dict()
        weights = {name for name, _ in network.named_parameters()}
        same = {name for name in weights if torch.equal(old[name], new[name])}
        assert not same


@pytest.mark.slow
def test_a_compiled_step_is_the_step(monkeypatch):
    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend="aot_eager", fullgraph=True))
    torch.compiler.reset()
    judged = []
    for compiled in (False, True):
        step = new_step(StepOptions(compile=compiled), spectral_norm=False)
        take_step(step)
        inputs, _ = step.sampler.latent.draw(6, torch.Generator().manual_seed(2))
        images = step.generator(inputs)  # weights alone would not do: batch norm takes biases away, whatever they are
        judged.append((images, step.discriminator(images)))
    torch.compiler.reset()
    torch.testing.assert_close(judged[1], judged[0], rtol=1e-3, atol=1e-3)


def test_activations_keep_their_channels_innermost():
    """As the other networks: no convolution copies what it is given."""
    step = new_step(StepOptions())
    kinds = (nn.Conv2d, nn.ReLU, nn.AvgPool2d, ConditionalBatchNorm, DoublingBlock, Block)
    seen: list[Tensor] = []
    networks = [step.generator, step.discriminator]
    for layer in (x for network in networks for x in network.modules() if isinstance(x, kinds)):
        layer.register_forward_hook(lambda layer, inputs, output: seen.append(output))
    take_step(step)
    assert len(seen) > 40
    assert all(x.is_contiguous(memory_format=torch.channels_last) for x in seen)


@pytest.fixture
def config(tmp_path, monkeypatch) -> Config:
    """Of digits within 16 x 16, with a classifier of a moment in the user's cache."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    padded = digits().padded(16)
    monkeypatch.setattr(Config, "load_dataset", lambda config, progress=None: padded)
    file = tmp_path / "amgan_fast" / f"classifier-digits-{padded.fingerprint()[:12]}.pt"
    file.parent.mkdir(parents=True)
    train_classifier(padded, steps=20).save(file)
    conditional = {"width": 0.02, "conditioning": "batch-norm"}
    few = {"steps": 4, "log_every": 1, "checkpoint_every": 2, "score_samples": 100, "final_samples": 100}
    return tiny_config(network="resnet", labels="predefined", network_options=conditional, **few)


def test_a_run_that_was_stopped_goes_on_to_the_bit(config, tmp_path):
    train(config, tmp_path / "whole")

    class StopAtThree(Observer):
        def logged(self, row):
            if row["step"] == 3:
                raise KeyboardInterrupt

    with pytest.raises((KeyboardInterrupt, TrainingStopped)):
        train(config, tmp_path / "stopped", StopAtThree())
    resume(tmp_path / "stopped")
    assert_same_run(tmp_path / "stopped", tmp_path / "whole")


def test_virtual_batch_norm_is_the_generators(config, tmp_path):
    """The discriminator has none, and is given no reference batch."""
    few = dataclasses.replace(
        config, steps=2, score_every=2, network_options={"width": 0.02, "normalization": "virtual"}
    )
    state = load_tensors(train(few, tmp_path / "run").folder.checkpoint)
    names = {player: list(state["step"][player]) for player in ("generator", "discriminator")}
    assert "reference" in names["generator"]
    assert not [name for name in names["discriminator"] if "reference" in name]


def test_sizes_are_checked_before_a_run_begins(config, monkeypatch, tmp_path):
    monkeypatch.setattr(Config, "load_dataset", lambda config, progress=None: digits())
    with pytest.raises(InputError, match="'resnet' are 8 x 8, wanted sides"):
        train(config, tmp_path / "run")
    assert not (tmp_path / "run").exists()
