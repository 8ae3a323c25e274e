"""Objectives: the row losses that they consist of, and what all models have in common."""

from __future__ import annotations

import copy
import dataclasses
import re

import pytest
import torch
from checking import Trace
from sample_inputs import every_other_row, transposed
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from amgan_fast import objectives, ops
from amgan_fast.objectives import (
    ACGAN,
    ADCGAN,
    AMGAN,
    ECGAN,
    GAN,
    MODELS,
    TACGAN,
    ACGANStar,
    ACGANStarPlus,
    CatGAN,
    GANStar,
    ImprovedGAN,
    LabelGAN,
    MultiHinge,
    Objective,
    OmniGAN,
    ReACGAN,
    RelativisticAMGAN,
    RpGAN,
)

K, N, M = 5, 7, 4  # classes, real rows, generated rows

# Every model, and every option that brings other formulas in.
OBJECTIVES: dict[str, Objective] = {
    "gan": GAN(),
    "gan, saturating": GAN(saturating=True),
    "gan, smoothed": GAN(real_smoothing=0.1, fake_smoothing=0.2, generator_smoothing=0.3),
    "gan-star": GANStar(),
    "catgan": CatGAN(),
    "catgan, labels": CatGAN(label_weight=0.5),
    "labelgan": LabelGAN(),
    "labelgan, saturating": LabelGAN(saturating=True, fake="zero"),
    "acgan": ACGAN(),
    "acgan, sharpened": ACGAN(target_temperature=0.5),
    "acgan-star": ACGANStar(auxiliary_weight=0.1, class_smoothing=0.2),
    "acgan-star-plus": ACGANStarPlus(),
    "amgan": AMGAN(),
    "amgan, smoothed": AMGAN(real_smoothing=0.1, fake_smoothing=0.2, class_smoothing=0.3),
    "amgan, zero": AMGAN(fake="zero"),
    "amgan, sharpened": AMGAN(target_temperature=0.5),
    "amgan, prior": AMGAN(class_prior="uniform"),
    "improved-gan": ImprovedGAN(feature_matching=False),
    "improved-gan, entropy": ImprovedGAN(feature_matching=False, entropy_weight=0.5),
    "relativistic-amgan": RelativisticAMGAN(class_weight=0.5),
    "relativistic-amgan, zero": RelativisticAMGAN(fake="zero"),
    "rpgan": RpGAN(class_weight=0.5),
    "adcgan": ADCGAN(auxiliary_weight=0.5),
    "tacgan": TACGAN(auxiliary_weight=0.5),
    "ecgan": ECGAN(unconditional_weight=0.5, class_weight=0.5),
    "omni-gan": OmniGAN(),
    "multi-hinge": MultiHinge(margin=20),  # which no row leads by
    "multi-hinge, zero": MultiHinge(fake="zero", margin=20),
    "reacgan": ReACGAN(embedding_size=3, positive_margin=20, negative_margin=-1),  # a proxy that no row is near to
}
# CatGAN's H(mean C), sharpened targets and what rows have in common have no operation of their own.
NOT_FUSED = re.compile("catgan|sharpened|prior|reacgan")
FUSED = [name for name in OBJECTIVES if not NOT_FUSED.search(name)]
WITH_UNLABELLED = [name for name, objective in OBJECTIVES.items() if objective.has_unlabelled_loss]


def is_sharpened(objective: Objective) -> bool:
    """Then it refuses given labels."""
    return bool(getattr(objective, "target_temperature", 0))


each_objective = pytest.mark.parametrize("objective", OBJECTIVES.values(), ids=OBJECTIVES)


@pytest.fixture
def logits(generator: torch.Generator) -> Tensor:
    return (3 * torch.randn(N, K + 1, generator=generator, dtype=torch.float64)).requires_grad_()


@pytest.fixture
def labels(generator: torch.Generator) -> Tensor:
    return torch.randint(K, (N,), generator=generator)


