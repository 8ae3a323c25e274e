"""How a generator is told its classes: layers against torch's own of one class each, and whole networks."""

from __future__ import annotations

import copy
import io
from functools import partial
from pathlib import Path

import pytest
import torch
from checking import Trace
from layer_outputs import WEIGHTED, layer_outputs
from tiny_runs import digits, tiny_config, use_classifier_cache
from torch import Tensor, nn
from typer.testing import CliRunner

from amgan_fast.cli import app
from amgan_fast.errors import InputError
from amgan_fast.evaluate import interpolate_latents
from amgan_fast.nn import (
    NETWORKS,
    ClassEmbedding,
    ConditionalBatchNorm,
    LatentSource,
    NetworkOptions,
    Sampler,
    build_discriminator,
    build_generator,
    init_from_data,
    network_options,
    set_reference_batch,
)
from amgan_fast.objectives import AMGAN
from amgan_fast.runs import Config, StepOptions
from amgan_fast.train import AdversarialStep
from amgan_fast.train.checks import check_run

pytestmark = pytest.mark.usefixtures("figures_of_a_pixel")

CLASSES, SIZE = 3, 4
SHAPES = {"mlp": (1, 8, 8), "conv": (1, 8, 8), "paper": (3, 32, 32), "acgan128": (3, 128, 128), "resnet": (1, 16, 16)}
NEW = ("embedding", "batch-norm")
CPU = torch.device("cpu")

every_network = pytest.mark.parametrize("network", NETWORKS)
both = pytest.mark.parametrize("conditioning", NEW)


def new_generator(network: str, conditioning: str, **options) -> nn.Module:
    """Narrow, and with tables that are not those of a start."""
    torch.manual_seed(0)
    built = network_options(network, width=0.05, conditioning=conditioning, **options)
    generator = build_generator(network, SIZE + CLASSES, SHAPES[network], built, classes=CLASSES)
    for layer in generator.modules():
        if isinstance(layer, ConditionalBatchNorm):
            nn.init.normal_(layer.gain, 1, 0.3)
            nn.init.normal_(layer.bias, 0, 0.3)
    return generator


