"""ReACGAN: the data-to-data cross-entropy against the paper's formula, its last layer, and both in training."""

from __future__ import annotations

import json
from functools import partial

import pytest
import torch
from tiny_runs import tiny_config, use_classifier_cache
from torch import Tensor, nn
from torch.nn.functional import cosine_similarity, softplus
from typer.testing import CliRunner

from amgan_fast.cli import app
from amgan_fast.nn import (
    LatentSource,
    ProxyHead,
    Sampler,
    apply_weight_norm,
    build_discriminator,
    build_generator,
    init_from_data,
    network_options,
)
from amgan_fast.objectives import MODELS, ReACGAN
from amgan_fast.runs import StepOptions
from amgan_fast.train import AdversarialStep

pytestmark = pytest.mark.usefixtures("figures_of_a_pixel")

K, N, M, D = 5, 9, 6, 4  # classes, real rows, generated rows, entries of an embedding
SHAPE = (1, 8, 8)

each_labelling = pytest.mark.parametrize("given", [True, False], ids=["given labels", "dynamic labels"])


def rows(count: int, generator: torch.Generator, proxies: Tensor) -> Tensor:
    """[b | cosines | embedding] of random embeddings."""
    draw = partial(torch.randn, generator=generator, dtype=torch.float64)
    embedding, b = draw(count, D), draw(count, 1)
    embedding = embedding / embedding.norm(dim=1, keepdim=True)
    cosines = cosine_similarity(embedding[:, None], proxies[None], dim=2)
    return torch.cat([b, cosines, embedding], 1).requires_grad_()


