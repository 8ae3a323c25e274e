"""The trainer: what a step does to whom, what a run leaves, what it refuses."""

from __future__ import annotations

import copy
import json
import os
import pickle
import warnings
from contextlib import nullcontext
from dataclasses import replace
from functools import partial

import pytest
import torch
from checking import Trace
from test_resume import StopAt
from tiny_runs import (
    assert_same_run,
    assert_same_state,
    digits,
    digits_classifier,
    tiny_config,
    tiny_run,
    use_classifier_cache,
)
from torch import nn
from typer.testing import CliRunner

from amgan_fast.cli import app
from amgan_fast.data import load_dataset, to_float
from amgan_fast.device import resolve_device
from amgan_fast.errors import InputError
from amgan_fast.evaluate import load_classifier
from amgan_fast.metrics import ScoreWarning
from amgan_fast.nn import (
    LatentSource,
    Sampler,
    build_discriminator,
    build_generator,
    network_options,
    set_reference_batch,
)
from amgan_fast.objectives import AMGAN, MODELS, ImprovedGAN, RelativisticAMGAN, feature_matching
from amgan_fast.runs import Config, RunFolder, StepOptions
from amgan_fast.tensor_files import load_tensors, save_tensors
from amgan_fast.train import (
    AdversarialStep,
    Observer,
    TrainingStopped,
    cached_classifier,
    resume,
    train,
    train_classifier,
)
from amgan_fast.train.capture import is_captured

LATENT = 6


@pytest.fixture
def cache(tmp_path, monkeypatch):
    return use_classifier_cache(tmp_path / "cache", monkeypatch)


@pytest.fixture
def one_step() -> AdversarialStep:
    torch.manual_seed(0)
    return AdversarialStep(
        Sampler(build_generator("mlp", LATENT, (1, 8, 8)), LatentSource(LATENT)),
        build_discriminator("mlp", AMGAN(), 10, (1, 8, 8)),
        AMGAN(),
        torch.Generator().manual_seed(0),
        StepOptions(generator_lr=1e-3, discriminator_lr=1e-3, ema_decay=0.9),
    )


def real_batch(count: int = 20):
    return to_float(digits().train_images[:count]), digits().train_labels[:count]


# Networks


@pytest.mark.parametrize("network", ["mlp", "conv"])
@pytest.mark.parametrize("image_shape", [(1, 8, 8), (1, 28, 28), (3, 32, 32)])
def test_networks_fit_together(network, image_shape):
    images = build_generator(network, LATENT, image_shape)(torch.randn(4, LATENT))
    assert images.shape == (4, *image_shape)
    assert images.abs().max() <= 1
    assert build_discriminator(network, AMGAN(), 10, image_shape)(images).shape == (4, 11)


def test_latent_of_dynamic_labels_is_noise_only():
    inputs, labels = LatentSource(LATENT).draw(5, torch.Generator().manual_seed(0))
    assert inputs.shape == (5, LATENT)
    assert labels is None


def test_latent_of_predefined_labels_follows_the_class_frequencies():
    source = LatentSource(LATENT, torch.tensor([0.25, 0.0, 0.75]))
    inputs, labels = source.draw(4000, torch.Generator().manual_seed(0))
    assert inputs.shape == (4000, source.width) == (4000, LATENT + 3)
    assert torch.equal(inputs[:, LATENT:].argmax(1), labels)
    frequencies = labels.bincount(minlength=3) / 4000
    torch.testing.assert_close(frequencies, torch.tensor([0.25, 0.0, 0.75]), atol=0.03, rtol=0)


# Step


def test_a_step_changes_both_networks_and_the_average(one_step):
    networks = (one_step.generator, one_step.discriminator, one_step.averaged)
    before = [[p.clone() for p in network.parameters()] for network in networks]
    one_step(*real_batch())
    for network, values in zip(networks, before, strict=True):
        assert all(not torch.equal(p, value) for p, value in zip(network.parameters(), values, strict=True))
    assert all(p.requires_grad for p in one_step.discriminator.parameters())
    assert not any(p.requires_grad for p in one_step.averaged.parameters())


