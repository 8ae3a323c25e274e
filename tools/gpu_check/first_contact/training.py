"""A training step as it is and as one CUDA graph: the same weights, and how long it takes."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from functools import partial

import torch
from torch import Tensor

from amgan_fast.nn import LatentSource, Sampler, build_discriminator, build_generator
from amgan_fast.objectives import AMGAN
from amgan_fast.runs import StepOptions
from amgan_fast.train import AdversarialStep
from amgan_fast.train.capture import CapturedStep
from tools.gpu_check.first_contact.measurement import Figures, Measurement

CLASSES, LATENT, SHAPE = 10, 100, (3, 32, 32)
NETWORKS = ("conv", "paper")
PRECISIONS = ("float32", "bfloat16")
COMPARED = 8  # steps after which weights are compared
TIMED = 50

Batch = tuple[Tensor, Tensor]


def make_step(network: str, precision: str, device: torch.device) -> AdversarialStep:
    torch.manual_seed(0)
    sampler = Sampler(build_generator(network, LATENT, SHAPE).to(device), LatentSource(LATENT))
    discriminator = build_discriminator(network, AMGAN(), CLASSES, SHAPE).to(device)
    options = StepOptions(generator_lr=2e-4, discriminator_lr=2e-4, precision=precision)
    return AdversarialStep(sampler, discriminator, AMGAN(), torch.Generator(device).manual_seed(1), options)


def _batch(size: int, device: torch.device) -> Batch:
    random = torch.Generator(device).manual_seed(2)
    images = torch.rand(size, *SHAPE, device=device, generator=random) * 2 - 1
    return images, torch.randint(CLASSES, (size,), device=device, generator=random)


def _as_given(images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor, None]:
    return images, labels, None


def _seconds(advance: Callable[[Tensor, Tensor], None], batch: Batch, steps: int, device: torch.device) -> float:
    def wait() -> None:
        if device.type == "cuda":
            torch.cuda.synchronize(device)

    wait()
    start = time.perf_counter()
    for _ in range(steps):
        advance(*batch)
    wait()
    return time.perf_counter() - start


def _steps(network: str, precision: str, device: torch.device) -> Figures:
    on_gpu = device.type == "cuda"
    size, compared, timed = (100, COMPARED, TIMED) if on_gpu else (4, 2, 1)
    batch = _batch(size, device)
    found: Figures = {"batch": size}
    weights = {}
    for how in ("eager", "again", "captured") if on_gpu else ("eager", "again"):
        step = make_step(network, precision, device)
        advance = CapturedStep(step, _as_given) if how == "captured" else step
        torch.manual_seed(3)
        _seconds(advance, batch, compared, device)
        weights[how] = [weight.detach().clone() for weight in step.generator.parameters()]
        losses = step.pop_losses()
        if how != "again":
            found[f"{how}, ms"] = 1000 * _seconds(advance, batch, timed, device) / timed
            found[f"{how}, images/s"] = 1000 * size / found[f"{how}, ms"]
            found[f"{how}, losses"] = losses
    for how in weights.keys() - {"eager"}:
        pairs = zip(weights["eager"], weights[how], strict=True)
        found[f"{how}, largest difference of a weight after {compared} steps"] = max(
            (a - b).abs().max().item() for a, b in pairs
        )
    return found


def training(device: torch.device) -> Iterator[Measurement]:
    for network in NETWORKS:
        for precision in PRECISIONS:
            yield Measurement(f"{network}, {precision}", partial(_steps, network, precision, device))