@pytest.fixture
def batch(generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Real and generated rows, leaves, and the labels of both."""
    proxies = torch.randn(K, D, generator=generator, dtype=torch.float64)
    real, fake = (rows(count, generator, proxies) for count in (N, M))
    labels, fake_labels = (torch.arange(count) * 2 % K for count in (N, M))
    return real, labels, fake, fake_labels


def data_to_data(logits: Tensor, labels: Tensor, tau: float, m_p: float, m_n: float) -> Tensor:
    """The paper's formula, row by row and pair by pair."""
    cosines, embedding = logits[:, 1 : 1 + K], logits[:, 1 + K :]
    losses = []
    for i, y in enumerate(labels.tolist()):
        attraction = torch.exp(torch.clamp(cosines[i, y] - m_p, max=0) / tau)
        total = attraction
        for j, other in enumerate(labels.tolist()):
            if other != y:
                similarity = sum(embedding[i, k] * embedding[j, k] for k in range(D))
                total = total + torch.exp(torch.clamp(similarity - m_n, min=0) / tau)
        losses.append(-torch.log(attraction / total))
    return torch.stack(losses).mean()


def nearest(logits: Tensor) -> Tensor:
    return logits[:, 1 : 1 + K].argmax(1)


# The losses


@each_labelling
@pytest.mark.parametrize(
    ("weight", "tau", "m_p", "m_n"), [(0.5, 0.5, 0.98, 0.02), (0.75, 0.75, 1.0, 0.0), (1.0, 0.1, 0.3, 0.4)]
)
def test_losses_and_their_gradients(weight, tau, m_p, m_n, given, batch):
    real, labels, fake, fake_labels = batch
    objective = ReACGAN(
        auxiliary_weight=weight, temperature=tau, positive_margin=m_p, negative_margin=m_n, embedding_size=D
    )
    y = fake_labels if given else None

    gan = softplus(-real[:, 0]).mean() + softplus(fake[:, 0]).mean()
    want = gan + weight * data_to_data(real, labels, tau, m_p, m_n)
    gradients = torch.autograd.grad(want, (real, fake))
    got = objective.discriminator_loss(real, labels, fake, y)
    torch.testing.assert_close(got, want)
    torch.testing.assert_close(torch.autograd.grad(got, (real, fake)), gradients)
    got = objective.discriminator_loss_and_grad(real, labels, fake, y)
    torch.testing.assert_close(got, (want.detach(), *gradients))

    target = fake_labels if given else nearest(fake)
    want = softplus(-fake[:, 0]).mean() + weight * data_to_data(fake, target, tau, m_p, m_n)
    gradients = torch.autograd.grad(want, fake)
    got = objective.generator_loss(fake, y)
    torch.testing.assert_close(got, want)
    torch.testing.assert_close(torch.autograd.grad(got, fake), gradients)
    torch.testing.assert_close(objective.generator_loss_and_grad(fake, y), (want.detach(), *gradients))


def test_derivatives_of_both_orders(batch):
    real, labels, fake, fake_labels = batch
    objective = ReACGAN(embedding_size=D)
    assert torch.autograd.gradcheck(lambda x, g: objective.discriminator_loss(x, labels, g), (real, fake))
    assert torch.autograd.gradcheck(lambda g: objective.generator_loss(g, fake_labels), fake)
    assert torch.autograd.gradgradcheck(lambda g: objective.generator_loss(g, fake_labels), fake)


def test_the_class_aware_gradient_of_a_row(batch):
    """w/tau (1 - p) along its proxy, and away from rows of other classes in proportion to their share of the sum, both
    its own and theirs; nothing beyond the margins."""
    _, _, fake, labels = batch
    tau, m_p, m_n, w = 0.5, 0.2, 0.1, 0.5
    objective = ReACGAN(auxiliary_weight=w, temperature=tau, positive_margin=m_p, negative_margin=m_n, embedding_size=D)
    grad = -M * torch.autograd.grad(objective.generator_loss(fake, labels), fake)[0]
    x = fake.detach()
    embedding = x[:, 1 + K :]
    others = labels[:, None] != labels
    cosine = x[:, 1 : 1 + K].gather(1, labels[:, None])
    similarity = embedding @ embedding.T
    first = ((cosine - m_p).clamp_max(0) / tau).exp()
    share = ((similarity - m_n).clamp_min(0) / tau).exp() * others
    total = first + share.sum(1, keepdim=True)
    along = w / tau * (1 - first / total) * (cosine < m_p)
    torch.testing.assert_close(grad[:, 1 : 1 + K], torch.zeros(M, K).double().scatter(1, labels[:, None], along))
    push = share / total * (similarity > m_n)
    torch.testing.assert_close(grad[:, 1 + K :], -w / tau * (push + push.T) @ embedding)


@pytest.mark.parametrize("count", [1, N])
def test_rows_of_one_class_have_only_the_loss_of_b(count, batch):
    real, _, fake, _ = (x[:count] for x in batch)
    labels = torch.full((count,), 2)
    objective, alone = ReACGAN(embedding_size=D), ReACGAN(auxiliary_weight=0, embedding_size=D)
    for one in ("discriminator_loss_and_grad", "generator_loss_and_grad"):
        arguments = (real, labels, fake) if one.startswith("d") else (real, labels)
        for got, want in zip(getattr(objective, one)(*arguments), getattr(alone, one)(*arguments), strict=True):
            torch.testing.assert_close(got, want)
            assert got.isfinite().all()


def test_similarities_are_computed_in_float32_under_autocast(batch):
    """Where a product of matrices would be rounded to 8 bits."""
    real, labels, fake, _ = batch
    real, fake = (x.detach().bfloat16() for x in (real, fake))
    objective = ReACGAN(embedding_size=D, temperature=0.01)  # errors are seen a hundred times as large
    want = objective.discriminator_loss_and_grad(real.double(), labels, fake.double())
    for x, g in ((real, fake), (real.float(), fake.float())):
        with torch.autocast("cpu", torch.bfloat16):
            got = objective.discriminator_loss_and_grad(x, labels, g)
        assert [one.dtype for one in got] == [torch.float32, x.dtype, x.dtype]
        torch.testing.assert_close(got[0], want[0].float(), rtol=1e-5, atol=1e-5)
        torch.testing.assert_close(got[1], want[1].to(x.dtype), rtol=2**-7, atol=1e-4)


# The last layer


def test_the_head_gives_cosines_and_an_embedding_of_length_one():
    torch.manual_seed(0)
    head = ProxyHead(features=7, num_classes=K, embedding_size=D).double()
    features = torch.randn(N, 7, dtype=torch.float64)
    got = head(features)
    embedding = features @ head.embedding.weight.T + head.embedding.bias
    want = [
        features @ head.realness.weight.T + head.realness.bias,
        torch.stack([cosine_similarity(embedding, proxy[None]) for proxy in head.proxies], 1),
        embedding / embedding.square().sum(1, keepdim=True).sqrt(),
    ]
    torch.testing.assert_close(got, torch.cat(want, 1))
    assert torch.autograd.gradcheck(head, features[:3].requires_grad_())


def test_the_head_normalizes_and_compares_in_float32_under_autocast():
    torch.manual_seed(0)
    head = ProxyHead(features=7, num_classes=K, embedding_size=64)
    with torch.autocast("cpu", torch.bfloat16):
        got = head(torch.randn(N, 7).bfloat16())
    assert got.dtype == torch.float32
    embedding = got[:, 1 + K :].double()
    torch.testing.assert_close(embedding.norm(dim=1), torch.ones(N).double(), rtol=1e-6, atol=0)
    proxies = nn.functional.normalize(head.proxies.detach().double())
    torch.testing.assert_close(got[:, 1 : 1 + K].double(), embedding @ proxies.T, rtol=0, atol=1e-6)


@pytest.mark.parametrize("model", MODELS)
def test_the_last_layer_of_every_other_model_is_linear_with_the_same_draws(model):
    objective = MODELS[model]()
    torch.manual_seed(3)
    head = objective.build_head(8, K)
    if model == "reacgan":
        assert isinstance(head, ProxyHead)
    else:
        torch.manual_seed(3)
        want = nn.Linear(8, objective.outputs(K)).state_dict()
        torch.testing.assert_close(dict(head.state_dict()), dict(want), rtol=0, atol=0)
    assert head(torch.zeros(2, 8)).shape == (2, objective.outputs(K))


def test_weight_norm_begins_with_a_standardized_logit_and_embedding():
    torch.manual_seed(0)
    head, features = ProxyHead(7, K, D), torch.randn(200, 7) + 3
    apply_weight_norm(head)
    init_from_data(head, features)
    for layer in (head.realness, head.embedding):
        torch.testing.assert_close(layer(features).std(0), torch.ones(layer.out_features), atol=1e-2, rtol=0)


# In training


def new_step(**options) -> AdversarialStep:
    torch.manual_seed(0)
    objective = ReACGAN(embedding_size=16)
    built = network_options("mlp", width=0.1)
    return AdversarialStep(
        Sampler(build_generator("mlp", 4, SHAPE, built), LatentSource(4)),
        build_discriminator("mlp", objective, 10, SHAPE, built),
        objective,
        torch.Generator().manual_seed(0),
        StepOptions(generator_lr=1e-3, discriminator_lr=1e-3, ema_decay=0.9, **options),
    )


def test_proxies_are_trained_by_the_discriminators_step_alone():
    step, images, labels = new_step(), torch.rand(20, *SHAPE) * 2 - 1, torch.arange(20) % 10
    before = step.discriminator.head.proxies.detach().clone()
    step._step_discriminator(images, labels)
    trained = step.discriminator.head.proxies.detach().clone()
    assert (trained != before).any(1).all()
    step._step_generator(images, labels)
    assert torch.equal(step.discriminator.head.proxies, trained)


def test_a_compiled_step_is_the_plain_one(monkeypatch):
    """Without its noise and dropout, which are other numbers there."""
    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend="aot_eager", fullgraph=True))
    torch.compiler.reset()
    steps = [new_step(compile=compiled, precision="bfloat16") for compiled in (False, True)]
    for step in steps:
        step.discriminator.eval()
        step(torch.linspace(-1, 1, 20 * 64).reshape(20, *SHAPE), torch.arange(20) % 10)
        assert step.is_finite()
    torch.compiler.reset()
    losses = [step.pop_losses() for step in steps]
    assert losses[1] == pytest.approx(losses[0], rel=1e-2)


