"""Feature matching and historical averaging against the formulas written out."""

from __future__ import annotations

import copy

import pytest
import torch
from checking import Trace
from torch import Tensor, nn

from amgan_fast.objectives import HistoricalAveraging, feature_matching, feature_matching_and_grad

# Feature matching


@pytest.mark.parametrize("shape", [(6,), (3, 2, 2)])
def test_feature_matching_compares_batch_means(shape, generator):
    real = torch.randn(5, *shape, generator=generator, dtype=torch.float64)
    fake = torch.randn(4, *shape, generator=generator, dtype=torch.float64)
    difference = real.mean(0) - fake.mean(0)
    want = sum(x.item() ** 2 for x in difference.flatten())
    assert feature_matching(real, fake).item() == pytest.approx(want, rel=1e-12)
    assert feature_matching(real, real.flip(0)) < 1e-25  # a sum over pairs of samples would not be 0

    loss, grad = feature_matching_and_grad(real, fake)
    assert loss.item() == pytest.approx(want, rel=1e-12)
    torch.testing.assert_close(grad, (-2 / 4 * difference).expand(4, *shape))


def test_feature_matching_and_grad_is_what_autograd_says(generator):
    real = torch.randn(5, 6, generator=generator, requires_grad=True)
    fake = torch.randn(4, 6, generator=generator, requires_grad=True)
    loss = feature_matching(real, fake)
    want = loss.detach(), *torch.autograd.grad(loss, fake)
    with torch.no_grad():
        got = feature_matching_and_grad(real, fake)
    torch.testing.assert_close(got, want)
    assert not any(x.requires_grad for x in got)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_feature_matching_in_half_precision(dtype, generator):
    real, fake = (torch.randn(300, 6, generator=generator).to(dtype) for _ in range(2))
    loss, grad = feature_matching_and_grad(real, fake)
    want, want_grad = feature_matching_and_grad(real.double(), fake.double())
    assert (loss.dtype, grad.dtype) == (torch.float32, dtype)
    torch.testing.assert_close(loss, want.float(), rtol=1e-5, atol=1e-7)
    torch.testing.assert_close(grad, want_grad.to(dtype), rtol=1e-2, atol=1e-6)


def test_feature_matching_of_no_or_spoilt_rows(generator):
    real = torch.randn(5, 6, generator=generator)
    assert feature_matching(real, real[:0]).isnan()
    assert feature_matching(real, real * float("nan")).isnan()


@pytest.mark.parametrize("shapes", [((5, 6), (5, 7)), ((5, 6), (5, 6, 1)), ((5,), (5,))])
def test_features_that_do_not_fit(shapes):
    real, fake = (torch.zeros(shape) for shape in shapes)
    with pytest.raises(ValueError, match=r"real_features are \[5.*wanted \[N, ...\] and \[M, ...\] of the same shape"):
        feature_matching(real, fake)


# Historical averaging


def parameters_of(dtype: torch.dtype = torch.float64) -> list[Tensor]:
    torch.manual_seed(0)
    return [p.detach().clone().requires_grad_() for p in nn.Linear(3, 2, dtype=dtype).parameters()]


def step(parameters: list[Tensor], number: int, averaging: HistoricalAveraging | None = None) -> None:
    """A step of gradient descent on some loss."""
    for p in parameters:
        p.grad = None
    sum((p * (number + 1)).sin().sum() for p in parameters).backward()
    if averaging is not None:
        averaging.add_gradients()
    with torch.no_grad():
        for p in parameters:
            p -= 0.1 * p.grad


def test_historical_averaging_against_all_past_parameters():
    """The oracle keeps them all, and takes the penalty's gradient by autograd."""
    parameters, plain = parameters_of(), parameters_of()
    averaging = HistoricalAveraging(parameters, weight=0.3)
    past: list[list[Tensor]] = []
    for number in range(12):
        for p in plain:
            p.grad = None
        sum((p * (number + 1)).sin().sum() for p in plain).backward()
        penalty = torch.zeros((), dtype=torch.float64)
        if past:
            means = [torch.stack(values).mean(0) for values in zip(*past, strict=True)]
            penalty = 0.3 * sum(((p - mean) ** 2).sum() for p, mean in zip(plain, means, strict=True))
            penalty.backward()
        torch.testing.assert_close(averaging.penalty(), penalty.detach(), rtol=1e-12, atol=1e-15)
        past.append([p.detach().clone() for p in plain])
        with torch.no_grad():
            for p in plain:
                p -= 0.1 * p.grad
        step(parameters, number, averaging)
        torch.testing.assert_close(parameters, plain, rtol=1e-12, atol=1e-14)


def test_the_first_step_has_no_past():
    """Whatever happened to the parameters since the averaging was made."""
    parameters = parameters_of()
    averaging = HistoricalAveraging(parameters)
    with torch.no_grad():
        parameters[0].add_(5)
    assert averaging.penalty() == 0
    averaging.add_gradients()
    assert all(p.grad.eq(0).all() for p in parameters)
    assert averaging.penalty() == 0
    with torch.no_grad():
        parameters[0].add_(1)
    assert averaging.penalty().item() == pytest.approx(parameters[0].numel())


