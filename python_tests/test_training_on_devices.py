"""Training on every device there is: what a step computes, captured or not, and whole runs. On a CPU a stand-in for
CUDA graphs (host_graph.py) captures."""

from __future__ import annotations

import copy
import json
import os
import subprocess
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from host_graph import use_host_graphs
from test_resume import StopAt
from tiny_runs import (
    assert_same_run,
    assert_same_state,
    digits,
    tiny_config,
    tiny_run,
    use_classifier_cache,
)
from torch import Tensor

from amgan_fast.data import Batches, to_float
from amgan_fast.images import ImageFiles
from amgan_fast.nn import LatentSource, Sampler, build_discriminator, build_generator, network_options
from amgan_fast.objectives import AMGAN
from amgan_fast.runs import RunFolder, StepOptions
from amgan_fast.tensor_files import load_tensors
from amgan_fast.train import AdversarialStep, TrainingStopped, resume, train, train_classifier
from amgan_fast.train.capture import CapturedStep

pytestmark = pytest.mark.usefixtures("figures_of_a_pixel")

LATENT, BATCH = 6, 20


@pytest.fixture(autouse=True)
def deterministic(monkeypatch):
    """Of cuDNN's convolutions some add in any order."""
    monkeypatch.setattr(torch.backends.cudnn, "deterministic", True)


@pytest.fixture
def cache(tmp_path, monkeypatch):
    return use_classifier_cache(tmp_path / "cache", monkeypatch)


@pytest.fixture
def graphs(device, monkeypatch):
    """Captures on a CPU too; the graphs there, and on a GPU none to look at."""
    return use_host_graphs(monkeypatch) if device.type == "cpu" else None


class LatentsOfTheHost(LatentSource):
    """The same on every device, in the generator's dtype."""

    def __init__(self, class_frequencies: Tensor | None, dtype: torch.dtype) -> None:
        super().__init__(LATENT, class_frequencies)
        self.random = torch.Generator().manual_seed(3)
        self.dtype = dtype

    def draw(self, count, generator):
        inputs, labels = LatentSource(LATENT, self.class_frequencies).draw(count, self.random)
        return inputs.to(generator.device, self.dtype), None if labels is None else labels.to(generator.device)


def frequencies(labels: str) -> Tensor | None:
    return torch.full((10,), 0.1) if labels == "predefined" else None


def new_step(
    device: torch.device,
    network: str,
    labels: str = "dynamic",
    latent: LatentSource | None = None,
    dtype: torch.dtype = torch.float32,
    step_options: StepOptions | None = None,
    **options,
) -> AdversarialStep:
    latent = latent or LatentSource(LATENT, frequencies(labels))
    torch.manual_seed(0)
    options = network_options(network, **options)
    generator = build_generator(network, latent.width, (1, 8, 8), options).to(device, dtype)
    discriminator = build_discriminator(network, AMGAN(), 10, (1, 8, 8), options).to(device, dtype)
    settings = step_options or StepOptions(generator_lr=1e-3, discriminator_lr=1e-3, ema_decay=0.9)
    random = torch.Generator(device).manual_seed(0)
    return AdversarialStep(Sampler(generator, latent), discriminator, AMGAN(), random, settings)


def batches(device: torch.device) -> Batches:
    there = digits().to(device)
    return Batches(there.train_images, there.train_labels, BATCH, seed=0)


@pytest.mark.parametrize("labels", ["dynamic", "predefined"])
@pytest.mark.parametrize("network", ["mlp", "conv"])
def test_a_step_computes_what_it_does_in_float64_on_the_host(device, network, labels, monkeypatch):
    """The losses and gradients of a first step: what comes later depends on the signs of gradients close to zero, which
    Adam makes whole steps of."""
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", False)
    plain = {"dropout": 0.0, "input_noise": 0.0}  # what they draw differs from device to device
    losses, gradients = [], []
    for there, dtype in ((torch.device("cpu"), torch.float64), (device, torch.float32)):
        step = new_step(there, network, labels, LatentsOfTheHost(frequencies(labels), dtype), dtype, **plain)
        images, classes = next(batches(torch.device("cpu")))
        step(to_float(images).to(there, dtype), classes.to(there))
        losses.append(torch.tensor(step.pop_losses()))
        both = (step.discriminator, step.generator)
        gradients.append([torch.cat([p.grad.flatten().cpu() for p in one.parameters()]) for one in both])
    torch.testing.assert_close(losses[1], losses[0], rtol=2e-3, atol=0)
    for want, got, most in zip(*gradients, (1e-3, 3e-2), strict=True):  # the generator's after a step of Adam
        assert (got - want).norm() < most * want.norm()