def test_every_regularization_of_the_discriminator_goes_with_it():
    options = {"r1": 0.1, "r2": 0.1, "penalty_every": 1, "lecam": 0.1, "consistency": 0.1, "feature_matching": 0.1}
    step = new_step(**options, augment=0.5, augment_target=0.6)
    step(torch.rand(20, *SHAPE) * 2 - 1, torch.arange(20) % 10)
    assert step.is_finite()


def test_the_commands_train_and_compare_it(tmp_path, monkeypatch):
    use_classifier_cache(tmp_path / "cache", monkeypatch)
    tiny_config(model="reacgan", labels="dynamic", objective={"embedding_size": 8}).save(tmp_path / "config.toml")
    config = ("--config", str(tmp_path / "config.toml"))
    result = CliRunner().invoke(app, ["train", *config, "--out", str(tmp_path / "run")])
    assert result.exit_code == 0, result.output
    accuracy = json.loads((tmp_path / "run" / "summary.json").read_text())["discriminator"]["accuracy"]
    assert 0 <= accuracy <= 1

    arguments = ["--models", "reacgan", "--labels", "predefined", "--seeds", "1", "--out", str(tmp_path / "all")]
    result = CliRunner().invoke(app, ["compare", *config, *arguments])
    assert result.exit_code == 0, result.output
    assert "reacgan" in (tmp_path / "all" / "comparison.md").read_text()