@pytest.mark.parametrize("share_latents", [False, True])
def test_a_compiled_step_is_the_same_step(monkeypatch, share_latents):
    """Traced and cut as torch.compile does it, without a compiler of C++."""
    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend="aot_eager", fullgraph=True))
    torch.compiler.reset()
    steps = []
    for compiled in (False, True):
        torch.manual_seed(0)
        step = AdversarialStep(
            Sampler(build_generator("conv", LATENT, (1, 8, 8)), LatentSource(LATENT)),
            build_discriminator("conv", AMGAN(), 10, (1, 8, 8)),
            AMGAN(),
            torch.Generator().manual_seed(0),
            StepOptions(1e-3, 1e-3, ema_decay=0.9, compile=compiled, share_latents=share_latents),
        )
        for _ in range(3):
            step(*real_batch())
        steps.append(step)
    torch.compiler.reset()
    plain, compiled = steps
    torch.testing.assert_close(compiled.generator.state_dict(), plain.generator.state_dict())
    torch.testing.assert_close(compiled.discriminator.state_dict(), plain.discriminator.state_dict())
    assert compiled.pop_losses() == pytest.approx(plain.pop_losses())


def test_a_step_writes_to_the_same_places(one_step):
    """As a replayed CUDA graph does."""

    def places() -> list[int]:
        states = [state for optimizer in one_step._optimizers.values() for state in optimizer.state.values()]
        tensors = [x for state in states for x in state.values()]
        for network in (one_step.generator, one_step.discriminator, one_step.averaged):
            tensors += [*network.parameters(), *network.buffers()]
        return [x.data_ptr() for x in (*tensors, one_step._loss_sums, one_step._taken)]

    one_step(*real_batch())  # optimisers make their state
    before = places()
    one_step(*real_batch())
    assert places() == before


def test_discriminator_step_builds_no_graph_through_the_generator(one_step):
    seen = []
    one_step.generator.register_forward_hook(lambda module, inputs, images: seen.append(images.requires_grad))
    one_step(*real_batch())
    assert seen == [False, True]  # first the discriminator's step, then the generator's


@pytest.mark.parametrize("objective", [AMGAN(), RelativisticAMGAN()], ids=lambda objective: objective.name)
def test_players_that_share_latents_take_the_images_of_one_pass(objective):
    """Against the loop written out with autograd, where the generator answers to the discriminator as it is then."""
    torch.manual_seed(0)
    frequencies = torch.tensor([0.5, 0.5])
    generator, discriminator = nn.Linear(LATENT + 2, 4), nn.Linear(4, 3)
    networks = copy.deepcopy((generator, discriminator))
    options = StepOptions(generator_lr=1e-2, discriminator_lr=2e-2, ema_decay=0.9, share_latents=True)
    latent = LatentSource(LATENT, frequencies)
    step = AdversarialStep(
        Sampler(generator, latent), discriminator, objective, torch.Generator().manual_seed(1), options
    )
    passes = []
    generator.register_forward_hook(lambda *_: passes.append(torch.is_grad_enabled()))

    random = torch.Generator().manual_seed(1)
    players = [
        torch.optim.Adam(x.parameters(), rate, (0.5, 0.999)) for x, rate in zip(networks, (1e-2, 2e-2), strict=True)
    ]
    for i in range(3):
        images, labels = torch.randn(8, 4), torch.randint(2, (8,))
        step(images, labels)
        inputs, given = latent.draw(8, random)
        generated = networks[0](inputs)
        players[1].zero_grad()
        objective.discriminator_loss(networks[1](images), labels, networks[1](generated.detach()), given).backward()
        players[1].step()
        players[0].zero_grad()
        if objective.needs_pairs:
            real = networks[1](images).detach()
            objective.paired_generator_loss(real, labels, networks[1](generated), given).backward()
        else:
            objective.generator_loss(networks[1](generated), given).backward()
        players[0].step()
        assert passes == [True] * (i + 1)
    for ours, theirs in zip((generator, discriminator), networks, strict=True):
        torch.testing.assert_close(ours.state_dict(), theirs.state_dict(), rtol=1e-4, atol=1e-6)
    assert torch.equal(random.get_state(), step.random.get_state())


def test_generator_step_leaves_the_discriminator_without_gradient(one_step):
    one_step._step_generator(*real_batch())
    assert all(p.grad is None for p in one_step.discriminator.parameters())
    assert all(p.grad is not None for p in one_step.generator.parameters())