def rows(count: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """What a generator takes, and its labels."""
    labels = torch.arange(count) % CLASSES
    z = torch.randn(count, SIZE, generator=generator)
    return torch.cat([z, nn.functional.one_hot(labels, CLASSES).float()], 1), labels


def new_step(network: str, conditioning: str, options: StepOptions | None = None, **changes) -> AdversarialStep:
    generator = new_generator(network, conditioning, **changes)
    return AdversarialStep(
        Sampler(generator, LatentSource(SIZE, torch.full((CLASSES,), 1 / CLASSES))),
        build_discriminator(network, AMGAN(), CLASSES, SHAPES[network], network_options(network, width=0.05)),
        AMGAN(),
        torch.Generator().manual_seed(0),
        options or StepOptions(generator_lr=1e-3, discriminator_lr=1e-3, ema_decay=0.9),
    )


def take_step(step: AdversarialStep, network: str) -> None:
    torch.manual_seed(1)
    step(torch.rand(6, *SHAPES[network]) * 2 - 1, torch.arange(6) % CLASSES)


# Layers


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("shape", [(7,), (7, 4, 5)], ids=str)
def test_each_row_is_as_torchs_batch_norm_of_its_class_has_it(shape, training, generator):
    """One affine batch norm for each class, of the whole batch; the row of its class counts."""
    kind = nn.BatchNorm1d if len(shape) == 1 else nn.BatchNorm2d
    layer = ConditionalBatchNorm(kind(7, affine=False), CLASSES).double()
    for table in (layer.gain, layer.bias):
        table.data = torch.randn(CLASSES, 7, generator=generator, dtype=torch.float64)
    norms = nn.ModuleList([kind(7) for _ in range(CLASSES)]).double()
    for k, norm in enumerate(norms):
        norm.weight.data, norm.bias.data = layer.gain[k].detach().clone(), layer.bias[k].detach().clone()
    labels = torch.tensor([2, 0, 2, 1, 2])
    hot = torch.eye(CLASSES, dtype=torch.float64)[labels]
    before = torch.randn(5, *shape, generator=generator, dtype=torch.float64)
    layer(before, hot)  # running statistics that are not those of a start
    for norm in norms:
        norm(before)
    layer.train(training)
    norms.train(training)
    mine, theirs = (before.flip(0).clone().requires_grad_() for _ in range(2))
    got = layer(mine, hot)
    of_classes = torch.stack([norm(theirs) for norm in norms])
    want = of_classes[labels, torch.arange(5)]
    torch.testing.assert_close(got, want)
    torch.testing.assert_close(layer.norm.running_var, norms[0].running_var)
    weight = torch.randn(got.shape, generator=generator, dtype=torch.float64)
    (got * weight).sum().backward()
    (want * weight).sum().backward()
    torch.testing.assert_close(mine.grad, theirs.grad)
    torch.testing.assert_close(layer.gain.grad, torch.stack([norm.weight.grad for norm in norms]))
    torch.testing.assert_close(layer.bias.grad, torch.stack([norm.bias.grad for norm in norms]))


def test_gradients_by_all_that_it_takes(generator):
    layer = ConditionalBatchNorm(nn.BatchNorm2d(2, affine=False, track_running_stats=False), CLASSES).double()

    def output(x: Tensor, label: Tensor, gain: Tensor, bias: Tensor) -> Tensor:
        return torch.func.functional_call(layer, {"gain": gain, "bias": bias}, (x, label))

    shapes = [(4, 2, 3, 2), (4, CLASSES), (CLASSES, 2), (CLASSES, 2)]
    given = [torch.randn(s, generator=generator, dtype=torch.float64, requires_grad=True) for s in shapes]
    assert torch.autograd.gradcheck(output, given)


def test_gains_and_biases_keep_their_digits_under_autocast(device):
    norm = nn.BatchNorm2d(2, affine=False).eval()  # running averages of 0 and 1
    layer = ConditionalBatchNorm(norm, CLASSES).to(device)
    layer.gain.data[1] = 1 + 2**-12
    label = torch.eye(CLASSES, device=device)[[0, 1]]
    x = torch.full((2, 2, 1, 1), 256.0, device=device)
    with torch.autocast(device.type, torch.bfloat16):
        output = layer(x, label)
        assert layer(x.bfloat16(), label).dtype == torch.bfloat16
    assert output[0, 0].item() != output[1, 0].item()


def test_an_embedding_is_torchs(generator):
    layer = ClassEmbedding(SIZE, CLASSES)
    theirs = nn.Embedding(CLASSES, SIZE, _weight=layer.table.detach().clone())
    inputs, labels = rows(5, generator)
    want = torch.cat([inputs[:, :SIZE], theirs(labels)], 1)
    got = layer(inputs)
    assert torch.equal(got, want)
    got.square().sum().backward()
    want.square().sum().backward()
    torch.testing.assert_close(layer.table.grad, theirs.weight.grad)


# Networks


@every_network
def test_concatenation_is_what_it_was_to_the_bit(network, generator):
    """What the network's file makes of all columns; the number of classes changes nothing."""
    torch.manual_seed(0)
    source, options = NETWORKS[network], network_options(network, width=0.05, weight_norm=False)
    want = source.generator(SIZE + CLASSES, SHAPES[network], options, 0).apply(source.initialize)
    torch.manual_seed(0)
    got = build_generator(network, SIZE + CLASSES, SHAPES[network], options, classes=CLASSES)
    inputs, _ = rows(4, generator)
    assert torch.equal(got(inputs), want(inputs))
    assert list(got.state_dict()) == list(want.state_dict())


@every_network
def test_conditional_batch_norm_starts_as_batch_norm_of_z_alone(network, generator):
    options = {"width": 0.05, "weight_norm": False}
    torch.manual_seed(0)
    plain = build_generator(network, SIZE, SHAPES[network], network_options(network, **options))
    torch.manual_seed(0)
    built = network_options(network, conditioning="batch-norm", **options)
    ours = build_generator(network, SIZE + CLASSES, SHAPES[network], built, classes=CLASSES)
    inputs, _ = rows(6, generator)
    torch.testing.assert_close(ours(inputs), plain(inputs[:, :SIZE]), rtol=1e-4, atol=1e-5)
    layers = [layer for layer in ours.modules() if isinstance(layer, ConditionalBatchNorm)]
    plain_norms = [layer for layer in plain.modules() if isinstance(layer, nn.BatchNorm1d | nn.BatchNorm2d)]
    unconditional = network == "resnet"  # the last one, as in the authors' code
    assert len(layers) == len(plain_norms) - unconditional > 0
    assert all(layer.gain.eq(1).all() and layer.bias.eq(0).all() for layer in layers)


@every_network
def test_an_embedding_enters_the_first_layer_beside_z(network, generator):
    network_ = new_generator(network, "embedding")
    first = next(layer for layer in network_.modules() if isinstance(layer, nn.Linear))
    assert first.in_features == 2 * SIZE
    inputs, labels = rows(4, generator)
    embedding = network_[0]
    want = nn.functional.linear(torch.cat([inputs[:, :SIZE], embedding.table[labels]], 1), first.weight, first.bias)
    (got,) = layer_outputs(network_[:2], (nn.Linear,), inputs)
    torch.testing.assert_close(got, want.detach())


@every_network
@both
def test_another_class_is_another_image_in_evaluation_mode(network, conditioning, generator):
    network_ = new_generator(network, conditioning, running_statistics=True)
    inputs, _ = rows(6, generator)
    network_(inputs)
    network_.eval()
    same_z = torch.cat([inputs[:1, :SIZE].expand(CLASSES, -1), torch.eye(CLASSES)], 1)
    images = network_(same_z)
    assert not any(images[k].equal(images[k - 1]) for k in range(CLASSES))
    torch.testing.assert_close(network_(same_z[1:2]), images[1:2], rtol=1e-4, atol=1e-5)


@every_network
@both
def test_copies_and_files_of_it_are_the_same_network(network, conditioning, generator):
    network_ = new_generator(network, conditioning)
    inputs, _ = rows(6, generator)
    network_(inputs)
    file = io.BytesIO()
    torch.save(network_.state_dict(), file)
    file.seek(0)
    loaded = new_generator(network, conditioning)
    loaded.load_state_dict(torch.load(file, weights_only=True))
    want = network_.eval()(inputs)
    assert torch.equal(loaded.eval()(inputs), want)
    assert torch.equal(copy.deepcopy(network_)(inputs), want)


@every_network
@both
def test_channels_innermost_give_the_same_and_stay_so(network, conditioning, generator):
    network_ = new_generator(network, conditioning)
    inputs, _ = rows(6, generator)
    want = network_(inputs)
    there = copy.deepcopy(network_).to(memory_format=torch.channels_last)
    kinds = (nn.ConvTranspose2d, ConditionalBatchNorm)
    outputs = layer_outputs(there, kinds, inputs)
    assert all(x.dim() == 2 or x.is_contiguous(memory_format=torch.channels_last) for x in outputs)
    torch.testing.assert_close(there(inputs), want, rtol=1e-4, atol=1e-4)


@every_network
@both
def test_autocast_to_bfloat16_has_float32_gradients(network, conditioning, generator):
    network_ = new_generator(network, conditioning)
    inputs, _ = rows(6, generator)
    want = network_(inputs)
    with torch.autocast("cpu", torch.bfloat16):
        images = network_(inputs)
    images.float().square().sum().backward()
    assert all(p.grad.dtype == torch.float32 and p.grad.isfinite().all() for p in network_.parameters())
    torch.testing.assert_close(images.float(), want, rtol=0, atol=0.15)  # a handful of roundings to 8 bits


@every_network
@both
def test_nothing_is_read_back_from_the_device(network, conditioning, generator):
    network_ = new_generator(network, conditioning)
    inputs, _ = rows(6, generator)
    with Trace() as trace:
        network_(inputs).sum().backward()
    assert trace.names
    assert not [name for name in trace.names if "_local_scalar_dense" in name or "nonzero" in name]


@pytest.mark.parametrize("network", ["mlp", "conv"])
@both
def test_data_dependent_initialization_goes_through(network, conditioning, generator):
    network_ = new_generator(network, conditioning, weight_norm=True)
    inputs, _ = rows(60, generator)
    init_from_data(network_, inputs)
    for output in layer_outputs(network_, WEIGHTED, inputs):
        variance = output.double().transpose(0, 1).flatten(1).var(1, correction=0)
        torch.testing.assert_close(variance, torch.ones_like(variance), rtol=1e-3, atol=0)


def test_an_embedding_goes_with_virtual_batch_norm(generator):
    network_ = new_generator("conv", "embedding", normalization="virtual")
    inputs, _ = rows(6, generator)
    set_reference_batch(network_, inputs)
    torch.testing.assert_close(network_(inputs)[:1], network_(inputs[:1]), rtol=1e-4, atol=1e-5)


@both
def test_a_condition_stays_along_an_interpolation(conditioning, generator):
    network_ = new_generator("mlp", conditioning).eval()
    start, end = torch.randn(2, CLASSES, SIZE, generator=generator)
    with torch.no_grad():
        lines = interpolate_latents(network_, start, end, steps=3, condition=torch.eye(CLASSES))
        want = network_(torch.cat([end, torch.eye(CLASSES)], 1))
    torch.testing.assert_close(lines.images[:, -1], want)


def test_half_of_each_class_is_half_way_between_their_gains(generator):
    layer = ConditionalBatchNorm(nn.BatchNorm1d(2, affine=False).eval(), CLASSES)
    layer.gain.data = torch.randn(CLASSES, 2, generator=generator)
    x = torch.randn(1, 2, generator=generator)
    with torch.no_grad():
        ends = [layer(x, torch.eye(CLASSES)[k : k + 1]) for k in (0, 2)]
        torch.testing.assert_close(layer(x, torch.tensor([[0.5, 0.0, 0.5]])), (ends[0] + ends[1]) / 2)


# Steps


@pytest.mark.parametrize("network", ["mlp", "conv"])
@both
def test_a_step_trains_and_averages_tables_and_statistics(network, conditioning):
    step = new_step(network, conditioning)
    before = copy.deepcopy(step.averaged.state_dict())
    take_step(step, network)
    after, trained = step.averaged.state_dict(), step.generator.state_dict()
    counts = {name for name in before if name.endswith("num_batches_tracked")}
    for name in before.keys() - counts:
        assert not torch.equal(before[name], after[name]), name
        decay = 1 / 11  # of the first step
        torch.testing.assert_close(after[name], decay * before[name] + (1 - decay) * trained[name])
    kinds = {name.rsplit(".", 1)[-1] for name in before}
    assert kinds >= ({"table"} if conditioning == "embedding" else {"gain", "bias", "running_mean", "running_var"})


@both
def test_a_bfloat16_step_is_finite(conditioning):
    step = new_step("conv", conditioning, StepOptions(precision="bfloat16", share_latents=True))
    take_step(step, "conv")
    assert step.is_finite()
    assert all(p.dtype == torch.float32 for p in step.generator.parameters())


@both
def test_a_compiled_step_is_the_step(conditioning, monkeypatch):
    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend="aot_eager", fullgraph=True))
    torch.compiler.reset()
    states = []
    for compiled in (False, True):
        step = new_step("conv", conditioning, StepOptions(compile=compiled), weight_norm=True)
        for layer in step.discriminator.modules():  # its mask is another one where it is compiled
            layer.p = 0.0
        take_step(step, "conv")
        states.append(step.generator.state_dict())
    torch.compiler.reset()
    torch.testing.assert_close(states[1], states[0], rtol=1e-3, atol=1e-4)


