"""Random changes of the discriminator's images: each against its formula written out, and when they take place."""

from __future__ import annotations

import copy
import math

import numpy as np
import pytest
import torch
from test_gradient_penalties import batch, double_discriminator, step_of
from tiny_runs import tiny_run, use_classifier_cache
from torch import nn

from amgan_fast.errors import InputError
from amgan_fast.nn import LatentSource, Sampler
from amgan_fast.objectives import AMGAN, MODELS
from amgan_fast.processes import Share
from amgan_fast.runs import Config, StepOptions
from amgan_fast.train import AdversarialStep
from amgan_fast.train.discriminator_augmentation import DiscriminatorAugmentation
from amgan_fast.train.random_changes import DRAWS, randomly_changed, uniform_rows


def changed_one_by_one(image: np.ndarray, u: np.ndarray, p: float) -> np.ndarray:
    """[C, H, W]; pixel by pixel where pixels move."""
    _, height, width = image.shape
    on = u[:5] < p
    if on[0]:
        image = image + u[5] - 0.5
    if on[1]:
        grey = image.mean(0)
        image = grey + 2 * u[6] * (image - grey)
    if on[2]:
        mean = image.mean()
        image = mean + (0.5 + u[7]) * (image - mean)
    if on[3]:
        most = [math.floor(side / 8 + 0.5) for side in (height, width)]
        down, right = (int(u[8 + i] * (2 * most[i] + 1)) - most[i] for i in range(2))
        moved = np.zeros_like(image)
        for row in range(height):
            for column in range(width):
                if 0 <= row + down < height and 0 <= column + right < width:
                    moved[:, row, column] = image[:, row + down, column + right]
        image = moved
    if on[4]:
        sizes = [math.floor(side / 2 + 0.5) for side in (height, width)]
        top, left = (
            int(u[10 + i] * (side + 1 - sizes[i] % 2)) - sizes[i] // 2 for i, side in enumerate((height, width))
        )
        image = image.copy()
        image[:, max(top, 0) : top + sizes[0], max(left, 0) : left + sizes[1]] = 0
    return image


@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 12, 9)])
@pytest.mark.parametrize("p", [0.0, 0.5, 1.0])
def test_images_are_changed_as_the_formulas_have_it(shape, p, generator):
    images = torch.rand(40, *shape, generator=generator, dtype=torch.float64) * 2 - 1
    uniform = torch.rand(40, DRAWS, generator=generator, dtype=torch.float64)
    got = randomly_changed(images, uniform, torch.tensor(p))
    want = [changed_one_by_one(image, u, p) for image, u in zip(images.numpy(), uniform.numpy(), strict=True)]
    torch.testing.assert_close(got, torch.from_numpy(np.stack(want)))
    if p == 0:
        assert torch.equal(got, images)


def test_every_change_is_as_frequent_as_its_probability(generator):
    """Those that a constant image shows: brightness, and a square that was cut out."""
    images, uniform = torch.full((4000, 1, 16, 16), 0.3), torch.rand(4000, DRAWS, generator=generator)
    changed = randomly_changed(images, uniform, torch.tensor(0.2))
    brighter = (changed.amax((1, 2, 3)) - 0.3).abs() > 1e-3
    cut = (changed[:, 0, 2:-2, 2:-2] == 0).any(2).any(1)
    for share in (brighter.float().mean(), cut.float().mean()):
        assert 0.17 < share < 0.23


def test_gradients_go_through(generator):
    images = torch.rand(3, 2, 6, 6, generator=generator, dtype=torch.float64).requires_grad_()
    uniform = torch.rand(3, DRAWS, generator=generator)
    assert torch.autograd.gradcheck(lambda x: randomly_changed(x, uniform, torch.tensor(0.7)), images)


def test_channels_stay_innermost_and_half_precision_becomes_float32():
    images = torch.rand(4, 3, 8, 8, dtype=torch.bfloat16).contiguous(memory_format=torch.channels_last)
    changed = randomly_changed(images, torch.rand(4, DRAWS), torch.tensor(0.5))
    assert changed.is_contiguous(memory_format=torch.channels_last)
    assert changed.dtype == torch.float32