@pytest.mark.parametrize("network", ["mlp", "conv"])
def test_two_trainings_on_a_device_are_the_same_to_the_bit(device, network):
    states = []
    for _ in range(2):
        step, stream = new_step(device, network, "predefined"), batches(device)
        for _ in range(5):
            images, labels = next(stream)
            step(to_float(images), labels)
        states.append(copy.deepcopy(step.state_dict()))
    assert_same_state(*states)


def prepared(stream: Batches, *taken: Tensor) -> tuple[Tensor, Tensor, None]:
    images, classes = stream.gather(*taken)
    return to_float(images), classes, None


@pytest.mark.parametrize("labels", ["dynamic", "predefined"])
@pytest.mark.parametrize("network", ["mlp", "conv"])
def test_a_captured_step_is_the_step_to_the_bit(device, graphs, network, labels):
    """With learning rates that change on the way, and batches that are gathered in the graph."""
    options = StepOptions(generator_lr=1e-3, discriminator_lr=2e-3, ema_decay=0.9, halve_every=6, feature_matching=0.1)
    states, losses = [], []
    for captured in (False, True):
        step = new_step(device, network, labels, step_options=options, running_statistics=True, weight_norm=True)
        stream = batches(device)
        prepare = partial(prepared, stream)
        replayed, means = CapturedStep(step, prepare) if captured else None, []
        for i in range(10):
            taken = stream.take()
            if replayed is None:
                step(*prepare(*taken))
            else:
                replayed(*taken)
            if i % 3 == 1:
                means += step.pop_losses()
        states.append(copy.deepcopy(step.state_dict()))
        losses.append(means)
    assert_same_state(states[1], states[0])
    assert losses[1] == losses[0]
    if graphs is not None:
        assert [graph.replays for graph in graphs] == [3, 4]  # after three steps as they are, and with half the rates


def options_of(device: torch.device, **options):
    return {"device": device.type, "steps": 10, "checkpoint_every": 3, **options}


RUNS = {
    "amgan": {},
    "predefined": {"labels": "predefined"},
    "unlabelled": {"model": "improved-gan", "labelled_per_class": 5},
    "bfloat16": {"precision": "bfloat16"},
    "shared latents": {"share_latents": True, "labels": "predefined"},
    "class embedding": {"labels": "predefined", "network_options": {"conditioning": "embedding"}},
    "conditional batch norm": {
        "labels": "predefined",
        "precision": "bfloat16",
        "network_options": {"conditioning": "batch-norm"},
    },
    "regularized": {
        "r1": 0.1,
        "gradient_penalty": "finite-difference",
        "lecam": 0.1,
        "consistency": 0.1,
        "augment": 0.3,
        "augment_target": 0.6,
    },
}


@pytest.mark.parametrize("options", RUNS.values(), ids=RUNS)
def test_a_captured_run_is_the_run_to_the_bit(device, graphs, tmp_path, cache, options):
    whole = tiny_run(tmp_path / "plain", cuda_graph="off", **options_of(device, **options)).folder
    captured = tiny_run(tmp_path / "captured", **options_of(device, **options)).folder
    states = [load_tensors(folder.checkpoint) for folder in (whole, captured)]
    assert [state.pop("config")["cuda_graph"] for state in states] == ["off", "auto"]
    assert_same_state(*states)
    rows = [[row["discriminator_loss"] for row in folder.read_metrics()] for folder in (whole, captured)]
    assert rows[0] == rows[1]
    if graphs is not None:
        assert [graph.replays for graph in graphs] == [7]


