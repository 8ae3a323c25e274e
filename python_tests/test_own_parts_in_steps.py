"""What a training step does with networks and models that users write, and what of them is refused before it."""

from __future__ import annotations

import copy

import pytest
import torch
from tiny_runs import digits, tiny_config, use_classifier_cache
from torch import nn
from torch.nn.utils.parametrizations import spectral_norm

from amgan_fast.errors import InputError
from amgan_fast.nn import Discriminator, LatentSource, Sampler, build_discriminator, build_generator
from amgan_fast.objectives import AMGAN
from amgan_fast.runs import StepOptions
from amgan_fast.train import AdversarialStep, train
from amgan_fast.train.checks import check_run

CPU = torch.device("cpu")


class OwnNorm(nn.Module):
    """Batch norm as users write it, that puts new tensors in the place of its averages."""

    def __init__(self, channels: int):
        super().__init__()
        self.register_buffer("mean", torch.zeros(channels))
        self.register_buffer("places", torch.arange(3).expand(2, 3))
        self.register_buffer("last", None)

    def forward(self, x):
        if self.training:
            self.mean = 0.5 * self.mean + 0.5 * x.detach().mean(0)
            self.last = x.detach()[0]
        return x - self.mean


def take_steps(generator: nn.Module, discriminator: Discriminator, **options) -> AdversarialStep:
    sampler = Sampler(generator, LatentSource(4))
    step = AdversarialStep(
        sampler, discriminator, AMGAN(), torch.Generator().manual_seed(0), StepOptions(generator_lr=0.1, **options)
    )
    for _ in range(3):
        step(torch.rand(8, 1, 8, 8), torch.arange(8))
    return step


def test_the_averaged_generator_has_the_buffers_of_the_users_layers():
    """With a decay of 0 the average is the generator itself."""
    layers = [spectral_norm(nn.Linear(4, 16)), OwnNorm(16), nn.BatchNorm1d(16), nn.ReLU(), nn.Linear(16, 64)]
    generator = nn.Sequential(*layers, nn.Tanh(), nn.Unflatten(1, (1, 8, 8)))
    step = take_steps(generator, build_discriminator("mlp", AMGAN(), 10, (1, 8, 8)), ema_decay=0.0)
    averaged, now = dict(step.averaged.named_buffers()), dict(step.generator.named_buffers())
    for name in now.keys() - {"2.num_batches_tracked"}:
        assert torch.equal(averaged[name], now[name]), name
        assert averaged[name].data_ptr() != now[name].data_ptr(), name
    z = torch.randn(20, 4)
    assert torch.equal(step.averaged(z), step.generator.eval()(z))


def test_what_the_user_froze_in_a_discriminator_does_not_learn():
    body = nn.Sequential(nn.Flatten(), nn.Linear(64, 12).requires_grad_(False), nn.ReLU(), nn.Linear(12, 12))
    before = copy.deepcopy(body.state_dict())
    generator = build_generator("mlp", 4, (1, 8, 8))
    step = take_steps(generator, Discriminator(body, AMGAN().build_head(12, 10)), historical_averaging=0.1)
    assert torch.equal(body[1].weight, before["1.weight"])
    assert torch.equal(body[1].bias, before["1.bias"])
    assert not torch.equal(body[3].weight, before["3.weight"])
    learning = [name for name, p in step.discriminator.named_parameters() if p.requires_grad]
    assert learning == ["body.3.weight", "body.3.bias", "head.weight", "head.bias"]


NETWORKS = """
import torch
from torch import nn

class To(nn.Module):
    def __init__(self, dtype):
        super().__init__()
        self.dtype = dtype
    def forward(self, x):
        return x.to(self.dtype)

def generator(*, inputs, image_shape, labels, dtype):
    return nn.Sequential(nn.Linear(inputs, 64), nn.Unflatten(1, image_shape), To(getattr(torch, dtype)))

def discriminator(*, image_shape, dtype="float32", features=8, track=True):
    norm = nn.BatchNorm1d(features, track_running_stats=track) if features else nn.Identity()
    return nn.Sequential(nn.Flatten(), nn.Linear(64, features), norm, To(getattr(torch, dtype)))
"""