def test_gradients_are_added_to_and_made_where_there_are_none():
    parameters = parameters_of()
    averaging = HistoricalAveraging(parameters, weight=0.5)
    averaging.add_gradients()
    for p in parameters:
        p.grad = None
        p.data.add_(2)
    parameters[0].grad = torch.ones_like(parameters[0])
    kept = parameters[0].grad
    averaging.add_gradients()
    assert parameters[0].grad is kept
    torch.testing.assert_close(kept, torch.full_like(kept, 1 + 2))
    torch.testing.assert_close(parameters[1].grad, torch.full_like(parameters[1], 2))


def test_a_resumed_average_goes_on_to_the_bit(tmp_path):
    parameters = parameters_of(torch.float32)
    averaging = HistoricalAveraging(parameters)
    for number in range(4):
        step(parameters, number, averaging)
    torch.save(averaging.state_dict(), tmp_path / "averaging.pt")

    resumed = copy.deepcopy(parameters)
    other = HistoricalAveraging(resumed)
    other.load_state_dict(torch.load(tmp_path / "averaging.pt", weights_only=True))
    for number in range(4, 8):
        step(parameters, number, averaging)
        step(resumed, number, other)
    assert all(torch.equal(a, b) for a, b in zip(parameters, resumed, strict=True))
    assert torch.equal(averaging.penalty(), other.penalty())


def test_a_state_from_before_the_first_step(tmp_path):
    parameters = parameters_of()
    other = HistoricalAveraging(parameters)
    other.load_state_dict(HistoricalAveraging(parameters).state_dict())
    assert other.penalty() == 0


def test_memory_is_one_copy_of_the_parameters():
    parameters = parameters_of()
    averaging = HistoricalAveraging(parameters)
    for number in range(30):
        step(parameters, number, averaging)
    tensors = [*averaging.state_dict()["means"], averaging.state_dict()["steps"]]
    assert sum(x.numel() for x in tensors) == sum(p.numel() for p in parameters) + 1


def test_parameters_of_several_precisions():
    exact = parameters_of()
    mixed = [exact[0].detach().bfloat16().requires_grad_(), exact[1].detach().float().requires_grad_()]
    averaging = HistoricalAveraging(mixed)
    for _ in range(3):
        averaging.add_gradients()
        for p in mixed:
            p.grad = None
            p.data.add_(1)
    averaging.add_gradients()
    assert [p.grad.dtype for p in mixed] == [torch.bfloat16, torch.float32]
    for p in mixed:  # at theta + 3, having been at theta, theta + 1 and theta + 2
        torch.testing.assert_close(p.grad.float(), torch.full(p.shape, 4.0), rtol=1e-2, atol=0)


def test_averaging_reads_nothing_back_from_the_device():
    parameters = parameters_of()
    averaging = HistoricalAveraging(parameters)
    with Trace() as trace:
        step(parameters, 0, averaging)
        step(parameters, 1, averaging)
        averaging.penalty()
    assert any("_foreach_add_" in name for name in trace.names)
    assert not [name for name in trace.names if "_local_scalar_dense" in name or "nonzero" in name]


def test_what_averaging_refuses():
    parameters = parameters_of()
    with pytest.raises(ValueError, match="weight is -1, wanted a finite number that is not negative"):
        HistoricalAveraging(parameters, weight=-1)
    with pytest.raises(ValueError, match="parameters is empty, wanted at least one tensor"):
        HistoricalAveraging([])
    with pytest.raises(
        ValueError, match=r"means of shapes \[\[2, 3\], \[2\]\], wanted those of the parameters, \[\[2\]\]"
    ):
        HistoricalAveraging([parameters[1]]).load_state_dict(HistoricalAveraging(parameters).state_dict())
    for given in (parameters[0], "weights", 3, None):
        with pytest.raises(TypeError, match=r"^parameters is .*, wanted several tensors"):
            HistoricalAveraging(given)
    with pytest.raises(TypeError, match=r"^parameters\[1\] is 3, wanted a tensor$"):
        HistoricalAveraging([parameters[0], 3])
    with pytest.raises(ValueError, match=r"^weight is 'heavy', wanted a finite number"):
        HistoricalAveraging(parameters, weight="heavy")


def test_averaging_takes_no_state_that_is_none():
    averaging = HistoricalAveraging(parameters_of())
    state = averaging.state_dict()
    for damaged, said in (
        (None, "^state is None, wanted that of state_dict"),
        ({"steps": state["steps"]}, "^state is .*, wanted that of state_dict"),
        ({**state, "steps": "three"}, "^steps is 'three', wanted a tensor"),
        ({**state, "means": 3}, "^means is 3, wanted a list of tensors"),
        ({**state, "means": [None, *state["means"][1:]]}, r"^means\[0\] is None, wanted a tensor"),
    ):
        with pytest.raises(TypeError, match=said):
            averaging.load_state_dict(damaged)


@pytest.mark.parametrize("name", ["real_features", "fake_features"])
def test_features_that_are_no_tensors_are_named(name):
    features = {"real_features": torch.ones(3, 2), "fake_features": torch.ones(3, 2)}
    for form in (feature_matching, feature_matching_and_grad):
        with pytest.raises(TypeError, match=f"^{name} is a list, wanted a tensor$"):
            form(**{**features, name: [1.0]})
        with pytest.raises(TypeError, match=f"^{name} has dtype torch.int64, wanted a floating dtype$"):
            form(**{**features, name: torch.ones(3, 2, dtype=torch.int64)})
