"""leaky_dropout: its masks against Philox in numpy (whose own oracle are Random123's known answers), its values and
gradients against torch.nn.functional and formulas, its statistics against those of independent draws."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from checking import assert_same, assert_within, half_step
from philox import kept, philox
from sample_inputs import DTYPES, as_tuple, dtype_name
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.profiler import ProfilerActivity, profile
from torch.utils.checkpoint import checkpoint

from amgan_fast import reference
from amgan_fast.nn import LeakyReLUDropout
from amgan_fast.ops import leaky_dropout

dtypes = pytest.mark.parametrize("dtype", DTYPES, ids=dtype_name)
native = torch.ops.amgan_fast.native_leaky_dropout.default
native_backward = torch.ops.amgan_fast.native_leaky_dropout_backward.default
# test_torch_integration.py has the tables of the other operations.
OPERATIONS = {native, native_backward, torch.ops.amgan_fast.leaky_dropout.default}

# Around the blocks of Philox, the vectors and the stretches of the kernel.
SIZES = (1, 7, 8, 9, 31, 63, 64, 65, 2047, 2048, 2049, 5000)
PROBABILITIES = (0.3, 0.5, 2.0**-16, 1 - 2.0**-16)
SLOPE = 0.2


def rounded(p: float) -> float:
    return round(p * 65536) / 65536


def normal(*shape: int, dtype: torch.dtype = torch.float32, seed: int = 0, device: object = "cpu") -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=generator, dtype=torch.float64).to(dtype).to(device)


def in_memory(x: Tensor) -> Tensor:
    """The elements of a dense tensor in the order in which they lie in memory."""
    return x.as_strided((x.numel(),), (1,))


def mask_of(rng_state: Tensor, like: Tensor, p: float) -> Tensor:
    """What is kept of a dense tensor."""
    mask = torch.empty_like(like, dtype=torch.bool)
    in_memory(mask).copy_(kept(rng_state, like.numel(), p))
    return mask


def factors(x: Tensor, p: float, slope: float) -> Tensor:
    return torch.full_like(x, slope, dtype=torch.float64).masked_fill(x > 0, 1.0) / (1 - rounded(p))


def exact(values: Tensor, sign: Tensor, mask: Tensor, p: float, slope: float) -> Tensor:
    return torch.where(mask, values.double() * factors(sign, p, slope), 0.0)


def assert_rounded(got: Tensor, want: Tensor, what: str = "") -> None:
    """`want`, from one multiplication by a factor that was rounded itself."""
    relative = 1e-15 if got.dtype == torch.float64 else 1.3e-7
    assert_within(got, want, relative * want.abs() + half_step(want, got.dtype) * (1 + 1e-6), what)


# --- The mask


@pytest.mark.parametrize(
    "line",
    [  # kat_vectors of the Random123 distribution: rounds, counter, key, result
        "7  00000000 00000000 00000000 00000000 00000000 00000000 5f6fb709 0d893f64 4f121f81 4f730a48",
        "7  ffffffff ffffffff ffffffff ffffffff ffffffff ffffffff 5207ddc2 45165e59 4d8ee751 8c52f662",
        "7  243f6a88 85a308d3 13198a2e 03707344 a4093822 299f31d0 4dfccaba 190a87f0 c47362ba b6b5242a",
        "10 00000000 00000000 00000000 00000000 00000000 00000000 6627e8d5 e169c58d bc57ac4c 9b00dbd8",
        "10 ffffffff ffffffff ffffffff ffffffff ffffffff ffffffff 408f276d 41c83b0e a20bc7c6 6d5451fd",
        "10 243f6a88 85a308d3 13198a2e 03707344 a4093822 299f31d0 d16cfe09 94fdcceb 5001e420 24126ea1",
    ],
)
def test_philox_of_the_oracle_gives_the_known_answers(line):
    rounds, *numbers = line.split()
    counter, key, want = np.split(np.array([int(x, 16) for x in numbers], dtype=np.uint64), [4, 6])
    assert (philox(counter[None], tuple(map(int, key)), int(rounds))[0] == want).all()


@dtypes
@pytest.mark.parametrize("p", PROBABILITIES)
def test_the_mask_is_that_of_philox(p, dtype, device):
    """For any state of the generator, on every instruction set, through the factors of ones."""
    states = [(0, 0), (-1, 4), (0x299F31D0A4093822, 4 * (2**40 + 1)), (-(2**63), -4)]
    for size in SIZES:
        for state in states:
            rng_state = torch.tensor(state, dtype=torch.int64)
            ones = torch.ones(size, dtype=dtype, device=device)
            got = native_backward(ones, ones, rng_state.to(device), p, SLOPE).cpu()
            assert torch.equal(got != 0, kept(rng_state, size, p)), f"{size} {state}"


@dtypes
def test_forward_and_backward_are_of_the_state_that_forward_returns(dtype, device):
    for size in SIZES:
        x, upstream = (normal(size, dtype=dtype, seed=seed, device=device) for seed in (1, 2))
        output, rng_state = native(x, 0.3, SLOPE)
        gradient = native_backward(upstream, output, rng_state, 0.3, SLOPE)
        mask = kept(rng_state.cpu(), size, 0.3)
        assert_rounded(output.cpu(), exact(x.cpu(), x.cpu(), mask, 0.3, SLOPE), f"{size}")
        assert_rounded(gradient.cpu(), exact(upstream.cpu(), x.cpu(), mask, 0.3, SLOPE), f"{size}, gradient")


def test_any_number_of_threads_gives_the_same_bits(threads):
    x = normal(300_001).requires_grad_()
    results = []
    for count in (1, 2):
        threads(count)
        torch.manual_seed(5)
        y = leaky_dropout(x, 0.3)
        results.append((y.detach(), *torch.autograd.grad(y, x, x.detach())))
    assert_same(*results)


# --- Values


def specials(dtype: torch.dtype, device: object) -> Tensor:
    info = torch.finfo(dtype)
    numbers = [0.0, -0.0, math.nan, math.inf, -math.inf, info.max, info.min, info.tiny, -info.tiny]
    return torch.tensor([*numbers, info.smallest_normal * info.eps, -info.smallest_normal * info.eps] * 20).to(
        dtype=dtype, device=device
    )


def bits(x: Tensor) -> Tensor:
    """NaN is NaN, whatever its sign and payload."""
    integer = {2: torch.int16, 4: torch.int32, 8: torch.int64}[x.element_size()]
    return torch.where(x.isnan(), torch.full_like(x, math.nan), x).view(integer)


@dtypes
@pytest.mark.parametrize("slope", [0.0, 0.2, 3.0])
def test_without_dropout_it_is_leaky_relu(slope, dtype, device):
    x = torch.cat([normal(5000, dtype=dtype, device=device), specials(dtype, device)]).requires_grad_()
    want = F.leaky_relu(x, slope)
    upstream = normal(len(x), dtype=dtype, seed=3, device=device)
    (want_grad,) = torch.autograd.grad(want, x, upstream)
    state = torch.get_rng_state()
    for y in (leaky_dropout(x, 0.0, slope), leaky_dropout(x, 0.7, slope, training=False)):
        assert torch.equal(bits(y), bits(want))
        assert torch.equal(bits(torch.autograd.grad(y, x, upstream)[0]), bits(want_grad))
    assert torch.equal(torch.get_rng_state(), state)
    y, _ = native(x, 0.0, slope)  # the kernel itself
    assert torch.equal(bits(y), bits(want))
    assert torch.equal(bits(torch.autograd.grad(y, x, upstream)[0]), bits(want_grad))


@dtypes
def test_kept_elements_are_leaky_relu_and_dropped_ones_0(dtype, device):
    """At p = 1/2 and a slope of 1/4, whose factors are powers of 2."""
    x = torch.cat([normal(5000, dtype=dtype, device=device), specials(dtype, device)]).requires_grad_()
    y, rng_state = native(x, 0.5, 0.25)
    mask = kept(rng_state.cpu(), len(x), 0.5).to(device)
    assert torch.equal(bits(y), bits(torch.where(mask, torch.where(x > 0, 2 * x, x / 2), 0.0)))
    (gradient,) = torch.autograd.grad(y, x, torch.ones_like(x))
    assert torch.equal(gradient, torch.where(mask, torch.where(x > 0, 2.0, 0.5), 0.0).to(dtype))
    assert 0 < int(mask[5000:].sum()) < len(x) - 5000


@dtypes
def test_the_smallest_numbers_keep_their_side(dtype, device):
    """An output that underflowed to -0 still belongs to a negative x."""
    tiny = torch.finfo(dtype).smallest_normal * torch.finfo(dtype).eps
    x = torch.tensor([tiny, -tiny] * 500).to(dtype=dtype, device=device).requires_grad_()
    y, rng_state = native(x, 0.5, 0.125)
    (gradient,) = torch.autograd.grad(y, x, torch.ones_like(x))
    mask = kept(rng_state.cpu(), len(x), 0.5).to(device)
    assert (y == 0).sum() > 600  # of both kinds
    assert torch.equal(gradient, torch.where(mask, torch.where(x > 0, 2.0, 0.25), 0.0).to(dtype))


@dtypes
@pytest.mark.parametrize("p", [1.0, 1 - 2.0**-18])
def test_p_of_1_gives_0(p, dtype, device):
    x = torch.cat([normal(100, dtype=dtype, device=device), specials(dtype, device)]).requires_grad_()
    y = leaky_dropout(x, p)
    (gradient,) = torch.autograd.grad(y, x, torch.full_like(x, math.nan))
    assert not y.any()
    assert not gradient.any()


# --- Layouts


def sliced(x: Tensor) -> Tensor:
    other = math.nan if x.is_floating_point() else -1
    wide = torch.full((*x.shape[:-1], 2 * x.shape[-1] + 1), other, dtype=x.dtype, device=x.device)
    wide[..., 1::2] = x
    return wide[..., 1::2]


def channels_last(x: Tensor) -> Tensor:
    return x.contiguous(memory_format=torch.channels_last)


LAYOUTS: dict[str, Callable[[Tensor], Tensor]] = {
    "contiguous": torch.clone,
    "channels_last": channels_last,
    "transposed": lambda x: x.transpose(0, 3).contiguous().transpose(0, 3),
    "sliced": sliced,
    "expanded": lambda x: x[:1].expand_as(x),
    "misaligned": lambda x: torch.cat([x.new_zeros(1), x.flatten()])[1:].view(x.shape),
}


@dtypes
@pytest.mark.parametrize("name", LAYOUTS)
def test_any_layout(name, dtype, device):
    x = LAYOUTS[name](normal(4, 6, 5, 7, dtype=dtype, device=device)).requires_grad_()
    for upstream_layout in LAYOUTS.values():
        upstream = upstream_layout(normal(4, 6, 5, 7, dtype=dtype, seed=1, device=device))
        y, rng_state = native(x, 0.3, SLOPE)
        (gradient,) = torch.autograd.grad(y, x, upstream)
        assert y.stride() == torch.empty_like(x).stride()  # x's own, where they are dense
        mask = mask_of(rng_state.cpu(), y.cpu(), 0.3)
        assert_rounded(y.cpu(), exact(x.cpu(), x.cpu(), mask, 0.3, SLOPE), name)
        assert_rounded(gradient.cpu(), exact(upstream.cpu(), x.cpu(), mask, 0.3, SLOPE), f"{name}, gradient")


def test_the_mask_belongs_to_places_in_memory(device):
    x = normal(4, 6, 5, 7, device=device)
    results = []
    for given in (channels_last(x), x.permute(0, 2, 3, 1).contiguous()):
        torch.manual_seed(3)
        results.append(leaky_dropout(given, 0.3))
    assert_same(results[0].permute(0, 2, 3, 1), results[1])


def test_dense_memory_is_not_copied():
    x = normal(4, 6, 5, 7)
    for layout, copies in ((torch.clone, 0), (channels_last, 0), (sliced, 1)):
        given = layout(x).requires_grad_()
        with profile(activities=[ProfilerActivity.CPU]) as profiler:
            y = leaky_dropout(given, 0.3)
            torch.autograd.grad(y, given, torch.ones_like(y))
        assert sum(event.name == "aten::copy_" for event in profiler.events()) == copies


@dtypes
def test_empty_and_scalar(dtype, device):
    x = torch.zeros(3, 0, 2, dtype=dtype, device=device).requires_grad_()
    y = leaky_dropout(x, 0.3)
    assert (y.shape, y.dtype) == (x.shape, dtype)
    assert torch.autograd.grad(y.sum(), x)[0].shape == x.shape
    one = torch.tensor(-2.0, dtype=dtype, device=device)
    assert {leaky_dropout(one, 0.5, 0.25).item() for _ in range(50)} == {0.0, -1.0}


# --- Statistics. Bounds are five standard deviations of the same statistic of independent draws.

COUNT = 2**20


def draw(p: float, count: int = COUNT, device: object = "cpu") -> Tensor:
    """1 where kept, in one call."""
    return (leaky_dropout(torch.ones(count, device=device), p) != 0).double()


def assert_uncorrelated(a: Tensor, b: Tensor, p: float, what: str) -> None:
    correlation = ((a - (1 - p)) * (b - (1 - p))).mean() / (p * (1 - p))
    assert abs(correlation) < 5 / math.sqrt(len(a)), f"{what}: {correlation:.2g}"


@pytest.mark.parametrize("p", [0.001, 0.1, 0.3, 0.5, 0.9])
def test_rate_of_drops(p, device):
    torch.manual_seed(11)
    exact_p = rounded(p)
    share = 1 - draw(p, device=device).mean().item()
    assert abs(share - exact_p) < 5 * math.sqrt(exact_p * (1 - exact_p) / COUNT)
    assert share != exact_p


@pytest.mark.parametrize("p", [0.3, 0.5])
def test_elements_are_independent(p, device):
    """Neighbours, elements of the same Philox block, rows of usual lengths, and calls."""
    torch.manual_seed(12)
    p = rounded(p)
    first, second = draw(p, device=device), draw(p, device=device)
    for lag in (*range(1, 33), 64, 100, 128, 1024, 2048, 65536):
        assert_uncorrelated(first[lag:], first[:-lag], p, f"{lag} apart")
    assert_uncorrelated(first, second, p, "two calls")
    assert_uncorrelated(first[1:], second[:-1], p, "two calls, 1 apart")


def test_runs_are_as_long_as_those_of_a_fair_coin(device):
    """Chi-squared over the 256 patterns of the elements of a Philox block: 255 degrees of freedom."""
    torch.manual_seed(13)
    patterns = draw(0.5, device=device).view(-1, 8) @ 2.0 ** torch.arange(8, dtype=torch.float64, device=device)
    counts, want = patterns.long().bincount(minlength=256), COUNT / 8 / 256
    statistic = ((counts - want) ** 2 / want).sum().item()
    assert abs(statistic - 255) < 5 * math.sqrt(2 * 255)


def test_the_mean_is_that_of_leaky_relu(device):
    torch.manual_seed(14)
    p = 0.3
    x = normal(1000, device=device)
    want = F.leaky_relu(x.double(), SLOPE)
    draws = torch.stack([leaky_dropout(x, p, SLOPE).double() for _ in range(1000)])
    deviation = want.abs() * math.sqrt(p / (1 - p) / len(draws))
    assert ((draws.mean(0) - want).abs() < 5 * deviation).all()
    assert ((draws.mean(0) - want).sum().abs() < 5 * deviation.square().sum().sqrt()).all()


# --- Seeds


def test_manual_seed_makes_it_reproducible(device):
    x = normal(1000, device=device)

    def two_calls() -> tuple[Tensor, ...]:
        return leaky_dropout(x), leaky_dropout(x)

    torch.manual_seed(1)
    first = two_calls()
    torch.manual_seed(1)
    assert_same(two_calls(), first)
    torch.manual_seed(2)
    assert not torch.equal(two_calls()[0], first[0])
    assert not torch.equal(*first)


def test_a_call_moves_the_generator_on_as_one_number_of_64_bits_does():
    torch.manual_seed(1)
    _, rng_state = native(torch.ones(100_000), 0.5, SLOPE)
    after = torch.get_rng_state()
    torch.manual_seed(1)
    number = torch.empty((), dtype=torch.int64).random_()
    assert torch.equal(torch.get_rng_state(), after)
    assert rng_state.tolist()[1] == 0
    assert rng_state[0] % 2**63 == number % 2**63


def test_backward_draws_nothing(device):
    x = normal(100, device=device).requires_grad_()
    y = leaky_dropout(x)
    state = torch.get_rng_state()
    first, second = (torch.autograd.grad(y, x, torch.ones_like(y), retain_graph=True) for _ in range(2))
    assert_same(first, second)
    assert torch.equal(torch.get_rng_state(), state)


# --- Derivatives and what is kept for them


def seeded(p: float, slope: float) -> Callable[[Tensor], Tensor]:
    """A function: the same mask at every call."""

    def call(x: Tensor) -> Tensor:
        torch.manual_seed(7)
        return leaky_dropout(x, p, slope)

    return call


@pytest.mark.parametrize("layout", [torch.clone, channels_last, sliced])
def test_gradcheck(layout, device):
    x = layout(normal(2, 3, 2, 3, dtype=torch.float64, device=device)).requires_grad_()
    assert torch.autograd.gradcheck(seeded(0.3, SLOPE), x)
    assert torch.autograd.gradgradcheck(seeded(0.3, SLOPE), x)


@dtypes
def test_derivatives_of_higher_order(dtype, device):
    """The gradient is linear in its upstream; with an output that is squared, the formulas of the chain rule."""
    x = normal(500, dtype=dtype, device=device).requires_grad_()
    upstream = normal(500, dtype=dtype, seed=1, device=device).requires_grad_()
    v = normal(500, dtype=dtype, seed=2, device=device)
    y, rng_state = native(x, 0.5, 0.25)
    factor = torch.where(kept(rng_state.cpu(), 500, 0.5).to(device), torch.where(x > 0, 2.0, 0.5), 0.0).to(dtype)
    (gradient,) = torch.autograd.grad(y, x, upstream, create_graph=True)
    assert torch.equal(gradient, factor * upstream)
    (of_upstream,) = torch.autograd.grad(gradient, upstream, v, retain_graph=True)
    assert torch.equal(of_upstream, factor * v)
    (of_x,) = torch.autograd.grad(gradient, x, v, allow_unused=True, retain_graph=True)
    assert of_x is None or not of_x.any()
    (first,) = torch.autograd.grad((y * y).sum(), x, create_graph=True)
    (second,) = torch.autograd.grad(first, x, torch.ones_like(x), create_graph=True)
    assert torch.equal(second, 2 * factor * factor)


def test_a_gradient_penalty_trains(device):
    """Double backward through two layers, against the same masks by hand."""
    first, second = (normal(20, 20, dtype=torch.float64, seed=s, device=device).requires_grad_() for s in (1, 2))
    x = normal(8, 20, dtype=torch.float64, seed=3, device=device).requires_grad_()

    def penalty(activation: Callable[[Tensor], Tensor]) -> tuple[Tensor, ...]:
        out = activation(activation(x @ first) @ second).sum()
        (gradient,) = torch.autograd.grad(out, x, create_graph=True)
        return torch.autograd.grad(gradient.square().sum(), (first, second))

    masks = []

    def fused(z: Tensor) -> Tensor:
        y, rng_state = native(z, 0.5, SLOPE)
        masks.append(kept(rng_state.cpu(), z.numel(), 0.5).view(z.shape).to(device))
        return y

    got = penalty(fused)
    want = penalty(lambda z: 2 * masks.pop(0) * F.leaky_relu(z, SLOPE))
    for a, b in zip(got, want, strict=True):
        assert_within(a, b, 1e-12 * b.abs().max(), "penalty")


@dtypes
def test_no_mask_and_no_input_is_kept(dtype, device):
    x = normal(1000, dtype=dtype, device=device).requires_grad_()
    saved = []

    def pack(tensor: Tensor) -> Tensor:
        saved.append(tensor)
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        y = leaky_dropout(x)
    assert sum(tensor.nbytes for tensor in saved) == x.nbytes + 16
    assert saved[0].data_ptr() == y.data_ptr()


@dtypes
@pytest.mark.parametrize("name", LAYOUTS)
def test_saved_tensors_may_come_back_in_another_layout(name, dtype, device):
    """As those of torch.autograd.graph.save_on_cpu(pin_memory=True) do: they are contiguous."""
    x = LAYOUTS[name](normal(4, 6, 5, 7, dtype=dtype, device=device)).requires_grad_()
    upstream = normal(4, 6, 5, 7, dtype=dtype, seed=1, device=device)
    for pack in (torch.Tensor.contiguous, sliced, channels_last):
        results = []
        for hook in (lambda saved: saved, lambda saved, pack=pack: pack(saved) if saved.dim() == 4 else sliced(saved)):
            torch.manual_seed(5)
            with torch.autograd.graph.saved_tensors_hooks(hook, lambda saved: saved):
                y = leaky_dropout(x, 0.3).square()
                (first,) = torch.autograd.grad(y, x, upstream, create_graph=True)
                (second,) = torch.autograd.grad(first, x, upstream)
            results.append((first, second))
        assert_same(*results, name)


def test_the_state_may_be_strided(device):
    y, rng_state = native(normal(1000, device=device), 0.3, SLOPE)
    backward = torch.ops.amgan_fast.native_leaky_dropout_backward
    assert_same(*(backward(y, y, state, 0.3, SLOPE) for state in (sliced(rng_state), rng_state)))


def test_an_output_changed_in_place_is_noticed(device):
    x = normal(10, device=device).requires_grad_()
    y = leaky_dropout(x)
    y.mul_(-1)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        y.sum().backward()


def test_inputs_may_be_overwritten(device):
    """x is not needed for backward, so an operation before may be in place, or its memory be used again."""
    x = normal(1000, device=device).requires_grad_()
    z = x.clone()
    y, rng_state = native(z, 0.5, SLOPE)
    with torch.no_grad():
        z.neg_()
    (gradient,) = torch.autograd.grad(y, x, torch.ones_like(y))
    mask = kept(rng_state.cpu(), 1000, 0.5).to(device)
    assert_rounded(gradient, exact(torch.ones_like(x), x, mask, 0.5, SLOPE))


def test_checkpointing_recomputes_the_same(device):
    x = normal(1000, device=device).requires_grad_()
    results = []
    for wrap in (lambda f, z: f(z), lambda f, z: checkpoint(f, z, use_reentrant=False)):
        torch.manual_seed(2)
        y = wrap(lambda z: leaky_dropout(2 * z).square(), x)
        results.append((y.detach(), *torch.autograd.grad(y.sum(), x)))
    assert_same(*results)


# --- Inside PyTorch


def calls(device: object) -> list[tuple[object, tuple[object, ...], dict[str, object]]]:
    x = normal(3, 5, device=device).requires_grad_()
    output, rng_state = native(x.detach(), 0.3, SLOPE)
    composite = torch.ops.amgan_fast.leaky_dropout.default
    return [
        (native, (x, 0.3, SLOPE), {}),
        (native_backward, (torch.ones_like(x, requires_grad=True), output.requires_grad_(), rng_state, 0.3, SLOPE), {}),
        (composite, (x, 0.3, SLOPE), {}),
        (composite, (x,), {"training": False}),
    ]


@pytest.mark.parametrize("index", range(4))
def test_opcheck(index, device):
    overload, args, keywords = calls(device)[index]
    torch.library.opcheck(overload, args, keywords)


def described(outputs: object) -> list[tuple[object, ...]]:
    return [(tuple(x.shape), x.dtype, x.stride()) for x in as_tuple(outputs)]


@dtypes
@pytest.mark.parametrize("name", LAYOUTS)
def test_meta_and_fake_tensors_have_the_shapes_of_real_ones_and_draw_nothing(name, dtype):
    x = LAYOUTS[name](normal(4, 6, 5, 7, dtype=dtype))
    want = native(x, 0.3, SLOPE)
    backward = native_backward(x, *want, 0.3, SLOPE)
    state = torch.get_rng_state()
    # A torch that was built without CUDA aborts where autograd asks for such a device.
    for device in ("meta", "cpu", "cuda")[: 3 if torch.backends.cuda.is_built() else 2]:
        with FakeTensorMode(allow_non_fake_inputs=True):
            given = torch.empty_strided(x.shape, x.stride(), dtype=dtype, device=device).requires_grad_()
            got = native(given, 0.3, SLOPE)
            assert described(got) == described(want)
            assert {tensor.device.type for tensor in got} == {device}
            (gradient,) = [g for g in as_tuple(got[0].grad_fn(got[0], None)) if g is not None]
        assert described(gradient) == described(backward)
        assert gradient.device.type == device
    assert torch.equal(torch.get_rng_state(), state)


@pytest.fixture
def fresh_compiler():
    torch.compiler.reset()
    yield
    torch.compiler.reset()


def step(x: Tensor, weight: Tensor) -> Tensor:
    hidden = leaky_dropout(F.conv2d(x, weight), 0.3)
    return leaky_dropout(hidden, 0.5, 0.1).square().mean() + leaky_dropout(hidden, training=False).mean()


def value_and_gradients(function: Callable[..., Tensor], *args: Tensor) -> tuple[Tensor, ...]:
    torch.manual_seed(4)
    value = function(*args)
    return (value.detach(), *torch.autograd.grad(value, args))


def assert_compiled_equals_eager(backend: str) -> None:
    compiled = torch.compile(step, backend=backend, fullgraph=True)
    weight = normal(4, 3, 2, 2, seed=1).requires_grad_()
    for rows, layout in ((2, torch.clone), (5, torch.clone), (2, channels_last)):
        x = layout(normal(rows, 3, 5, 5)).requires_grad_()
        for a, b in zip(*(value_and_gradients(f, x, weight) for f in (compiled, step)), strict=True):
            assert_within(a, b, 1e-5 * b.abs().max(), f"{rows} rows")
        different = [compiled(x, weight).item() for _ in range(3)]
        assert len(set(different)) == 3  # the seed is no constant of the graph


def test_compiled_without_graph_breaks_equals_eager(fresh_compiler):
    assert_compiled_equals_eager("aot_eager")


@pytest.mark.slow  # its C++ compiler takes a minute
def test_compiled_by_inductor_equals_eager(fresh_compiler):
    assert_compiled_equals_eager("inductor")


def test_backward_is_compiled_without_graph_breaks(fresh_compiler):
    x = normal(4, 6).requires_grad_()
    value = leaky_dropout(leaky_dropout(x, 0.3), 0.5).square().sum()
    (want,) = torch.autograd.grad(value, x, retain_graph=True)
    with torch._dynamo.compiled_autograd._enable(partial(torch.compile, backend="aot_eager", fullgraph=True)):
        value.backward()
    assert_within(x.grad, want, 1e-6, "gradient")


def test_sizes_may_be_unknown_while_tracing(fresh_compiler):
    def value(x):
        return leaky_dropout(x, 0.3).square().sum()

    compiled = torch.compile(value, backend="aot_eager", fullgraph=True)
    for shape in ((3, 4), (1, 9)):
        x = normal(*shape).requires_grad_()
        for dimension in (0, 1):
            torch._dynamo.decorators.mark_unbacked(x, dimension)
        for a, b in zip(*(value_and_gradients(f, x) for f in (compiled, value)), strict=True):
            assert_within(a, b, 1e-5, f"{shape}")


# --- vmap

vmapped = pytest.mark.filterwarnings("ignore:There is a performance drop")


@vmapped
def test_vmap_refuses_what_is_random_unless_told_how(device):
    x = normal(3, 5, 7, device=device)
    for function in (leaky_dropout, lambda rows: leaky_dropout(x[0]) + rows):
        with pytest.raises(RuntimeError, match="called random operation while in randomness error mode"):
            torch.vmap(function)(x)
    without = torch.vmap(lambda rows: leaky_dropout(rows, 0.0) + leaky_dropout(rows, training=False))(x)
    assert_same(without, 2 * F.leaky_relu(x, SLOPE), "nothing is drawn")


@vmapped
@dtypes
@pytest.mark.parametrize("batched", [True, False], ids=["of a batch", "of one for all"])
@pytest.mark.parametrize("randomness", ["same", "different"])
def test_vmap_drops_as_it_is_told(randomness, batched, dtype, device):
    x = normal(3, 40, 50, dtype=dtype, device=device)
    x = x if batched else x[:1].expand_as(x)

    def drop(index, rows):
        return leaky_dropout(rows if batched else x[0], 0.3) + 0 * index

    got = torch.vmap(drop, randomness=randomness)(torch.arange(3, device=device), x)
    dropped = got == 0
    alike = [bool((dropped[i] == dropped[j]).all()) for i, j in ((0, 1), (0, 2), (1, 2))]
    assert alike == [randomness == "same"] * 3
    assert 0.25 < dropped.double().mean() < 0.35
    assert_rounded(got, exact(x, x, ~dropped, 0.3, SLOPE), "what is kept")


@vmapped
@pytest.mark.parametrize("randomness", ["same", "different"])
def test_vmap_within_vmap_and_its_gradients(randomness, device):
    x = normal(2, 3, 6, 10, device=device).requires_grad_()
    torch.manual_seed(7)
    got = torch.vmap(torch.vmap(leaky_dropout, randomness=randomness), randomness=randomness)(x)
    masks = {tuple((rows == 0).flatten().tolist()) for rows in got.flatten(0, 1)}
    assert len(masks) == (1 if randomness == "same" else 6)
    (gradient,) = torch.autograd.grad(got.sum(), x)
    assert_within(gradient, torch.where(got == 0, 0, torch.where(x > 0, 2.0, 2 * SLOPE)), 1e-6, "gradient")
    torch.manual_seed(7)
    again = torch.vmap(torch.vmap(leaky_dropout, randomness=randomness), randomness=randomness)(x)
    assert_same(again, got, "the same seed")


@dtypes
def test_autocast_changes_nothing(dtype, device):
    x = normal(100, dtype=dtype, device=device)
    results = []
    for enabled in (False, True):
        torch.manual_seed(6)
        with torch.autocast(device.type, dtype=torch.bfloat16, enabled=enabled):
            results.append(leaky_dropout(x))
    assert_same(*results)


@pytest.mark.parametrize(
    ("error", "message", "change"),
    [
        (TypeError, "x has dtype Int, wanted float32, float64, bfloat16 or float16", {"x": torch.ones(3).int()}),
        (ValueError, "p is 1.5, wanted a number from 0 to 1", {"p": 1.5}),
        (ValueError, "p is -0.1, wanted a number from 0 to 1", {"p": -0.1}),
        (ValueError, "p is nan, wanted a number from 0 to 1", {"p": math.nan}),
        (ValueError, "slope is -0.2, wanted a finite number that is at least 0", {"slope": -0.2}),
        (ValueError, "slope is inf, wanted a finite number that is at least 0", {"slope": math.inf}),
        (ValueError, "slope is nan, wanted a finite number that is at least 0", {"slope": math.nan}),
    ],
)
@pytest.mark.parametrize("training", [True, False])
def test_arguments_are_refused(error, message, change, training):
    arguments = {"x": torch.ones(3)} | change
    with pytest.raises(error, match=f"^leaky_dropout: {message}"):
        leaky_dropout(**arguments, training=training)


@pytest.mark.parametrize(
    ("error", "message", "change"),
    [
        (TypeError, "grad_output has dtype Half and output Float, wanted the same", {0: torch.ones(3).half()}),
        (ValueError, r"grad_output has shape \[4\] and output \[3\], wanted the same", {0: torch.ones(4)}),
        (TypeError, "rng_state has dtype Float, wanted int64", {2: torch.ones(2)}),
        (ValueError, r"rng_state has shape \[3\], wanted \[2\]", {2: torch.ones(3).long()}),
        (ValueError, "rng_state is on meta, wanted cpu", {2: torch.ones(2, device="meta").long()}),
    ],
)
def test_backward_refuses_what_does_not_belong_together(error, message, change):
    arguments = {0: torch.ones(3), 1: torch.ones(3), 2: torch.ones(2).long()} | change
    with pytest.raises(error, match=message):
        native_backward(*arguments.values(), 0.5, SLOPE)


# --- The layer


def test_layer_drops_in_training_alone(device):
    layer = LeakyReLUDropout(p=0.3, slope=0.1)
    x = normal(1000, device=device)
    torch.manual_seed(8)
    trained = layer(x)
    torch.manual_seed(8)
    assert_same(trained, leaky_dropout(x, 0.3, 0.1))
    assert 200 < int((trained == 0).sum()) < 400
    assert_same(layer.eval()(x), F.leaky_relu(x, 0.1))
    assert str(layer) == "LeakyReLUDropout(p=0.3, slope=0.1)"
    assert not layer.state_dict()


def test_reference_has_the_same_distribution():
    """Drops and kept values of the plain version."""
    torch.manual_seed(9)
    x = normal(COUNT)
    for function in (leaky_dropout, reference.leaky_dropout):
        y = function(x, 0.25, SLOPE)
        keep = y != 0
        assert abs(keep.double().mean() - 0.75) < 5 * math.sqrt(0.25 * 0.75 / COUNT)
        assert_within(y[keep], F.leaky_relu(x[keep].double(), SLOPE) / 0.75, 3e-7 * y[keep].double().abs(), "kept")
    assert_same(reference.leaky_dropout(x, training=False), leaky_dropout(x, training=False))


# --- CUDA


@pytest.mark.cuda
def test_every_replay_of_a_graph_draws_anew():
    x = torch.ones(10_000, device="cuda").requires_grad_()
    stream = torch.cuda.Stream()
    with torch.cuda.stream(stream):
        torch.autograd.grad(leaky_dropout(x), x, torch.ones_like(x))
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph, stream=stream):
        y, rng_state = native(x, 0.5, SLOPE)
        (gradient,) = torch.autograd.grad(y, x, torch.ones_like(y))
    seen = []
    for _ in range(3):
        graph.replay()
        mask = kept(rng_state.cpu(), len(x), 0.5).cuda()
        assert torch.equal(y != 0, mask)
        assert torch.equal(gradient != 0, mask)
        seen.append(mask)
    seen.append(leaky_dropout(x) != 0)
    assert all(not torch.equal(a, b) for i, a in enumerate(seen) for b in seen[:i])