def test_a_step_moves_down_its_own_objective():
    """With plain gradient descent on the objective's losses as the oracle, in networks without chance in them."""
    torch.manual_seed(0)
    generator, discriminator = nn.Linear(LATENT, 4), nn.Linear(4, 11)
    step = AdversarialStep(
        Sampler(generator, LatentSource(LATENT)),
        discriminator,
        AMGAN(),
        torch.Generator().manual_seed(1),
        StepOptions(generator_lr=1e-3, discriminator_lr=1e-3, ema_decay=0.9),
    )
    images, labels = torch.randn(8, 4), torch.randint(10, (8,))
    z = torch.randn(8, LATENT, generator=torch.Generator().manual_seed(1))
    loss = AMGAN().discriminator_loss(discriminator(images), labels, discriminator(generator(z)))
    want = torch.autograd.grad(loss, list(discriminator.parameters()))
    got = step._step_discriminator(images, labels)
    torch.testing.assert_close(got, loss.detach())
    torch.testing.assert_close([p.grad for p in discriminator.parameters()], list(want))


class Shifted(nn.Module):
    """Images that differ from those of the same noise by a learned number a pixel."""

    def __init__(self) -> None:
        super().__init__()
        self.shift = nn.Parameter(torch.full((1, 8, 8), 0.5))

    def forward(self, noise):
        return noise.view(-1, 1, 8, 8) + self.shift


@pytest.mark.parametrize(
    "options",
    [{}, {"normalization": "virtual"}, {"normalization": "none"}],
    ids=["batch", "virtual", "none"],
)
@pytest.mark.parametrize("objective", [ImprovedGAN(), AMGAN()], ids=lambda objective: objective.name)
def test_matched_features_are_one_function_of_real_and_generated_images(objective, options):
    """With autograd through a copy in evaluation mode as the oracle. In training mode batch norm would have taken the
    difference of the means away, and dropout would have added its own."""
    torch.manual_seed(0)
    discriminator = build_discriminator(
        "mlp", AMGAN(), 10, (1, 8, 8), network_options("mlp", input_noise=0.0, **options)
    )
    images, labels = real_batch()
    if options.get("normalization") == "virtual":
        set_reference_batch(discriminator, images)
    for _ in range(5):
        discriminator(images)  # averages that are not those of a start
    step = AdversarialStep(
        Sampler(Shifted(), LatentSource(64)),
        discriminator,
        objective,
        torch.Generator().manual_seed(1),
        StepOptions(generator_lr=1e-9, discriminator_lr=1e-9, ema_decay=0.9, feature_matching=1e6),
    )
    before = {name: x.clone() for name, x in discriminator.named_buffers()}
    step._step_generator(images, labels)
    got = step.generator.shift.grad
    assert all(layer.training for layer in discriminator.modules())
    if objective.needs_features:
        torch.testing.assert_close(dict(discriminator.named_buffers()), before, rtol=0, atol=0)
    oracle = copy.deepcopy(discriminator).eval()
    generated = step.generator(torch.randn(20, 64, generator=torch.Generator().manual_seed(1)))
    loss = 1e6 * feature_matching(oracle.features(images).detach(), oracle.features(generated))
    (want,) = torch.autograd.grad(loss, step.generator.shift)
    assert want.norm() > 1e3
    torch.testing.assert_close(got, want, rtol=1e-3, atol=1e-3 * float(want.abs().max()))  # what is left is the logits'


@pytest.mark.parametrize("options", [{"model": "improved-gan"}, {"model": "amgan", "feature_matching": 1.0}])
def test_features_are_matched_with_averages_only(options):
    paper = Config(network="paper", **options)
    assert paper.build_network_options().running_statistics
    (note,) = paper.notes()
    assert note.startswith(f"network_options.running_statistics: true, for model {options['model']}: feature matching")
    assert not Config(network="paper").build_network_options().running_statistics
    assert Config(**options).notes() == Config(network="paper").notes() == []
    asked = Config(network="paper", network_options={"running_statistics": True}, **options)
    assert asked.notes() == []
    with pytest.raises(
        InputError, match=r"network_options\.running_statistics is false, wanted true: feature matching"
    ):
        Config(network_options={"running_statistics": False}, **options)
    Config(network_options={"running_statistics": False, "normalization": "none"}, **options)
    own = build_discriminator("mlp", AMGAN(), 10, (1, 8, 8), network_options("mlp", running_statistics=False))
    sampler, matching = Sampler(nn.Linear(6, 64), LatentSource(6)), StepOptions(feature_matching=1.0)
    with pytest.raises(ValueError, match="discriminator has batch norm that keeps no averages"):
        AdversarialStep(sampler, own, AMGAN(), torch.Generator(), matching)