# What cannot be


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"conditioning": "film"}, "conditioning is 'film', wanted one of concatenation, embedding, batch-norm"),
        *(
            (
                {"conditioning": "batch-norm", "normalization": normalization},
                f"conditioning is 'batch-norm', wanted concatenation or embedding with normalization {normalization}",
            )
            for normalization in ("virtual", "none")
        ),
    ],
    ids=str,
)
def test_options_that_do_not_go_together(options, said):
    with pytest.raises(ValueError, match=f"^{said}$"):
        NetworkOptions(**options)
    with pytest.raises(InputError, match=rf"^network_options\.{said}$"):
        Config(labels="predefined", network_options=options)


@both
def test_dynamic_labels_are_none_to_condition_on(conditioning):
    said = f"^network_options.conditioning is '{conditioning}', wanted concatenation with labels = dynamic: the gen"
    with pytest.raises(InputError, match=said):
        Config(network_options={"conditioning": conditioning})


@both
@pytest.mark.parametrize("classes", [0, SIZE])
def test_a_generator_without_labels_or_without_z(conditioning, classes):
    said = f"classes is {classes}, wanted 1 to 3 of 4 inputs for conditioning '{conditioning}'"
    with pytest.raises(ValueError, match=said):
        build_generator("mlp", SIZE, (1, 8, 8), NetworkOptions(conditioning=conditioning), classes=classes)


# Runs


@both
@pytest.mark.parametrize("options", [{"network": "mlp"}, {"network": "conv", "precision": "bfloat16"}], ids=str)
def test_a_run_is_checked_with_shapes_alone(conditioning, options):
    check_run(
        tiny_config(labels="predefined", network_options={"conditioning": conditioning}, **options), digits(), CPU
    )


@pytest.mark.parametrize("conditioning", ["concatenation", *NEW])
def test_the_command_line_trains_and_samples(conditioning, tmp_path: Path, monkeypatch):
    use_classifier_cache(tmp_path / "cache", monkeypatch)
    config = tiny_config(labels="predefined")
    config.save(tmp_path / "config.toml")
    run, out = tmp_path / "run", tmp_path / "sheets"
    for command in (
        ("train", "--config", tmp_path / "config.toml", "--out", run),
        ("sample", "--run", run, "--out", out),
    ):
        setting = ("--set", f"network_options.conditioning={conditioning}") if command[0] == "train" else ()
        result = CliRunner().invoke(app, [*map(str, command), *setting])
        assert result.exit_code == 0, result.output
    assert {path.name for path in out.iterdir()} >= {"classes.png", "interpolation.png"}
    assert Config.load(run / "config.toml").build_network_options().conditioning == conditioning