def batches(objective: Objective, generator: torch.Generator, dtype: torch.dtype = torch.float64) -> list[Tensor]:
    """Logits of N real and M generated rows, as leaves; as many of both where they are compared in pairs."""
    return [
        (2 * torch.randn(count, objective.outputs(K), generator=generator)).to(dtype).requires_grad_()
        for count in (N, N if objective.needs_pairs else M)
    ]


def of_generator(
    objective: Objective, real: Tensor, real_labels: Tensor, fake: Tensor, labels: Tensor | None = None
) -> Tensor:
    """The generator's loss, beside real rows where it has them."""
    if objective.needs_pairs:
        return objective.paired_generator_loss(real.detach(), real_labels, fake, labels)
    return objective.generator_loss(fake, labels)


def of_generator_and_grad(
    objective: Objective, real: Tensor, real_labels: Tensor, fake: Tensor, labels: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    if objective.needs_pairs:
        return objective.paired_generator_loss_and_grad(real, real_labels, fake, labels)
    return objective.generator_loss_and_grad(fake, labels)


def autograd_of(loss: Tensor, *inputs: Tensor) -> tuple[Tensor, ...]:
    return (loss.detach(), *torch.autograd.grad(loss, inputs))


def descent(loss: Tensor, logits: Tensor) -> Tensor:
    """-d(N * loss)/d(logits): the class-aware gradient of each row."""
    return -torch.autograd.grad(loss, logits)[0] * len(logits)


# Row losses


def test_class_cross_entropy_is_that_of_the_real_logits(logits, labels):
    want = cross_entropy(logits[:, :K], labels)
    torch.testing.assert_close(objectives.CLASS_CROSS_ENTROPY(logits, labels), want)
    want = cross_entropy(logits[:, :K], labels, label_smoothing=0.2)
    torch.testing.assert_close(objectives.class_cross_entropy(0.2)(logits, labels), want)


def test_class_cross_entropy_to_uniform(logits):
    want = -logits[:, :K].log_softmax(1).mean()
    torch.testing.assert_close(objectives.CLASS_CROSS_ENTROPY_TO_UNIFORM(logits), want)


def test_saturating_generator_is_log_of_the_fake_probability(logits):
    loss = objectives.saturating_generator()(logits)
    torch.testing.assert_close(loss, logits.log_softmax(1)[:, K].mean())
    probability = logits.softmax(1).detach()
    want = probability.clone()
    want[:, K] = -(1 - probability[:, K])
    torch.testing.assert_close(descent(loss, logits), want)


def test_smoothed_saturating_generator_stops_where_the_real_probability_is_the_smoothing():
    smoothing = 0.2
    row = torch.tensor([[smoothing, 1 - smoothing]], dtype=torch.float64).log().requires_grad_()
    loss = objectives.saturating_generator(smoothing)(row)
    torch.testing.assert_close(descent(loss, row), torch.zeros(1, 2, dtype=torch.float64))


@pytest.mark.parametrize("target", [0.0, 0.3, 1.0])
def test_binary_cross_entropy_sees_real_and_generated_only(logits, target):
    real = logits[:, :K].softmax(1).mul(logits.softmax(1)[:, :K].sum(1, keepdim=True)).sum(1)
    want = -(target * real.log() + (1 - target) * (1 - real).log()).mean()
    torch.testing.assert_close(objectives.binary_cross_entropy(target)(logits), want)


def test_the_rows_of_the_discriminator_add_up_to_its_operation(logits, labels):
    smoothing = {"real_smoothing": 0.1, "fake_smoothing": 0.2, "class_smoothing": 0.3}
    generated = logits.flip(0)
    want = ops.am_discriminator_loss(logits, labels, generated, **smoothing)
    got = objectives.real_row(0.1, 0.3)(logits, labels) + objectives.generated_row(0.2)(generated)
    torch.testing.assert_close(got, want)


def test_a_weighted_row_loss(logits, labels):
    loss = objectives.real_row(0.1)
    torch.testing.assert_close(loss.weighted(0.3)(logits, labels), 0.3 * loss(logits, labels))


@pytest.mark.parametrize("smoothing", [-0.1, 1.5, float("nan")])
def test_row_losses_refuse_a_smoothing_out_of_range(smoothing):
    for row_loss in (
        objectives.saturating_generator,
        objectives.non_saturating_generator,
        objectives.class_cross_entropy,
        objectives.generated_row,
        objectives.real_row,
    ):
        with pytest.raises(ValueError, match=r"smoothing is .*wanted a number in \[0, 1\]"):
            row_loss(smoothing)


# Both forms of every loss


@each_objective
def test_loss_and_grad_is_what_autograd_says(objective, generator, labels):
    real, fake = batches(objective, generator)
    for fake_labels in (None,) if is_sharpened(objective) else (None, labels[: len(fake)]):
        want = autograd_of(objective.discriminator_loss(real, labels, fake, fake_labels), real, fake)
        with torch.no_grad():  # a trainer may be anywhere
            got = objective.discriminator_loss_and_grad(real, labels, fake, fake_labels)
        torch.testing.assert_close(got, want)

        want = autograd_of(of_generator(objective, real, labels, fake, fake_labels), fake)
        got = of_generator_and_grad(objective, real, labels, fake, fake_labels)
        torch.testing.assert_close(got, want)
        assert not any(value.requires_grad for value in got)


@pytest.mark.parametrize("name", WITH_UNLABELLED)
def test_loss_and_grad_of_unlabelled_rows(name, generator):
    objective = OBJECTIVES[name]
    real, _ = batches(objective, generator)
    want = autograd_of(objective.unlabelled_loss(real), real)
    with torch.no_grad():
        got = objective.unlabelled_loss_and_grad(real)
    torch.testing.assert_close(got, want)


@pytest.mark.parametrize("name", FUSED)
def test_gradients_of_fused_losses_need_no_autograd(name, generator, labels, monkeypatch):
    objective = OBJECTIVES[name]
    real, fake = batches(objective, generator)

    def none(*arguments):
        raise AssertionError("autograd was asked")

    monkeypatch.setattr(torch.autograd, "grad", none)
    objective.discriminator_loss_and_grad(real, labels, fake)
    of_generator_and_grad(objective, real, labels, fake)
    if objective.has_unlabelled_loss:
        objective.unlabelled_loss_and_grad(real)


@each_objective
def test_losses_read_nothing_back_from_the_device(objective, generator, labels):
    real, fake = batches(objective, generator)
    with Trace() as trace:
        objective.discriminator_loss_and_grad(real, labels, fake)
        of_generator_and_grad(objective, real, labels, fake)
        if objective.has_unlabelled_loss:
            objective.unlabelled_loss_and_grad(real)
    assert trace.names
    assert not [name for name in trace.names if "_local_scalar_dense" in name or "nonzero" in name]


@each_objective
def test_losses_trace_into_one_graph(objective, generator, labels):
    real, fake = batches(objective, generator)

    def losses(real, fake):
        return objective.discriminator_loss(real, labels, fake), of_generator(objective, real, labels, fake)

    torch.compiler.reset()  # the others' graphs count against a limit
    compiled = torch.compile(losses, fullgraph=True, backend="eager")
    torch.testing.assert_close(compiled(real, fake), losses(real, fake))


# Inputs of every kind


@each_objective
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_is_computed_in_float32(objective, dtype, generator, labels):
    real, fake = batches(objective, generator, dtype)
    exact = [x.detach().double() for x in (real, fake)]
    got = objective.discriminator_loss_and_grad(real, labels, fake)
    want = objective.discriminator_loss_and_grad(exact[0], labels, exact[1])
    assert [x.dtype for x in got] == [torch.float32, dtype, dtype]
    torch.testing.assert_close(got[0], want[0].float(), rtol=1e-5, atol=1e-5)
    by_autograd = torch.autograd.grad(objective.discriminator_loss(real, labels, fake), (real, fake))
    for a, b, c in zip(got[1:], by_autograd, want[1:], strict=True):
        torch.testing.assert_close(a, c.to(dtype))
        torch.testing.assert_close(b, c.to(dtype))
        assert (a == c.to(dtype)).double().mean() > 0.9  # rounded once, beside rare ties
    loss = of_generator(objective, real, labels, fake)
    assert loss.dtype == torch.float32
    want = of_generator(objective, exact[0], labels, exact[1])
    torch.testing.assert_close(loss, want.float(), rtol=1e-5, atol=1e-5)


@each_objective
def test_strides_do_not_matter(objective, generator, labels):
    real, fake = (x.detach() for x in batches(objective, generator))
    want = objective.discriminator_loss_and_grad(real, labels, fake)
    got = objective.discriminator_loss_and_grad(transposed(real), labels, every_other_row(fake))
    torch.testing.assert_close(got, want)


@each_objective
def test_a_mean_over_no_rows_is_nan(objective, generator, labels):
    real, fake = (x.detach() for x in batches(objective, generator))
    if objective.needs_pairs:
        real, labels = real[:0], labels[:0]
    loss, grad_real, grad_fake = objective.discriminator_loss_and_grad(real, labels, fake[:0])
    assert loss.isnan()
    assert grad_real.isfinite().all()
    assert grad_fake.shape == (0, objective.outputs(K))
    assert of_generator(objective, real, labels, fake[:0]).isnan()


@each_objective
def test_one_row(objective, generator, labels):
    real, fake = (x[:1] for x in batches(objective, generator))
    loss, *gradients = objective.discriminator_loss_and_grad(real, labels[:1], fake)
    assert all(x.isfinite().all() for x in (loss, *gradients))
    assert of_generator(objective, real, labels[:1], fake).isfinite()


@each_objective
def test_nan_logits_give_a_nan_loss(objective, generator, labels):
    real, fake = (x.detach() for x in batches(objective, generator))
    spoilt = [x.clone().index_fill_(0, torch.tensor([1]), float("nan")) for x in (real, fake)]
    assert objective.discriminator_loss(spoilt[0], labels, fake).isnan()
    assert objective.discriminator_loss(real, labels, spoilt[1]).isnan()
    assert of_generator(objective, real, labels, spoilt[1]).isnan()


@pytest.mark.parametrize("name", ["catgan", "acgan, sharpened", "amgan, sharpened", "amgan, prior"])
def test_a_class_that_is_impossible(name, generator, labels):
    """-inf as a logit: the class takes part in nothing, and spoils nothing."""
    objective = OBJECTIVES[name]
    _, fake = (x.detach() for x in batches(objective, generator))
    fake[:, 1] = float("-inf")
    loss, grad = objective.generator_loss_and_grad(fake)
    assert loss.isfinite()
    assert grad.isfinite().all()
    assert grad[:, 1].eq(0).all()


# Errors


def test_gan_refuses_logits_of_several_columns(logits):
    with pytest.raises(ValueError, match=r"logits are \[7, 6\], wanted \[N, 1\]"):
        GAN().generator_loss(logits)


@pytest.mark.parametrize("shape", [(N, 1), (N,), (N, 3, 3)])
def test_two_heads_refuse_other_logits(shape, labels):
    with pytest.raises(ValueError, match=r"logits are \[7.*\], wanted \[N, 1 \+ num_classes\]"):
        ACGAN().discriminator_loss(torch.randn(shape), labels, torch.randn(M, K + 1))
    with pytest.raises(ValueError, match=r"logits are \[7.*\], wanted \[N, 1 \+ num_classes\]"):
        GANStar().generator_loss_and_grad(torch.randn(shape))


@pytest.mark.parametrize("objective", [ADCGAN(), TACGAN()], ids=["adcgan", "tacgan"])
def test_two_classifiers_refuse_an_odd_number_of_class_logits(objective):
    for columns in (1, 2, 2 * K):
        with pytest.raises(ValueError, match=rf"^fake_logits are \[7, {columns}\], wanted \[N, 1 \+ 2 \* num"):
            objective.generator_loss(torch.randn(N, columns))


@each_objective
def test_logits_of_a_wrong_shape(objective, generator, labels):
    real, fake = batches(objective, generator)
    for wrong in (real[0], real[:, :0], real[None]):
        shape = re.escape(str(list(wrong.shape)))
        for form in (objective.discriminator_loss, objective.discriminator_loss_and_grad):
            with pytest.raises(ValueError, match=rf"^real_logits are {shape}, wanted \[N, .*\] of {objective.name}$"):
                form(wrong, labels, fake)
            with pytest.raises(ValueError, match=rf"^fake_logits are {shape}, wanted \[N, .*\] of {objective.name}$"):
                form(real, labels, wrong)
        for form in (of_generator, of_generator_and_grad):
            with pytest.raises(ValueError, match=rf"^fake_logits are {shape}, wanted \[N, .*\] of {objective.name}$"):
                form(objective, real, labels, wrong)
        if objective.has_unlabelled_loss:
            for form in (objective.unlabelled_loss, objective.unlabelled_loss_and_grad):
                with pytest.raises(ValueError, match=rf"^unlabelled_logits are {shape}, wanted \[N, "):
                    form(wrong)


@pytest.mark.parametrize(
    "name",
    [
        "gan-star",
        "acgan",
        "amgan",
        "labelgan",
        "catgan, labels",
        "improved-gan",
        "relativistic-amgan, zero",
        "rpgan",
        "adcgan",
        "tacgan",
        "ecgan",
        "omni-gan",
        "multi-hinge, zero",
        "reacgan",
    ],
)
def test_labels_that_do_not_fit(name, generator, labels):
    objective = OBJECTIVES[name]
    real, fake = batches(objective, generator)
    with pytest.raises(ValueError, match="labels"):
        objective.discriminator_loss(real, labels[:3], fake)
    with pytest.raises(IndexError, match="labels"):  # K is the generated class, and no real row's label
        objective.discriminator_loss(real, torch.full((N,), K), fake)
    with pytest.raises(TypeError, match="real_labels is None, wanted"):  # there are no dynamic labels of real rows
        objective.discriminator_loss(real, None, fake)
    if objective.has_target_class:
        for form in (of_generator, of_generator_and_grad):
            with pytest.raises(IndexError, match="labels"):
                form(objective, real, labels, fake, torch.full((len(fake),), K))


@pytest.mark.parametrize(
    ("model", "options", "said"),
    [
        (GAN, {"real_smoothing": 1.1}, r"real_smoothing is 1.1, wanted a number in \[0, 1\]"),
        (GANStar, {"class_weight": -1}, "class_weight is -1, wanted a finite number that is not negative"),
        (CatGAN, {"label_weight": float("inf")}, "label_weight is inf, wanted a finite number"),
        (ACGAN, {"class_smoothing": float("nan")}, r"class_smoothing is nan, wanted a number in \[0, 1\]"),
        (ACGANStar, {"fake_smoothing": -0.1}, "fake_smoothing is -0.1, wanted"),
        (ACGANStarPlus, {"auxiliary_weight": float("nan")}, "auxiliary_weight is nan, wanted"),
        (ACGAN, {"target_temperature": -2}, "target_temperature is -2, wanted"),
        (LabelGAN, {"fake": "row"}, "fake is 'row', wanted 'column' or 'zero'"),
        (LabelGAN, {"generator_smoothing": 2}, "generator_smoothing is 2, wanted"),
        (AMGAN, {"class_smoothing": 2}, "class_smoothing is 2, wanted"),
        (AMGAN, {"class_prior": "even"}, "class_prior is 'even', wanted None, 'uniform' or a tuple of probabilities"),
        (AMGAN, {"class_prior": (0.5, 0.4)}, r"class_prior is \(0.5, 0.4\), wanted"),
        (AMGAN, {"class_prior": (1.5, -0.5)}, r"class_prior is \(1.5, -0.5\), wanted"),
        (ImprovedGAN, {"fake_smoothing": 2}, "fake_smoothing is 2, wanted"),
        (ADCGAN, {"auxiliary_weight": -1}, "auxiliary_weight is -1, wanted"),
        (ECGAN, {"unconditional_weight": -1}, "unconditional_weight is -1, wanted"),
        (ECGAN, {"class_weight": -1}, "class_weight is -1, wanted"),
        (MultiHinge, {"margin": -1}, "margin is -1, wanted"),
        (ReACGAN, {"temperature": 0.0}, "temperature is 0.0, wanted a finite number of at least 1e-30"),
        (ReACGAN, {"negative_margin": float("nan")}, "negative_margin is nan, wanted a finite number"),
        (ReACGAN, {"embedding_size": 0}, "embedding_size is 0, wanted an integer from 1 to 65,536"),
        (ImprovedGAN, {"entropy_weight": -1}, "entropy_weight is -1, wanted"),
        (TACGAN, {"auxiliary_weight": float("inf")}, "auxiliary_weight is inf, wanted"),
        (RpGAN, {"class_weight": -1}, "class_weight is -1, wanted a finite number that is not negative"),
    ],
)
def test_options_are_checked_when_they_are_given(model, options, said):
    with pytest.raises(ValueError, match=said):
        model(**options)


@pytest.mark.parametrize("model", MODELS.values(), ids=MODELS)
def test_options_of_a_wrong_type_are_named(model):
    for option in dataclasses.fields(model):
        wrong = ["0.5", b"x", [0.1], {}, object(), torch.ones(2), ("a", 0.5)]
        for value in wrong if isinstance(option.default, bool | str) or option.default is None else [*wrong, None, 1j]:
            with pytest.raises(ValueError, match=f"^{option.name} is .*, wanted "):
                model(**{option.name: value})


@pytest.mark.parametrize("objective", OBJECTIVES.values(), ids=OBJECTIVES)
def test_what_is_no_tensor_is_named(objective, generator, labels):
    real, fake = batches(objective, generator)
    pair = {"real_logits": real, "real_labels": labels, "fake_logits": fake, "fake_labels": None}
    calls = [
        (objective.discriminator_loss, pair),
        (objective.discriminator_loss_and_grad, pair),
    ]
    if objective.needs_pairs:
        calls += [(objective.paired_generator_loss, pair), (objective.paired_generator_loss_and_grad, pair)]
    else:
        generated = {"fake_logits": fake, "labels": None}
        calls += [(objective.generator_loss, generated), (objective.generator_loss_and_grad, generated)]
    if objective.has_unlabelled_loss:
        calls += [
            (objective.unlabelled_loss, {"unlabelled_logits": fake}),
            (objective.unlabelled_loss_and_grad, {"unlabelled_logits": fake}),
        ]
    for form, arguments in calls:
        form(**arguments)
        for name in arguments:
            for value in ([0, 1], 3, "labels", object()):
                with pytest.raises(TypeError, match=f"^{name} is .*, wanted a tensor( or None)?$"):
                    form(**{**arguments, name: value})
            if name.endswith("logits"):
                with pytest.raises(TypeError, match=rf"^{name} has dtype torch.int64, wanted a floating dtype$"):
                    form(**{**arguments, name: arguments[name].long()})
    if objective.class_logits(real, K) is not None:
        with pytest.raises(TypeError, match=r"^logits is None, wanted a tensor$"):
            objective.class_logits(None, K)


def test_row_losses_name_what_is_wrong():
    loss = objectives.CLASS_CROSS_ENTROPY
    for weight in ("2", None, float("nan")):
        with pytest.raises(ValueError, match=r"^weight is .*, wanted a finite number$"):
            loss.weighted(weight)
    with pytest.raises(TypeError, match=r"^logits is None, wanted a tensor$"):
        loss.and_grad(None)


def test_a_class_prior_of_other_classes(generator):
    with pytest.raises(ValueError, match="class_prior has 2 numbers, wanted one for each of 5 classes"):
        AMGAN(class_prior=(0.5, 0.5)).unlabelled_loss(torch.randn(N, K + 1))


@pytest.mark.parametrize("objective", [GAN(), LabelGAN(), ACGAN()], ids=["gan", "labelgan", "acgan"])
def test_models_without_a_loss_of_unlabelled_samples(objective):
    said = f"{objective.name} has no loss of unlabelled samples, wanted a model with has_unlabelled_loss"
    for form in (objective.unlabelled_loss, objective.unlabelled_loss_and_grad):
        with pytest.raises(ValueError, match=said):
            form(torch.randn(N, K + 1))
    assert not objective.has_unlabelled_loss


def test_a_generator_that_matches_features_has_no_loss_of_logits():
    assert ImprovedGAN().needs_features
    assert not ImprovedGAN(feature_matching=False).needs_features
    for form in (ImprovedGAN().generator_loss, ImprovedGAN().generator_loss_and_grad):
        with pytest.raises(ValueError, match=r"wanted feature_matching\(real_features, fake_features\)"):
            form(torch.randn(N, K + 1))


@pytest.mark.parametrize("objective", [RelativisticAMGAN(), RpGAN()], ids=["relativistic-amgan", "rpgan"])
def test_pairs_need_as_many_rows_of_both(objective, labels):
    real, fake = torch.randn(N, K + 1), torch.randn(M, K + 1)
    for form in (
        objective.discriminator_loss,
        objective.discriminator_loss_and_grad,
        objective.paired_generator_loss,
        objective.paired_generator_loss_and_grad,
    ):
        with pytest.raises(ValueError, match=r"^real_logits are \[7, 6\] and fake_logits \[4, 6\], wanted as many"):
            form(real, labels, fake)


def test_a_generator_of_pairs_has_no_other_loss_and_no_other_model_has_that_of_pairs(labels):
    logits = torch.randn(N, K + 1)
    assert not RpGAN().needs_features
    for form in (RpGAN().generator_loss, RpGAN().generator_loss_and_grad):
        with pytest.raises(ValueError, match="rpgan's generator has no loss of generated rows alone, wanted paired_"):
            form(logits)
    for objective in (AMGAN(), Hinge()):
        for form in (objective.paired_generator_loss, objective.paired_generator_loss_and_grad):
            with pytest.raises(ValueError, match="has no loss of pairs, wanted a model with needs_pairs"):
                form(logits, labels, logits)


@pytest.mark.parametrize("model", [AMGAN, ACGAN, ACGANStar, ACGANStarPlus])
def test_sharpening_given_labels_is_refused(model, labels):
    with pytest.raises(
        ValueError, match=r"target_temperature is 0\.5 and labels are given, wanted 0 with given labels"
    ):
        model(target_temperature=0.5).generator_loss(torch.randn(N, K + 1), labels)


# What the objectives say about themselves


@pytest.mark.parametrize("objective", [x for x in OBJECTIVES.values() if not is_sharpened(x)], ids=str)
def test_which_models_have_a_target_class(objective, generator, labels):
    """A generator's loss that has one changes with the labels; the others take labels, and do not."""
    real, fake = batches(objective, generator)
    losses = [of_generator(objective, real, labels, fake, (torch.arange(len(fake)) + y) % K) for y in range(K)]
    assert objective.has_target_class == (len({round(loss.item(), 9) for loss in losses}) == K)


@each_objective
def test_class_logits_are_those_that_labels_count_in(objective, generator, labels):
    """The discriminator's loss on real rows falls along the class logit of their label, and no class logit is b."""
    real, fake = batches(objective, generator)
    classes = objective.class_logits(real, K)
    if isinstance(objective, GAN):
        assert classes is None
        return
    assert classes.shape == (N, K)
    assert classes.data_ptr() == real.data_ptr() + classes.storage_offset() * real.element_size()
    if objective == CatGAN():
        return
    _, grad, _ = objective.discriminator_loss_and_grad(real, labels, fake)
    of_label = objective.class_logits(grad, K).gather(1, labels[:, None])
    assert (of_label < 0).all()
    said = rf"logits are \[7, {real.size(1)}\], wanted \[N, {objective.outputs(K + 3)}\] of"
    with pytest.raises(ValueError, match=said):
        objective.class_logits(real, K + 3)


def test_the_models_and_their_outputs():
    outputs = {name: model().outputs(K) for name, model in MODELS.items()}
    assert outputs == {
        "gan": 1,
        "gan-star": K + 1,
        "catgan": K,
        "labelgan": K + 1,
        "acgan": K + 1,
        "acgan-star": K + 1,
        "acgan-star-plus": K + 1,
        "amgan": K + 1,
        "improved-gan": K + 1,
        "relativistic-amgan": K + 1,
        "rpgan": K + 1,
        "adcgan": 2 * K + 1,
        "tacgan": 2 * K + 1,
        "ecgan": K,
        "omni-gan": K + 2,
        "multi-hinge": K + 1,
        "reacgan": 1 + K + 512,
    }
    assert {name for name, model in MODELS.items() if model.needs_unlabelled} == {"improved-gan"}
    assert {name for name, model in MODELS.items() if model().has_unlabelled_loss} == {
        "catgan",
        "amgan",
        "improved-gan",
        "multi-hinge",
    }


@pytest.mark.parametrize("model", MODELS.values(), ids=MODELS)
def test_a_number_of_classes_that_is_none(model):
    for value in ("abc", None, 2.5, [3]):
        with pytest.raises(TypeError, match=r"^num_classes is .*, wanted an integer$"):
            model().outputs(value)
    with pytest.raises(ValueError, match=r"^num_classes is 0, wanted at least 1$"):
        model().outputs(0)


def test_objectives_are_values():
    assert AMGAN(real_smoothing=0.1) == AMGAN(real_smoothing=0.1) != AMGAN()
    assert hash(ACGAN()) == hash(ACGAN())
    with pytest.raises(dataclasses.FrozenInstanceError):
        AMGAN().real_smoothing = 0.5


def test_a_changed_copy_has_its_own_losses(logits, labels):
    objective = AMGAN()
    plain = objective.discriminator_loss(logits, labels, logits)
    smoothed = dataclasses.replace(objective, real_smoothing=0.2)
    assert smoothed.discriminator_loss(logits, labels, logits) != plain
    assert copy.deepcopy(objective).discriminator_loss(logits, labels, logits) == plain


# In use


@pytest.mark.parametrize("model", MODELS.values(), ids=MODELS)
def test_own_networks_in_three_lines(model):
    torch.manual_seed(0)
    objective = model(feature_matching=False) if model is ImprovedGAN else model()
    D, G = nn.Linear(4, objective.outputs(K)), nn.Linear(2, 4)
    x, y, z = torch.randn(8, 4), torch.randint(K, (8,)), torch.randn(8, 2)

    objective.discriminator_loss(D(x), y, D(G(z).detach())).backward()
    of_generator(objective, D(x), y, D(G(z))).backward()

    assert all(p.grad is not None and p.grad.isfinite().all() for p in (*D.parameters(), *G.parameters()))


class Hinge(Objective):
    """Rows count as often as their label says."""

    name = "hinge"

    def outputs(self, num_classes):
        return 1

    def discriminator_loss(self, real_logits, real_labels, fake_logits, fake_labels=None):
        real, fake = (1 - real_logits[:, 0]).relu(), (1 + fake_logits[:, 0]).relu()
        return (real_labels * real).mean() + (fake_labels * fake).mean()

    def generator_loss(self, fake_logits, labels=None):
        return -(labels * fake_logits[:, 0]).mean()


def test_an_objective_of_ones_own():
    """Two losses are enough: the gradients are autograd's, and nothing more is promised."""
    real, fake = torch.tensor([[0.5], [2.0]]), torch.tensor([[-3.0], [0.0]])
    real_labels, fake_labels = torch.tensor([2, 1]), torch.tensor([1, 4])
    loss, grad_real, grad_fake = Hinge().discriminator_loss_and_grad(real, real_labels, fake, fake_labels)
    assert loss == 0.5 + 2
    assert grad_real.tolist() == [[-1], [0]]
    assert grad_fake.tolist() == [[0], [2]]
    loss, grad = Hinge().generator_loss_and_grad(fake, fake_labels)
    assert loss == 1.5
    assert grad.tolist() == [[-0.5], [-2]]
    assert Hinge().class_logits(real, K) is None
    assert not Hinge().needs_features
    with pytest.raises(ValueError, match="hinge has no loss of unlabelled samples"):
        Hinge().unlabelled_loss_and_grad(real)