def test_a_step_reads_nothing_back_from_the_device(one_step):
    images, labels = real_batch()
    with Trace() as trace:
        one_step(images, labels)
    assert trace.names
    assert not [name for name in trace.names if "_local_scalar_dense" in name or "nonzero" in name]


def test_drawing_predefined_labels_reads_nothing_back():
    with Trace() as trace:
        drawn, labels = LatentSource(4, torch.full((10,), 0.1)).draw(8, torch.Generator().manual_seed(0))
    torch.testing.assert_close(drawn[:, 4:], torch.nn.functional.one_hot(labels, 10).float())
    assert not [name for name in trace.names if "_local_scalar_dense" in name or "nonzero" in name]


def test_a_gpu_without_kernels_for_it_is_not_used(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    without = {"cuda": False, "cuda_reason": "no nvcc found"}
    monkeypatch.setattr("amgan_fast.device.build_info", lambda: without)
    assert resolve_device("auto") == torch.device("cpu")
    with pytest.raises(InputError, match="no CUDA kernels were built \\(no nvcc found\\)"):
        resolve_device("cuda")


def test_losses_are_means_since_they_were_last_read(one_step):
    one_step(*real_batch())
    first = one_step.pop_losses()
    one_step(*real_batch())
    second = one_step.pop_losses()
    assert first != second
    assert all(0 < loss < 10 for loss in (*first, *second))


@pytest.mark.parametrize("options", [{}, {"feature_matching": 0.5}], ids=str)
def test_weights_are_normalized_once_while_they_stay(options, monkeypatch):
    """And the step is the same."""
    gradients, norms = [], []
    for shared in (True, False):
        if not shared:
            monkeypatch.setattr(torch.nn.utils.parametrize, "cached", nullcontext)
        torch.manual_seed(0)
        normed = network_options("mlp", weight_norm=True, running_statistics=True)
        step = AdversarialStep(
            Sampler(build_generator("mlp", LATENT, (1, 8, 8), normed), LatentSource(LATENT)),
            build_discriminator("mlp", AMGAN(), 10, (1, 8, 8), normed),
            AMGAN(),
            torch.Generator().manual_seed(0),
            StepOptions(generator_lr=1e-3, discriminator_lr=1e-3, ema_decay=0.9, **options),
        )
        with Trace() as trace:
            step(*real_batch())
        norms.append(sum(name == "aten::_weight_norm_interface" for name in trace.names))
        gradients.append([parameter.grad for parameter in step.discriminator.parameters()])
    players = (step.generator, step.discriminator)
    ours, theirs = (sum(isinstance(layer, nn.Linear) for layer in player.modules()) for player in players)
    assert norms[0] == 2 * ours + 2 * theirs
    assert norms[1] == 2 * ours + 3 * theirs + (2 * (theirs - 1) if options else 0)  # features lack the last layer
    torch.testing.assert_close(*gradients)


# Checkpoint


def test_a_checkpoint_comes_back(tmp_path, one_step):
    save_tensors(tmp_path / "c.pt", one_step.state_dict())
    state = load_tensors(tmp_path / "c.pt")
    one_step(*real_batch())
    one_step.load_state_dict(state)
    save_tensors(tmp_path / "d.pt", one_step.state_dict())
    assert (tmp_path / "d.pt").stat().st_size == (tmp_path / "c.pt").stat().st_size
    for network in ("generator", "averaged", "discriminator"):
        again = load_tensors(tmp_path / "d.pt")[network]
        assert all(torch.equal(again[name], value) for name, value in state[network].items())


def test_a_failed_write_leaves_the_old_checkpoint(tmp_path, monkeypatch):
    path = tmp_path / "c.pt"
    save_tensors(path, {"step": 1})

    def full_disk(state, file):
        file.write_bytes(b"half of it")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(torch, "save", full_disk)
    with pytest.raises(InputError, match="No space left"):
        save_tensors(path, {"step": 2})
    assert load_tensors(path) == {"step": 1}
    assert os.listdir(tmp_path) == ["c.pt"]


class Malicious:
    def __reduce__(self):
        return (os.system, ("true",))


def test_loading_refuses_what_would_run_code(tmp_path):
    torch.save({"step": Malicious()}, tmp_path / "c.pt")
    with pytest.raises(InputError, match="damaged or no checkpoint"):
        load_tensors(tmp_path / "c.pt")


@pytest.mark.parametrize("content", [b"", b"text", pickle.dumps([1])], ids=["empty", "text", "pickle"])
def test_loading_refuses_damaged_files(tmp_path, content):
    (tmp_path / "c.pt").write_bytes(content)
    with pytest.raises(InputError, match=r"c\.pt (is damaged|holds)"):
        load_tensors(tmp_path / "c.pt")


# Configuration


def test_a_configuration_comes_back_whole(tmp_path):
    config = Config.for_dataset("fashion-mnist", seed=7, data_dir="/somewhere", generator_lr=1)
    config.save(tmp_path / "config.toml")
    assert Config.load(tmp_path / "config.toml") == config
    Config().save(tmp_path / "default.toml")
    assert Config.load(tmp_path / "default.toml") == Config()


def test_a_checkpoint_of_an_earlier_version_lacks_later_settings_and_has_their_defaults():
    earlier = Config().to_dict()
    del earlier["skip_unreadable"]
    assert Config().differences(earlier) == []
    folder = Config(dataset="image-folder", skip_unreadable=True)
    assert folder.differences(earlier | {"dataset": "image-folder"}) == ["skip_unreadable is False instead of True"]


@pytest.mark.parametrize(("earlier", "now"), [("true", "on"), ("false", "off"), ('"auto"', "auto")])
def test_cuda_graph_of_an_earlier_version_was_true_or_false(tmp_path, earlier, now):
    (tmp_path / "config.toml").write_text(f"cuda_graph = {earlier}\n")
    assert Config.load(tmp_path / "config.toml") == Config(cuda_graph=now)
    assert Config.compose(tmp_path / "config.toml", {}, []) == Config(cuda_graph=now)
    assert Config.compose(None, {}, [f"cuda_graph={earlier}"]) == Config(cuda_graph=now)
    checkpoint = Config().to_dict() | {"cuda_graph": {"true": True, "false": False}.get(earlier, now)}
    assert Config(cuda_graph=now).differences(checkpoint) == []
    assert len(Config(cuda_graph="off" if now == "on" else "on").differences(checkpoint)) == 1


@pytest.mark.parametrize(
    ("options", "device", "processes", "captured"),
    [
        ({}, "cuda", 1, True),
        ({}, "cpu", 1, False),
        ({}, "cuda", 2, False),
        ({"compile": True}, "cuda", 1, False),
        ({"historical_averaging": 0.1}, "cuda", 1, False),
        ({"cuda_graph": "off"}, "cuda", 1, False),
        ({"cuda_graph": "on"}, "cuda", 1, True),
    ],
    ids=str,
)
def test_steps_are_captured_where_they_can_be(options, device, processes, captured):
    assert is_captured(Config(**options), torch.device(device), processes) is captured


def test_a_capture_that_cannot_be_is_refused(tmp_path, cache):
    with pytest.raises(InputError, match=r"^cuda_graph is on and the device cpu, wanted auto or off$"):
        tiny_run(tmp_path / "run", cuda_graph="on")
    assert not (tmp_path / "run").exists()
    with pytest.raises(InputError, match=r"^cuda_graph is on and 2 processes average their gradients, wanted auto or"):
        is_captured(Config(cuda_graph="on"), torch.device("cuda"), 2)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"cuda_graph": True}, "cuda_graph is True, wanted str"),
        ({"cuda_graph": "always"}, "cuda_graph is 'always', wanted one of auto, on, off"),
        ({"cuda_graph": "on", "compile": True}, "cuda_graph is 'on', wanted auto or off with compile$"),
        ({"model": "vae"}, "model is 'vae', wanted one of gan, gan-star, "),
        ({"labels": "none"}, "labels is 'none', wanted one of dynamic, predefined"),
        ({"network": "vit"}, "network is 'vit', wanted one of mlp, conv"),
        ({"steps": 0}, "steps is 0, wanted at least 1"),
        ({"steps": 1.5}, "steps is 1.5, wanted int"),
        ({"batch_size": 1}, "batch_size is 1, wanted at least 2"),
        ({"generator_lr": float("nan")}, "generator_lr is nan, wanted float"),
        ({"discriminator_lr": -1.0}, "discriminator_lr is -1.0, wanted a positive number"),
        ({"ema_decay": 1.0}, r"ema_decay is 1.0, wanted a number in \[0, 1\)"),
        ({"log_every": 30, "score_every": 100}, "score_every is 100, wanted a multiple of log_every = 30"),
        ({"seed": True}, "seed is True, wanted int"),
    ],
)
def test_bad_configurations(options, said):
    with pytest.raises(InputError, match=said):
        Config(**options)


