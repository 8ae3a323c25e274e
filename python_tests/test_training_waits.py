"""What surrounds a training step waits for no GPU: its batches, its latents, its losses.

Each test runs on a GPU that is pretended, and on a real one under ``torch.cuda.set_sync_debug_mode("error")``. That the
step itself waits for none is told on the meta device (test_capture.py), and here on a real one: backward passes cannot
be pretended.
"""

from __future__ import annotations

from contextlib import nullcontext
from itertools import islice
from typing import Any

import pytest
import torch
from pretended_gpu import PretendedGpu, RealGpu
from tiny_runs import digits
from torch import Tensor

from amgan_fast.data import Batches, to_float
from amgan_fast.nn import LatentSource, Sampler, build_discriminator, build_generator
from amgan_fast.objectives import AMGAN
from amgan_fast.runs import StepOptions
from amgan_fast.train import AdversarialStep
from amgan_fast.train.moment import Numbers

COUNT = 5 * (1437 // 100)  # batches of several epochs


@pytest.fixture
def calls(gpu, monkeypatch) -> list[str]:
    """Of streams of a pretended GPU, in order; none of a real one."""
    made: list[str] = []
    if isinstance(gpu, RealGpu):
        return made

    class Stream:
        def __init__(self, device: Any = None, name: str = "copies") -> None:
            self.name = name

        def wait_stream(self, other: Stream) -> None:
            made.append(f"{self.name} wait for {other.name}")

    class Event:
        def __init__(self, **options: Any) -> None:
            pass

        def record(self, stream: Stream) -> None:
            made.append(f"event of {stream.name}")

        def synchronize(self) -> None:
            made.append("the host waits")

    def within(stream: Stream) -> nullcontext:
        made.append(f"given to {stream.name}")
        return nullcontext()

    monkeypatch.setattr(torch.cuda, "Stream", Stream)
    monkeypatch.setattr(torch.cuda, "Event", Event)
    monkeypatch.setattr(torch.cuda, "stream", within)
    monkeypatch.setattr(torch.cuda, "current_stream", lambda device=None: Stream(name="steps"))
    monkeypatch.setattr(Tensor, "record_stream", lambda tensor, stream: made.append(f"kept for {stream.name}"))
    return made


def in_order(device: str) -> Batches:
    return Batches(digits().train_images, digits().train_labels, 100, seed=2, device=device)


def assert_as_on_the_host(got: list[tuple[Tensor, Tensor]]) -> None:
    for (images, labels), (want_images, want_labels) in zip(got, in_order("cpu"), strict=False):
        assert torch.equal(images.cpu(), want_images)
        assert torch.equal(labels.cpu(), want_labels)


def test_batches_of_the_host_are_copied_beside_the_steps(gpu: PretendedGpu | RealGpu, calls):
    stream = in_order("cuda")
    with gpu.waits(allowed=False):
        got = list(islice(stream, COUNT))
    assert got[0][0].device.type == "cuda"
    assert_as_on_the_host(got)
    one = ["given to copies", "steps wait for copies", "kept for steps"]
    assert calls in ([], 2 * COUNT * one)  # images, then labels


def test_batches_of_the_gpu_are_gathered_there(gpu: PretendedGpu | RealGpu, calls):
    there = digits().to("cuda")
    stream = Batches(there.train_images, there.train_labels, 100, seed=2)
    with gpu.waits(allowed=False):
        got = [stream.gather(*stream.take()) for _ in range(COUNT)]
    assert_as_on_the_host(got)


def test_predefined_labels_are_drawn_where_class_frequencies_came_from_the_host(gpu: PretendedGpu | RealGpu):
    source, random = LatentSource(4, digits().class_frequencies()), torch.Generator("cuda").manual_seed(0)
    source.draw(8, random)
    with gpu.waits(allowed=False):
        inputs, labels = source.draw(8, random)
    assert inputs.device.type == labels.device.type == "cuda"


def test_losses_are_fetched_beside_the_steps(gpu: PretendedGpu | RealGpu, calls):
    losses = torch.ones(2, device="cuda")
    with gpu.waits(allowed=False):
        numbers = Numbers(losses / 4)
        losses.zero_()
    assert "the host waits" not in calls
    assert numbers.read() == [0.25, 0.25]
    assert calls in ([], ["event of steps", "the host waits"])


@pytest.mark.cuda
@pytest.mark.parametrize("network", ["mlp", "conv"])
def test_a_step_waits_for_no_gpu(network):
    latent = LatentSource(4, digits().class_frequencies())
    generator = build_generator(network, latent.width, (1, 8, 8)).cuda()
    discriminator = build_discriminator(network, AMGAN(), 10, (1, 8, 8)).cuda()
    random = torch.Generator("cuda").manual_seed(0)
    step = AdversarialStep(Sampler(generator, latent), discriminator, AMGAN(), random, StepOptions())
    stream = in_order("cuda")
    with RealGpu() as gpu:
        for i in range(4):
            images, labels = next(stream)
            with gpu.waits(allowed=i == 0):
                step(to_float(images), labels)
