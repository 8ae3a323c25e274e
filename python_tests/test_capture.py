"""Whether a CUDA graph could capture a training step, told without a GPU: on the meta device tensors have shapes and
no values, so whatever reads a value back, or takes its shape from one, raises."""

from __future__ import annotations

from contextlib import nullcontext
from functools import partial
from types import SimpleNamespace

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from amgan_fast.nn import (
    LatentSource,
    NetworkOptions,
    Sampler,
    build_classifier,
    build_discriminator,
    build_generator,
    latent,
)
from amgan_fast.objectives import MODELS
from amgan_fast.runs import StepOptions
from amgan_fast.train import AdversarialStep, gradient_penalties, random_changes

META = torch.device("meta")
CLASSES, BATCH, SHAPE = 4, 6, (1, 8, 8)


class OnMetaAlone(TorchDispatchMode):
    """A copy from the host's memory, which a graph would repeat for ever with the same values, would show."""

    def __init__(self):
        super().__init__()
        self.operations = set()

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        result = function(*args, **(kwargs or {}))
        self.operations.add(function.name())
        for tensor in tree_leaves((args, kwargs, result)):
            assert not isinstance(tensor, Tensor) or tensor.is_meta, f"{function} takes {tensor.device}"
        return result


@pytest.fixture
def for_meta(monkeypatch):
    """Without what has no such device: autocast, generators, and the fused Adam, whose own capture PyTorch tests.

    In torch itself nothing is replaced: torch.compile, which may be imported just then, lists its functions once.
    """
    draws = {name: partial(_without_generator, getattr(torch, name)) for name in ("rand", "randn", "multinomial")}
    for module in (latent, gradient_penalties, random_changes):
        monkeypatch.setattr(module, "torch", SimpleNamespace(**{**vars(torch), **draws}))
    monkeypatch.setattr(AdversarialStep, "_precision", lambda step: nullcontext())
    monkeypatch.setattr(torch.optim, "Adam", lambda parameters, lr, betas, **_: torch.optim.SGD(parameters, lr))


def _without_generator(draw, *args, generator=None, **options):
    return draw(*args, **options)


def step(model: str, labels: str, network: NetworkOptions | None = None, **options) -> AdversarialStep:
    """Class frequencies are on the CPU, as of a dataset that stays there."""
    source = LatentSource(3, torch.full((CLASSES,), 0.25) if labels == "predefined" else None)
    with META:
        objective = MODELS[model]()
        return AdversarialStep(
            Sampler(build_generator("conv", source.width, SHAPE, network, classes=source.num_labels or 0), source),
            build_discriminator("conv", objective, CLASSES, SHAPE, network),
            objective,
            SimpleNamespace(device=META),
            StepOptions(generator_lr=1e-3, discriminator_lr=1e-3, ema_decay=0.9, **options),
            guide=build_classifier("cnn", SHAPE, CLASSES),
        )


def batch() -> tuple[Tensor, Tensor]:
    with META:
        return torch.empty(BATCH, *SHAPE), torch.empty(BATCH, dtype=torch.long)


@pytest.mark.parametrize("labels", ["dynamic", "predefined"])
@pytest.mark.parametrize("model", MODELS)
def test_no_step_needs_a_value(model, labels, for_meta):
    train = step(model, labels)
    images, classes = batch()
    train.compute(images, classes)  # the first one may bring something to the device
    with OnMetaAlone() as seen:
        for _ in range(2):
            train.compute(images, classes)
    assert "aten::convolution_backward" in seen.operations


@pytest.mark.parametrize(
    "options",
    [
        {"feature_matching": 0.5},
        {"historical_averaging": 0.5},
        {"share_latents": True},
        {"network": NetworkOptions(spectral_norm=True)},
        {"lecam": 0.5, "consistency": 0.5},
        {"guidance": 0.5},
        {"guidance": 0.5, "guidance_rows": "realness"},
        {"augment": 0.5, "augment_target": 0.6, "feature_matching": 0.5},
        {"r1": 0.5, "r2": 0.5},
        {"r1": 0.5, "r2": 0.5, "gradient_penalty": "finite-difference"},
    ],
    ids=str,
)
def test_nor_do_techniques(options, for_meta):
    train = step("amgan", "dynamic", **options)
    with OnMetaAlone():
        train.compute(*batch())


@pytest.mark.parametrize("conditioning", ["embedding", "batch-norm"])
def test_nor_does_a_conditioned_generator(conditioning, for_meta):
    train = step("amgan", "predefined", NetworkOptions(conditioning=conditioning))
    train.compute(*batch())  # brings the frequencies of classes to the device
    with OnMetaAlone():
        train.compute(*batch())


def test_nor_do_unlabelled_images(for_meta):
    train = step("improved-gan", "dynamic")
    images, labels = batch()
    with OnMetaAlone():
        train.compute(images, labels, images.clone())


def test_a_step_that_reads_a_value_would_be_noticed(for_meta):
    train = step("amgan", "dynamic")
    objective = train.objective
    train.objective = SimpleNamespace(
        discriminator_loss_and_grad=partial(_reading, objective),
        needs_unlabelled=False,
    )
    with pytest.raises(RuntimeError, match="meta"):
        train.compute(*batch())


def _reading(objective, *args):
    loss, *gradients = objective.discriminator_loss_and_grad(*args)
    return loss * loss.item(), *gradients