def test_bad_configuration_files(tmp_path):
    path = tmp_path / "config.toml"
    with pytest.raises(InputError, match="cannot be read"):
        Config.load(path)
    path.write_text("steps = ")
    with pytest.raises(InputError, match="is no TOML file"):
        Config.load(path)
    path.write_text("stepz = 3")
    with pytest.raises(InputError, match="unknown keys stepz, wanted some of"):
        Config.load(path)


# Classifier


class Listener(Observer):
    def __init__(self) -> None:
        self.said: list[str] = []
        self.steps: list[tuple[int, int]] = []

    def message(self, text: str) -> None:
        self.said.append(text)

    def progress(self, what: str, done: int, total: int) -> None:
        if what == "classifier":
            self.steps.append((done, total))


def test_training_a_classifier_tells_how_far_it_is():
    listener = Listener()
    train_classifier(digits(), steps=40, observer=listener)
    assert listener.steps == [(step, 40) for step in range(1, 41)]


def test_the_cached_classifier_is_reused(cache):
    listener = Listener()
    classifier = cached_classifier(digits(), listener)
    assert classifier.sha256() == digits_classifier().sha256()
    assert classifier.reference.sum() == pytest.approx(1)
    assert len(listener.said) == 1
    assert "test accuracy" in listener.said[0]