@pytest.mark.parametrize("name", ["predefined", "unlabelled", "regularized"])
def test_a_captured_run_goes_on_to_the_same_end(device, graphs, tmp_path, cache, name):
    options = RUNS[name]
    tiny_run(tmp_path / "whole", **options_of(device, **options))
    with pytest.raises(TrainingStopped):
        train(tiny_config(**options_of(device, **options)), tmp_path / "stopped", StopAt(4))
    resume(tmp_path / "stopped")
    assert_same_run(tmp_path / "stopped", tmp_path / "whole")


def test_images_that_stay_with_the_host_train_the_same_run(device, graphs, tmp_path, cache, monkeypatch):
    """They go to a GPU through pinned memory, and the graph takes them from there."""
    whole = tiny_run(tmp_path / "there", **options_of(device, labels="predefined")).folder
    monkeypatch.setattr("amgan_fast.data.Dataset.fits_on", lambda dataset, device: False)
    other = tiny_run(tmp_path / "here", **options_of(device, labels="predefined")).folder
    assert_same_state(load_tensors(other.checkpoint), load_tensors(whole.checkpoint))


class ReadDigit:
    """Reads a file of 64 bytes to an image."""

    def __call__(self, path: Path) -> np.ndarray:
        return np.fromfile(path, np.uint8).reshape(1, 8, 8)


@pytest.mark.parametrize("workers", [0, 2])
def test_images_that_stay_in_files_train_the_same_captured_step(device, graphs, tmp_path, workers):
    """Threads that pin what workers have read go on while the step is captured."""
    count = 50
    images, labels = digits().train_images[:count], digits().train_labels[:count]
    for i, image in enumerate(images):
        (tmp_path / str(i)).write_bytes(image.numpy().tobytes())
    files = ImageFiles(tmp_path, [str(i) for i in range(count)], ReadDigit(), (1, 8, 8))
    states = []
    for source, there, options in (
        (images.to(device), labels.to(device), {}),
        (files, labels, {"device": device, "workers": workers}),
    ):
        step, stream = new_step(device, "mlp"), Batches(source, there, BATCH, seed=0, **options)
        advance = CapturedStep(step, partial(prepared, stream))
        for _ in range(8):
            advance(*stream.take())
        states.append(copy.deepcopy(step.state_dict()))
    assert_same_state(*states)


def test_a_captured_classifier_is_the_classifier_to_the_bit(device, graphs, monkeypatch):
    """With augmentation in the graph, and rates that fall after the third and the fifth step."""
    few = replace(digits(), train_images=digits().train_images[:80], train_labels=digits().train_labels[:80]).to(device)
    states = []
    for captured in (False, True):
        monkeypatch.setattr("amgan_fast.train.classifier_training._is_captured", lambda *_, it=captured: it)
        trained = train_classifier(few, steps=7, network="densenet-bc", depth=10, growth=4)
        states.append(trained.network.state_dict())
    assert_same_state(states[1], states[0])
    if graphs is not None:
        assert [graph.replays for graph in graphs] == [2, 2]


@pytest.mark.cuda
def test_one_process_of_torchrun_has_its_own_gpu_and_more_than_gpus_are_refused(tmp_path, cache):
    tiny_config(device="cuda").save(tmp_path / "config.toml")

    def torchrun(processes: int, out: str) -> subprocess.CompletedProcess:
        launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(processes)]
        command = [*launcher, "-m", "--", "amgan_fast", "train", "--config", "config.toml", "--out", out]
        return subprocess.run(command, cwd=tmp_path, env=os.environ, capture_output=True, text=True)

    assert torchrun(1, "one").returncode == 0
    summary = json.loads(RunFolder(tmp_path / "one").summary.read_text())
    assert summary["training"]["device"] == "cuda:0"
    gpus = torch.cuda.device_count()
    many = torchrun(gpus + 1, "many")
    assert many.returncode != 0
    assert f"LOCAL_RANK is {gpus} and this process sees {gpus} GPUs, wanted one for each process" in many.stderr