def test_an_adaptive_probability_follows_the_mean_sign_of_real_images():
    options = StepOptions(augment=0.1, augment_target=0.5, augment_images=100)
    augmentation = DiscriminatorAugmentation(options, AMGAN(), torch.Generator(), Share())
    p, mean = 0.1, 0.0
    for i in range(60):
        positive = 4 if i < 30 else 1  # of 5 rows
        logits = torch.tensor([[5.0, 0.0, 0.0]] * positive + [[0.0, 0.0, 5.0]] * (5 - positive))
        augmentation.adapt(logits)
        mean += ((2 * positive - 5) / 5 - mean) / 4
        p = min(1.0, max(0.0, p + math.copysign(5 / 100, mean - 0.5)))
        assert augmentation.probability.item() == pytest.approx(p, abs=1e-5)
    assert p == 0
    fixed = DiscriminatorAugmentation(StepOptions(augment=0.1), AMGAN(), torch.Generator(), Share())
    fixed.adapt(logits)
    assert fixed.probability.item() == pytest.approx(0.1)


def test_the_probability_is_logged_with_the_scores(tmp_path, monkeypatch):
    use_classifier_cache(tmp_path / "cache", monkeypatch)
    options = {"steps": 4, "augment": 0.5, "augment_target": 0.6, "augment_images": 2000, "final_samples": 50}
    rows = tiny_run(tmp_path / "run", score_samples=50, **options).folder.read_metrics()
    assert "augment" not in rows[0]  # losses alone
    assert rows[-1]["augment"] in [pytest.approx(0.5 + 0.05 * k) for k in (-4, -2, 0, 2, 4)]


def test_processes_draw_the_parts_of_what_one_would():
    shares = (Share(), Share(0, 2), Share(1, 2))
    drawn = [uniform_rows(6 // share.ranks, DRAWS, torch.Generator().manual_seed(3), share) for share in shares]
    assert torch.equal(drawn[0], torch.cat(drawn[1:]))


def test_both_players_see_changed_images_and_the_generator_learns_through_them():
    network = double_discriminator(normalization="none", dropout=0.0, input_noise=0.0)
    noise = torch.Generator().manual_seed(3)
    step, seen = step_of(network, noise, augment=1.0), []
    network.register_forward_pre_hook(lambda _, given: seen.append(given[0].detach()))
    images, labels = batch()
    generator, oracle = copy.deepcopy((step.generator, step.discriminator))
    step._step_discriminator(images, labels)
    random = torch.Generator().manual_seed(1)
    draws = torch.Generator().manual_seed(3)
    certain = torch.ones(())

    def changed(x: torch.Tensor) -> torch.Tensor:
        return randomly_changed(x, torch.rand(4, DRAWS, generator=draws), certain)

    def generated() -> torch.Tensor:
        return generator(step.sampler.latent.draw(4, random)[0])

    torch.testing.assert_close(seen, [changed(images), changed(generated().detach())])
    oracle.load_state_dict(step.discriminator.state_dict())
    step._step_generator(images, labels)
    AMGAN().generator_loss(oracle(changed(generated()))).backward()
    torch.testing.assert_close(
        [p.grad for p in step.generator.parameters()], [p.grad for p in generator.parameters()], rtol=1e-5, atol=1e-9
    )


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"augment": 1.5}, r"augment is 1.5, wanted a number in \[0, 1\]"),
        ({"augment_target": 1.0}, r"augment_target is 1.0, wanted a number in \(-1, 1\), or none"),
        ({"augment_images": 0}, "augment_images is 0, wanted at least 1"),
        ({"augment_target": 0.6, "model": "catgan"}, "wanted none: catgan has no real/generated logit"),
    ],
    ids=str,
)
def test_what_cannot_be_is_refused(options, said):
    with pytest.raises(InputError, match=said):
        Config(**options)
    assert Config(augment=0.5, model="catgan").augments


def test_an_adaptive_step_without_such_a_logit_is_refused():
    sampler, options = Sampler(nn.Linear(4, 64), LatentSource(4)), StepOptions(augment_target=0.6)
    with pytest.raises(ValueError, match=r"augment_target is 0.6, wanted None: catgan has no real/generated logit"):
        AdversarialStep(sampler, nn.Linear(64, 3), MODELS["catgan"](), torch.Generator(), options)