def test_a_loaded_classifier_computes_as_the_trained_one(tmp_path):
    trained = digits_classifier()
    trained.save(tmp_path / "classifier.pt")
    images = to_float(digits().test_images)
    loaded = load_classifier(tmp_path / "classifier.pt", digits())
    with torch.no_grad():
        assert torch.equal(loaded.network(images), trained.network(images))


def test_a_classifier_that_tests_otherwise_is_refused(cache):
    state = load_tensors(cache)
    save_tensors(cache, state | {"test_accuracy": 0.123})
    with pytest.raises(InputError, match=r"tests at 0\.\d{4}, wanted 0\.1230"):
        load_classifier(cache, digits())
    save_tensors(cache, state | {"fingerprint": "other"})
    with pytest.raises(InputError, match="trained on other data"):
        load_classifier(cache, digits())
    save_tensors(cache, {"architecture": {}})
    with pytest.raises(InputError, match="holds no classifier that fits"):
        load_classifier(cache, digits())


def of_an_earlier_version(file):
    state = load_tensors(file)
    del state["architecture"]
    save_tensors(file, state)


@pytest.mark.parametrize("spoil", [lambda file: file.write_bytes(b"damaged"), of_an_earlier_version])
def test_a_cache_that_cannot_be_used_is_trained_anew(cache, monkeypatch, spoil):
    spoil(cache)
    monkeypatch.setattr(
        "amgan_fast.train.classifier_training.train_classifier", lambda dataset, observer: digits_classifier()
    )
    listener = Listener()
    assert cached_classifier(digits(), listener) is digits_classifier()
    assert "cannot be used" in listener.said[0]
    assert load_classifier(cache, digits()).sha256() == digits_classifier().sha256()