@pytest.mark.parametrize(
    ("network", "options", "said"),
    [
        (
            "generator",
            {"dtype": "bfloat16"},
            r"makes \[2, 1, 8, 8\] of torch.bfloat16, wanted images .* of torch.float32",
        ),
        (
            "discriminator",
            {"dtype": "float64"},
            r"makes \[2, 8\] of torch.float64, wanted features .* of torch.float32",
        ),
        ("discriminator", {"features": 0}, r"makes \[2, 0\] of torch.float32, wanted features .*, F at least 1"),
    ],
)
def test_networks_whose_output_no_other_takes(users_module, network, options, said):
    own = {network: f"{users_module(NETWORKS)}:{network}", f"{network}_options": options}
    with pytest.raises(InputError, match=said):
        check_run(tiny_config(**own), digits(), CPU)


@pytest.mark.parametrize("setting", ["r1", "r2", "feature_matching"])
def test_batch_norm_without_averages_is_refused_before_anything_is_written(
    tmp_path, monkeypatch, users_module, setting
):
    use_classifier_cache(tmp_path / "cache", monkeypatch)
    own = {"discriminator": f"{users_module(NETWORKS)}:discriminator", "discriminator_options": {"track": False}}
    with pytest.raises(InputError, match=r"discriminator has batch norm that keeps no averages"):
        train(tiny_config(**own, **{setting: 0.1}), tmp_path / "run")
    assert not (tmp_path / "run").exists()


MODELS = """
import torch
from torch.nn.functional import cross_entropy, softplus
from amgan_fast.objectives import Objective

class Plain(Objective):
    name = "plain"
    def outputs(self, num_classes):
        return num_classes
    def discriminator_loss(self, real_logits, real_labels, fake_logits, fake_labels=None):
        return softplus(-real_logits).mean() + softplus(fake_logits).mean()
    def generator_loss(self, fake_logits, labels=None):
        return softplus(-fake_logits).mean()

class WantsValues(Plain):
    def discriminator_loss(self, real_logits, real_labels, fake_logits, fake_labels=None):
        weight = 1.0 if fake_logits.mean().item() > 0 else 2.0
        wrong = fake_logits[fake_logits > -1]
        return cross_entropy(real_logits, real_labels) + weight * wrong.sum() / len(fake_logits)

class OfUnlabelled(Plain):
    needs_unlabelled = has_unlabelled_loss = True
    def discriminator_loss(self, real_logits, real_labels, fake_logits, fake_labels=None):
        return softplus(fake_logits).mean()
    def unlabelled_loss(self, unlabelled_logits):
        return softplus(-unlabelled_logits).mean()

class OfRows(Plain):
    def generator_loss(self, fake_logits, labels=None):
        return softplus(-fake_logits).mean(1)

class Number(Plain):
    def generator_loss(self, fake_logits, labels=None):
        return 3.0

class Detached(Plain):
    def generator_loss(self, fake_logits, labels=None):
        return softplus(-fake_logits).mean().detach()

class Broken(Plain):
    def discriminator_loss(self, real_logits, real_labels, fake_logits, fake_labels=None):
        return {}["loss"]

class NoColumns(Plain):
    def outputs(self, num_classes):
        return 0

class HalfAColumn(Plain):
    def outputs(self, num_classes):
        return 1.5
"""


@pytest.mark.parametrize("name", ["Plain", "WantsValues", "OfUnlabelled"])
def test_models_that_are_trained(tmp_path, monkeypatch, users_module, name):
    use_classifier_cache(tmp_path / "cache", monkeypatch)
    few = {"steps": 2, "score_samples": 20, "final_samples": 20}
    assert train(tiny_config(model=f"{users_module(MODELS)}:{name}", **few), tmp_path / "run").folder.summary.exists()


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("OfRows", r"its losses fail on logits \[20, 10\] .*the loss is a tensor of shape \[20\], wanted a scalar"),
        ("Number", r"its losses fail on logits \[20, 10\] .*the loss is 3.0, wanted a scalar tensor"),
        ("Detached", r"its losses fail on logits \[20, 10\] .*does not require grad"),
        ("Broken", r"its losses fail on logits \[20, 10\] .KeyError: 'loss'.*, wanted losses as those of"),
        ("NoColumns", r"outputs\(10\) is 0, wanted an integer of at least 1"),
        ("HalfAColumn", r"outputs\(10\) is 1.5, wanted an integer of at least 1"),
    ],
)
def test_models_whose_losses_are_none(users_module, name, said):
    model = f"{users_module(MODELS)}:{name}"
    with pytest.raises(InputError, match=rf"^model {model}: {said}") as caught:
        check_run(tiny_config(model=model, batch_size=20), digits(), CPU)
    assert len(str(caught.value).splitlines()) == 1