def test_a_cache_that_cannot_be_written_does_not_stop_a_run(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    monkeypatch.setattr(
        "amgan_fast.train.classifier_training.train_classifier", lambda dataset, observer: digits_classifier()
    )
    listener = Listener()
    assert cached_classifier(digits(), listener) is digits_classifier()
    assert "not kept for the next run" in listener.said[-1]


# Run


@pytest.mark.parametrize("labels", ["dynamic", "predefined"])
@pytest.mark.parametrize("model", MODELS)
def test_every_model_leaves_a_whole_run_folder(tmp_path, cache, model, labels):
    result = tiny_run(tmp_path / "run", model=model, labels=labels)
    files = {path.name for path in result.folder.path.iterdir()}
    pictures, networks = {"samples.png", "curves.png"}, {"checkpoint.pt", "checkpoint.best.pt", "classifier.pt"}
    folders = {"grids", "tensorboard"}
    assert files == {"config.toml", "metrics.jsonl", "summary.json"} | pictures | networks | folders
    assert [grid.name for grid in result.folder.grids()] == ["00000004.png", "00000006.png"]
    (events,) = result.folder.tensorboard.iterdir()
    assert events.stat().st_size > 0
    assert Config.load(result.folder.config) == tiny_config(model=model, labels=labels)
    rows = [json.loads(line) for line in result.folder.metrics.read_text().splitlines()]
    assert [row["step"] for row in rows] == [2, 4, 6]
    assert [row["step"] for row in rows if "am_score" in row] == [4, 6]
    assert all(row["images_per_second"] > 0 for row in rows)
    summary = json.loads(result.folder.summary.read_text())
    accuracy = summary["discriminator"]
    assert (accuracy is None) == (model == "gan")
    assert [row["step"] for row in rows if "discriminator_accuracy" in row] == ([] if model == "gan" else [4, 6])
    assert summary["generated"]["scores"]["n"] == 600
    assert summary["held_out"]["scores"]["n"] == 360
    for scores in (summary["generated"]["scores"], summary["held_out"]["scores"]):
        assert scores["am_score"] == pytest.approx(scores["kl_reference"] + scores["mean_entropy"])


def test_samples_are_a_grid_with_a_row_a_class(tmp_path, cache):
    from PIL import Image

    folder = tiny_run(tmp_path / "run").folder
    with Image.open(folder.samples) as picture:
        cell = 7 * 8 + 2  # digits enlarged sevenfold, and the line between cells
        assert picture.size == (12 * cell + 2, 10 * cell + 2)
    with Image.open(folder.curves) as picture:
        assert picture.width > 1000


def test_the_same_seed_gives_the_same_run(tmp_path, cache):
    states, metrics = [], []
    for name, seed in (("a", 3), ("b", 3), ("c", 4)):
        torch.manual_seed(ord(name))  # whatever was drawn before
        folder = tiny_run(tmp_path / name, seed=seed).folder
        states.append(load_tensors(folder.checkpoint)["step"]["averaged"])
        rows = map(json.loads, folder.metrics.read_text().splitlines())
        metrics.append([(row["discriminator_loss"], row.get("am_score")) for row in rows])
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])
    assert metrics[0] == metrics[1] != metrics[2]


@pytest.mark.parametrize("around", [torch.no_grad, torch.inference_mode])
def test_what_trains_does_so_where_the_caller_records_no_gradients(tmp_path, cache, around):
    """To the bit as elsewhere; also on images that were loaded there."""
    wanted = train_classifier(load_dataset("digits"), steps=5)
    tiny_run(tmp_path / "wanted")
    with around():
        found = train_classifier(load_dataset("digits"), steps=5)
        with pytest.raises(TrainingStopped):
            train(tiny_config(), tmp_path / "run", StopAt(4))
        resume(tmp_path / "run")
        assert not torch.is_grad_enabled()
    assert_same_state(found.network.state_dict(), wanted.network.state_dict())
    assert_same_run(tmp_path / "run", tmp_path / "wanted")


def test_a_run_leaves_the_callers_random_numbers_alone(tmp_path, cache):
    torch.manual_seed(1)
    want = torch.rand(3)
    torch.manual_seed(1)
    tiny_run(tmp_path / "run")
    assert torch.equal(torch.rand(3), want)


def test_few_samples_are_warned_of_beside_the_scores_alone(tmp_path, cache):
    """Not in the middle of the progress, of a classifier's training images and of scores on the way."""
    images, labels = digits().train_images[:20], torch.arange(20) % 10
    with warnings.catch_warnings():
        warnings.simplefilter("error", ScoreWarning)
        train_classifier(replace(digits(), train_images=images, train_labels=labels), steps=1)
        result = tiny_run(tmp_path / "run", score_samples=20, final_samples=20)
    assert "below 5 samples a class" in " ".join(result.evaluation.generated.warnings)


@pytest.mark.parametrize("model", ["amgan", "improved-gan"])
def test_training_learns(tmp_path, cache, model):
    """120 steps are far better than 20, whatever the machine; log 10 = 2.3 would be a generator of nothing."""
    result = tiny_run(tmp_path / "run", model=model, steps=120, log_every=20, score_every=20)
    first, *_, last = (json.loads(line)["am_score"] for line in result.folder.metrics.read_text().splitlines())
    assert last < first - 0.4


def test_a_loss_that_is_not_finite_stops_the_run(tmp_path, cache, monkeypatch):
    monkeypatch.setattr(AdversarialStep, "pop_losses_there", lambda self: torch.tensor([float("nan"), 1.0]))
    with pytest.raises(FloatingPointError, match="step 2: discriminator loss nan"):
        tiny_run(tmp_path / "run")


def test_a_folder_with_something_in_it_is_not_overwritten(tmp_path, cache):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "thesis.txt").write_text("precious")
    with pytest.raises(InputError, match="run is not empty, wanted a new or empty folder for --out"):
        tiny_run(tmp_path / "run")
    assert os.listdir(tmp_path / "run") == ["thesis.txt"]


def test_a_folder_that_cannot_be_made(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot be used as --out"):
        RunFolder(tmp_path / "file" / "run").create(tiny_config())


def test_the_default_folder_is_named_after_the_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folder = RunFolder.new(None, tiny_config(model="gan", seed=5))
    assert folder.path.parent.name == "runs"
    assert folder.path.name.startswith("digits-gan-dynamic-seed5-")


# Command line


def command(*arguments: str):
    return CliRunner().invoke(app, arguments)


def test_train_command_prints_the_scores(tmp_path, cache):
    out = tmp_path / "run"
    options = ("--steps", "3", "--model", "labelgan", "--seed", "2", "--batch-size", "50")
    result = command("train", *options, "--out", str(out))
    assert result.exit_code == 0, result.output
    for text in ("AM Score", "KL(reference, mean)", "mean entropy", "Inception Score", "held-out real"):
        assert text in result.output
    config = Config.load(out / "config.toml")
    assert (config.model, config.steps, config.seed, config.batch_size) == ("labelgan", 3, 2, 50)


def test_train_command_on_a_folder_that_is_not_empty(tmp_path):
    (tmp_path / "notes").write_text("")
    result = command("train", "--out", str(tmp_path))
    assert result.exit_code == 2
    assert result.stderr.startswith("amgan-fast: ")
    assert "is not empty, wanted a new or empty folder" in result.stderr
    assert len(result.stderr.splitlines()) == 1


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU here")
def test_train_command_asked_for_a_gpu_that_is_not_there(tmp_path):
    result = command("train", "--device", "cuda", "--out", str(tmp_path / "run"))
    assert result.exit_code == 2
    assert "device is cuda and PyTorch sees no CUDA GPU" in result.stderr
    assert not (tmp_path / "run").exists()


def test_train_command_without_the_datasets_files(tmp_path):
    arguments = ("--dataset", "fashion-mnist", "--data-dir", str(tmp_path), "--out", str(tmp_path / "run"))
    result = command("train", *arguments)
    assert result.exit_code == 2
    assert "no Fashion-MNIST files" in result.stderr
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("arguments", [("--model", "vae"), ("--steps", "0"), ("--labels", "no"), ("--steps", "many")])
def test_train_command_with_bad_options(arguments):
    result = command("train", *arguments)
    assert result.exit_code == 2
    assert arguments[0].removeprefix("--") in result.stderr
    assert "Traceback" not in result.output


def test_info_command():
    result = command("info", "--json")
    assert result.exit_code == 0
    facts = json.loads(result.stdout)
    assert {"version", "torch", "cuda"} <= set(facts)
    lines = command("info").stdout
    assert f"version: {facts['version']}" in lines
