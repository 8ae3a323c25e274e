"""batch_norm_leaky_dropout and its layer: against torch's batch norm in float64, leaky ReLU by hand, and the masks of
Philox in numpy."""

from __future__ import annotations

import copy
import math
from functools import partial

import pytest
import torch
import torch.nn.functional as F
from checking import assert_same, assert_within, half_step
from philox import kept
from sample_inputs import DTYPES, as_tuple, dtype_name
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode

from amgan_fast.nn import BatchNormLeakyReLUDropout
from amgan_fast.ops import batch_norm_leaky_dropout, leaky_dropout

dtypes = pytest.mark.parametrize("dtype", DTYPES, ids=dtype_name)
native = torch.ops.amgan_fast.native_batch_norm_leaky_dropout.default
native_backward = torch.ops.amgan_fast.native_batch_norm_leaky_dropout_backward.default
composite = torch.ops.amgan_fast.batch_norm_leaky_dropout.default
# test_torch_integration.py has the tables of the other operations.
OPERATIONS = {native, native_backward, composite}

SLOPE, EPS = 0.2, 1e-5
# Around vectors, stretches of 2,048 elements and chunks of eight of them: channels that fill no vector, that a vector
# begins anywhere in, and more than a chunk holds rows of.
SHAPES = ((2, 1), (2, 700), (7, 5), (33, 17), (100, 32), (600, 3), (4, 3, 2, 2), (9, 24, 7, 5), (40, 32, 16, 16))


def normal(*shape: int, dtype: torch.dtype = torch.float64, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(dtype)


def laid_out(x: Tensor) -> Tensor:
    return x.contiguous(memory_format=torch.channels_last) if x.dim() == 4 else x


def sample(shape: tuple[int, ...], dtype: torch.dtype, seed: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    """x with a mean and a deviation, and weights and biases of both signs, in the dtypes that go together."""
    numbers = torch.float64 if dtype == torch.float64 else torch.float32
    x = laid_out((normal(*shape, seed=seed) * 2 + 1.5).to(dtype))
    return x, normal(shape[1], dtype=numbers, seed=seed + 1), normal(shape[1], dtype=numbers, seed=seed + 2)


def wide(*tensors: Tensor) -> list[Tensor]:
    return [x.detach().double().requires_grad_() for x in tensors]


def mask_of(rng_state: Tensor, like: Tensor, p: float) -> Tensor:
    mask = torch.empty_like(like, dtype=torch.bool)
    mask.as_strided((mask.numel(),), (1,)).copy_(kept(rng_state, like.numel(), p) if p else torch.tensor(True))
    return mask


def exact(x: Tensor, weight: Tensor, bias: Tensor, mask: Tensor, p: float, slope: float = SLOPE) -> Tensor:
    scale = 1 / (1 - round(p * 65536) / 65536)
    z = F.batch_norm(x, None, None, weight, bias, training=True, eps=EPS)
    return F.leaky_relu(z, slope) * mask * scale


def moments(x: Tensor) -> tuple[Tensor, Tensor]:
    by_channel = x.double().transpose(0, 1).flatten(1)
    return by_channel.mean(1), by_channel.var(1, correction=0)


def assert_near(got: Tensor, want: Tensor, what: str, size: float = 0.0) -> None:
    """Within some roundings of numbers as large as the largest, or of this size."""
    rounding = 1e-14 if got.dtype == torch.float64 else 3e-6
    limit = rounding * max(want.abs().max().item(), size)
    assert_within(got, want, limit + half_step(want, got.dtype) * (1 + 1e-6), what)


# --- Values and gradients


@dtypes
@pytest.mark.parametrize("p", [0.0, 0.3])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_values_and_gradients_are_those_of_float64(shape, p, dtype):
    x, weight, bias = (tensor.requires_grad_() for tensor in sample(shape, dtype))
    upstream = laid_out(normal(*shape, dtype=dtype, seed=9))
    torch.manual_seed(5)
    y, mean, variance = batch_norm_leaky_dropout(x, weight, bias, p)
    assert (y.dtype, y.stride()) == (dtype, x.stride())
    torch.manual_seed(5)
    rng_state = torch.ops.amgan_fast.native_leaky_dropout(torch.empty_like(x.detach()), 0.5, SLOPE)[1]
    mask = mask_of(rng_state, x, p)
    inputs = wide(x, weight, bias)
    want = exact(*inputs, mask, p)
    means, variances = moments(x)
    deviation = (variances + EPS).sqrt()
    condition = 1 + (means.abs() / deviation).max().item()  # the mean is kept in the precision of the sums
    assert_near(y, want, "values", condition)
    upstream = upstream.masked_fill(want.detach().abs() < 1e-5, 0)  # where rounding may choose the other factor
    gradients = torch.autograd.grad(y, (x, weight, bias), upstream)
    wanted = torch.autograd.grad(want, inputs, upstream.double())
    sizes = ((weight.detach().abs() / deviation).max(), *(math.sqrt(x.numel() / shape[1]) * torch.ones(2)))
    for name, got, exactly, size in zip(("x", "weight", "bias"), gradients, wanted, sizes, strict=True):
        assert_near(got, exactly, f"gradient of {name}", size.item() * condition * upstream.abs().max().item())
    for got, exactly in zip((mean, variance), (means, variances), strict=True):
        assert_near(got, exactly, "moments")
        assert not got.requires_grad


@pytest.mark.parametrize("shape", [(33, 17), (9, 24, 7, 5)], ids=str)
def test_it_drops_what_leaky_dropout_drops(shape):
    """Forward and backward, from the same seed."""
    x, weight, bias = (tensor.requires_grad_() for tensor in sample(shape, torch.float32))
    results = []
    for fused in (True, False):
        torch.manual_seed(3)
        if fused:
            y = batch_norm_leaky_dropout(x, weight, bias, 0.5)[0]
        else:
            y = leaky_dropout(F.batch_norm(x, None, None, weight, bias, training=True), 0.5)
        results.append((y.detach(), torch.autograd.grad(y, bias, torch.ones_like(y))[0], torch.get_rng_state()))
    (got, gradient, state), (want, other_gradient, other_state) = results
    assert torch.equal(got == 0, want == 0)
    assert_near(gradient, other_gradient.double(), "gradient of bias")
    assert torch.equal(state, other_state)


LAYOUTS = [
    pytest.param(lambda x: x.contiguous(), id="contiguous"),
    pytest.param(lambda x: x.repeat(1, 1, 1, 2)[..., ::2], id="sliced"),
    pytest.param(lambda x: x[:, :, :, 0], id="three dimensions"),
]


@pytest.mark.parametrize("layout", LAYOUTS)
def test_other_layouts_give_the_same_numbers(layout, device):
    x, weight, bias = (tensor.to(device) for tensor in sample((6, 4, 3, 5), torch.float64))
    given = layout(x).requires_grad_()
    y, mean, variance = batch_norm_leaky_dropout(given, weight, bias, 0.0, 0.1, 1e-3)
    (inputs,) = wide(given)
    want = F.leaky_relu(F.batch_norm(inputs, None, None, weight, bias, training=True, eps=1e-3), 0.1)
    upstream = normal(*want.shape, seed=4).to(device)
    assert_near(y, want, "values")
    gradients = (torch.autograd.grad(out, start, upstream)[0] for out, start in ((y, given), (want, inputs)))
    assert_near(*gradients, "gradient")
    for got, exactly in zip((mean, variance), moments(given), strict=True):
        assert_within(got, exactly, 1e-12, "moments")


def test_a_gradient_in_another_layout():
    x, weight, bias = sample((6, 4, 3, 5), torch.float64)
    x.requires_grad_()
    y = batch_norm_leaky_dropout(x, weight, bias)[0]
    upstream = normal(*x.shape, seed=4)
    first, second = (torch.autograd.grad(y, x, g, retain_graph=True) for g in (upstream, laid_out(upstream)))
    assert_same(first, second)


@dtypes
def test_weights_in_the_dtype_of_x(dtype):
    x, weight, bias = sample((8, 6), dtype)
    got, mean, variance = batch_norm_leaky_dropout(x, weight.to(dtype), bias.to(dtype))
    want = exact(x.double(), weight.to(dtype).double(), bias.to(dtype).double(), torch.ones_like(x), 0.0)
    assert {got.dtype, mean.dtype, variance.dtype} == {dtype}
    assert_within(got, want, 2e-2 if dtype in (torch.float16, torch.bfloat16) else 1e-5, "values")


# --- Statistics


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_channels_far_from_zero_keep_their_variance(dtype):
    x = (normal(5000, 20) + torch.linspace(-1e3, 1e3, 20, dtype=torch.float64)).to(dtype)
    _, mean, variance = batch_norm_leaky_dropout(x, *(torch.ones(20, dtype=dtype) for _ in range(2)))
    means, variances = moments(x)
    assert_within(mean, means, 1e-7 * means.abs().max(), "mean")
    assert_within(variance, variances, 1e-6 * variances, "variance")


@pytest.mark.parametrize("layout", [*LAYOUTS, pytest.param(laid_out, id="channels last")])
def test_a_small_variance_in_any_layout(layout):
    x = layout(laid_out(1e-5 * normal(100, 3, 8, 8, dtype=torch.float32)))
    variance = batch_norm_leaky_dropout(x, torch.ones(3), torch.zeros(3))[2]
    want = moments(x)[1]
    assert_within(variance, want, 3e-6 * want, "variance")


@pytest.mark.parametrize("channels", [1, 3, 8, 32])
def test_a_first_row_far_off_costs_no_digits(channels):
    x = normal(20_000, channels, dtype=torch.float32)
    x[0] = 3e3
    variance = batch_norm_leaky_dropout(x, torch.ones(channels), torch.zeros(channels))[2]
    want = moments(x)[1]
    assert_within(variance, want, 3e-6 * want, "variance")


def test_a_constant_channel_has_variance_0():
    x = torch.full((100, 3), 7.0)
    y, mean, variance = batch_norm_leaky_dropout(x, torch.ones(3), torch.full((3,), 0.5))
    assert torch.equal(variance, torch.zeros(3))
    assert torch.equal(mean, x[0])
    assert torch.equal(y, torch.full((100, 3), 0.5))


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_what_is_not_finite_stays_in_its_channel(value):
    x, weight, bias = sample((50, 19), torch.float32)
    want = batch_norm_leaky_dropout(x, weight, bias)[0]
    x[17, 4] = value
    got = batch_norm_leaky_dropout(x, weight, bias)[0]
    assert got[:, 4].isnan().all()
    others = [c for c in range(19) if c != 4]
    assert_same(got[:, others], want[:, others])


@pytest.mark.parametrize("p", [0.0, 0.3])
def test_any_number_of_threads_gives_the_same_bits(p, threads):
    x, weight, bias = (tensor.requires_grad_() for tensor in sample((40, 32, 16, 16), torch.float32))
    results = []
    for count in (1, 2):
        threads(count)
        torch.manual_seed(5)
        y, mean, variance = batch_norm_leaky_dropout(x, weight, bias, p)
        results.append((y.detach(), mean, variance, *torch.autograd.grad(y, (x, weight, bias), x.detach())))
    assert_same(*results)


# --- Derivatives and what is kept for them


@pytest.mark.parametrize(("p", "slope", "eps"), [(0.0, 0.2, 1e-5), (0.3, 0.2, 1e-5), (0.3, 0.0, 1e-2)])
def test_gradcheck(p, slope, eps):
    inputs = tuple(tensor.requires_grad_() for tensor in sample((3, 2, 2, 3), torch.float64))

    def call(*tensors: Tensor) -> Tensor:
        torch.manual_seed(7)
        return batch_norm_leaky_dropout(*tensors, p, slope, eps)[0]

    assert torch.autograd.gradcheck(call, inputs)
    assert torch.autograd.gradgradcheck(call, inputs)


@pytest.mark.parametrize("p", [0.0, 0.3])
def test_a_gradient_to_be_differentiated_is_the_same_gradient(p):
    """Also of values at zero, whose sign rounding decides, once."""
    x = (normal(100, 40, dtype=torch.float32) + 1000).requires_grad_()
    x.data[:, :20] = normal(20, dtype=torch.float32)  # constant channels
    weight, bias = torch.ones(40, requires_grad=True), torch.zeros(40, requires_grad=True)
    y = batch_norm_leaky_dropout(x, weight, bias, p)[0]
    gradients = [
        torch.autograd.grad(y, (x, weight, bias), torch.ones_like(y), create_graph=create, retain_graph=True)
        for create in (False, True)
    ]
    assert gradients[1][0].requires_grad
    torch.testing.assert_close(*gradients, rtol=1e-4, atol=1e-2)


def test_x_alone_is_kept():
    x, weight, bias = (tensor.requires_grad_() for tensor in sample((50, 8), torch.float32))
    saved = []
    with torch.autograd.graph.saved_tensors_hooks(lambda t: saved.append(t) or t, lambda t: t):
        batch_norm_leaky_dropout(x, weight, bias, 0.3)
    assert sum(tensor.nbytes for tensor in saved) == x.nbytes + 4 * weight.nbytes + 16


# --- Inside PyTorch


def calls() -> list[tuple[object, tuple[object, ...]]]:
    x, weight, bias = sample((3, 5), torch.float32)
    _, mean, variance, rng_state = native(x, weight, bias, 0.3, SLOPE, EPS)
    inputs = [tensor.requires_grad_() for tensor in (x, weight, bias)]
    return [
        (native, (*inputs, 0.3, SLOPE, EPS)),
        (native_backward, (torch.ones_like(x), x.detach(), weight.detach(), bias.detach(), mean, variance, rng_state)),
        (composite, (*inputs, 0.3)),
        (composite, (normal(2, 5, 3, dtype=torch.float32).requires_grad_(), *inputs[1:])),
    ]


@pytest.mark.parametrize("index", range(4))
def test_opcheck(index):
    overload, args = calls()[index]
    torch.library.opcheck(overload, (*args, 0.3, SLOPE, EPS) if overload is native_backward else args)


@dtypes
def test_meta_and_fake_tensors_have_the_shapes_of_real_ones(dtype):
    x, weight, bias = sample((4, 6, 5, 7), dtype)
    want = [(tuple(t.shape), t.dtype, t.stride()) for t in batch_norm_leaky_dropout(x, weight, bias, 0.3)]
    state = torch.get_rng_state()
    for device in ("meta", "cpu", "cuda"):
        with FakeTensorMode(allow_non_fake_inputs=True):
            given = [torch.empty_strided(t.shape, t.stride(), dtype=t.dtype, device=device) for t in (x, weight, bias)]
            got = as_tuple(batch_norm_leaky_dropout(*given, 0.3))
            assert [(tuple(t.shape), t.dtype, t.stride()) for t in got] == want
            assert {t.device.type for t in got} == {device}
    assert torch.equal(torch.get_rng_state(), state)


EVERY_PATH = pytest.mark.parametrize(
    "x",
    [
        normal(9, 5, dtype=torch.float32),
        laid_out(normal(3, 5, 4, 4, dtype=torch.float32)),
        normal(3, 5, 4, 4, dtype=torch.float32),
        normal(3, 5, 4, 4, dtype=torch.bfloat16),
    ],
    ids=["rows", "channels last", "channels first", "half precision"],
)


def spread(tensor: Tensor) -> Tensor:
    """The same values, with gaps between them."""
    return torch.stack([tensor, tensor + 1], -1)[..., 0]


def outcome(x: Tensor, weight: Tensor, bias: Tensor, upstream: Tensor | None = None) -> tuple[Tensor, ...]:
    """Values and gradients, with the same elements dropped in every call."""
    torch.manual_seed(3)
    leaves = [tensor.detach().requires_grad_() for tensor in (x, weight, bias)]
    values = batch_norm_leaky_dropout(*leaves, 0.3)
    gradients = torch.autograd.grad(values[0], leaves, values[0].detach() if upstream is None else upstream)
    return (*(value.detach() for value in values), *gradients)


@EVERY_PATH
def test_strided_weights_are_as_good_as_contiguous_ones(x):
    weight, bias = (torch.linspace(a, 2, x.size(1)) for a in (0.5, -1))
    want = outcome(x, weight, bias)
    for stride in (2, 16):
        between = torch.full((2, x.size(1), stride), math.nan)
        between[0, :, 0], between[1, :, 0] = weight, bias
        got = outcome(x, between[0, :, 0], between[1, :, 0])
        assert_same(got, want, f"stride {stride}")


@EVERY_PATH
def test_saved_tensors_may_come_back_in_another_layout(x):
    """As those of torch.autograd.graph.save_on_cpu(pin_memory=True) do: they are contiguous."""
    weight, bias = (torch.linspace(a, 2, x.size(1)) for a in (0.5, -1))
    want = outcome(x, weight, bias)
    # torch's own sums are in the order of memory, and its gradients of strided half precision rounded in between.
    within = {"rtol": 0.02, "atol": 0.2} if x.dtype == torch.bfloat16 else {}
    for pack in (torch.Tensor.contiguous, spread):
        with torch.autograd.graph.saved_tensors_hooks(pack, lambda saved: saved):
            torch.testing.assert_close(outcome(x, weight, bias), want, **within)


@EVERY_PATH
def test_zero_tensors_are_tensors_of_zeros(x):
    weight, bias = (torch.linspace(a, 2, x.size(1)) for a in (0.5, -1))
    upstream = torch._efficientzerotensor(x.shape, dtype=x.dtype)
    for gradient in outcome(x, weight, bias, upstream)[3:]:
        assert not gradient.any()
    for place in range(3):
        given = [x, weight, bias]
        plain = given.copy()
        given[place] = torch._efficientzerotensor(plain[place].shape, dtype=plain[place].dtype)
        plain[place] = torch.zeros_like(plain[place])
        for p in (0.0, 0.3):
            results = []
            for arguments in (given, plain):
                torch.manual_seed(3)
                results.append(batch_norm_leaky_dropout(*arguments, p)[:2])
            if place == 0:  # the zero tensor has no layout, so that other elements of the bias are dropped
                results = [(result[1],) for result in results]
            assert_same(*results, f"place {place}")


@EVERY_PATH
def test_gradients_of_any_kind_equal_plain_ones(x):
    weight, bias = (torch.linspace(a, 2, x.size(1)) for a in (0.5, -1))
    upstream = normal(*x.shape, dtype=x.dtype, seed=1)
    want = outcome(x, weight, bias, upstream)
    assert_same(outcome(x, weight, bias, torch._neg_view(-upstream)), want, "negative bit")
    torch.manual_seed(3)
    leaves = [tensor.detach().requires_grad_() for tensor in (x, weight, bias)]
    value = batch_norm_leaky_dropout(*leaves, 0.3)[0]
    batched = torch.autograd.grad(value, leaves, torch.stack([upstream, upstream]), is_grads_batched=True)
    for gradients, alone in zip(batched, want[3:], strict=True):
        for gradient in gradients:
            assert_near(gradient, alone, "batched", 1.0)


def test_compiled_autograd_takes_the_backward_as_one_graph():
    torch.compiler.reset()
    tensors = [tensor.requires_grad_() for tensor in sample((9, 24), torch.float32)]
    value = batch_norm_leaky_dropout(*tensors, 0.3)[0].square().sum()
    want = torch.autograd.grad(value, tensors, retain_graph=True)
    with torch._dynamo.compiled_autograd._enable(partial(torch.compile, backend="aot_eager", fullgraph=True)):
        value.backward()
    assert_same(tuple(tensor.grad for tensor in tensors), want)
    torch.compiler.reset()


@pytest.mark.parametrize("shape", [(9, 5), (6, 5, 4, 3)], ids=str)
def test_sizes_may_be_unknown_while_tracing(shape):
    torch.compiler.reset()

    def step(*tensors: Tensor) -> Tensor:
        return batch_norm_leaky_dropout(*tensors)[0].square().sum()

    compiled = torch.compile(step, backend="aot_eager", fullgraph=True)
    for more in (0, 3):
        tensors = [tensor.requires_grad_() for tensor in sample((shape[0] + more, *shape[1:]), torch.float32)]
        torch._dynamo.decorators.mark_unbacked(tensors[0], 0)
        got, want = (torch.autograd.grad(f(*tensors), tensors) for f in (compiled, step))
        for a, b in zip(got, want, strict=True):
            assert_within(a, b, 1e-4, f"{more} more")
    torch.compiler.reset()


@pytest.mark.filterwarnings("ignore:There is a performance drop")
@pytest.mark.parametrize("layout", [torch.clone, laid_out])
def test_vmap_equals_a_loop_and_drops_as_it_is_told(layout):
    x = layout(normal(4, 6, 5, 7, dtype=torch.float32))
    images = torch.stack([x, 2 * x, x - 1])
    weight, bias = torch.linspace(0.5, 2, 6), torch.linspace(-1, 1, 6)
    got = torch.vmap(lambda x: batch_norm_leaky_dropout(x, weight, bias))(images)
    for i, image in enumerate(images):
        for a, b in zip(got, batch_norm_leaky_dropout(image, weight, bias), strict=True):
            assert_within(a[i], b, 2e-6 * (1 + b.abs()), f"image {i}")
    with pytest.raises(RuntimeError, match="called random operation while in randomness error mode"):
        torch.vmap(lambda x: batch_norm_leaky_dropout(x, weight, bias, 0.3))(images)
    for randomness in ("same", "different"):
        dropped = torch.vmap(lambda x: batch_norm_leaky_dropout(x, weight, bias, 0.3)[0], randomness=randomness)
        mask = dropped(images) == 0
        assert 0.2 < mask.double().mean() < 0.4
        assert bool((mask[0] == mask[1]).all()) == (randomness == "same")


def test_compiled_as_a_whole():
    torch.compiler.reset()
    x, weight, bias = (tensor.requires_grad_() for tensor in sample((9, 24, 7, 5), torch.float32))

    def step(*tensors: Tensor) -> Tensor:
        return batch_norm_leaky_dropout(*tensors, 0.3)[0].square().mean()

    results = []
    for function in (step, torch.compile(step, backend="aot_eager", fullgraph=True)):
        torch.manual_seed(4)
        value = function(x, weight, bias)
        results.append((value.detach(), *torch.autograd.grad(value, (x, weight, bias))))
    assert_same(*results)
    torch.compiler.reset()


@pytest.mark.parametrize(
    ("error", "message", "changes"),
    [
        (TypeError, "x has dtype Long", {"x": torch.ones(4, 3, dtype=torch.long)}),
        (ValueError, r"x has shape \[3\], wanted \[N, C, ...\] with a channel", {"x": torch.ones(3)}),
        (ValueError, r"x has shape \[4, 0\], wanted \[N, C, ...\] with a channel", {"x": torch.ones(4, 0)}),
        (ValueError, r"x has shape \[1, 3\], wanted at least 2 values a channel", {"x": torch.ones(1, 3)}),
        (TypeError, "weight has dtype Double, wanted Float or that of x", {"weight": torch.ones(3).double()}),
        (TypeError, "bias has dtype Double and weight Float, wanted the same", {"bias": torch.ones(3).double()}),
        (ValueError, r"bias has shape \[2\] and weight \[3\], wanted the same", {"bias": torch.ones(2)}),
        (ValueError, "weight is on meta and x on cpu", {"weight": torch.ones(3, device="meta")}),
        (ValueError, "p is 1.5", {"p": 1.5}),
        (ValueError, "slope is -1, wanted a finite number that is at least 0", {"slope": -1.0}),
        (ValueError, "eps is 0, wanted a positive finite number", {"eps": 0.0}),
    ],
)
def test_errors_name_the_argument(error, message, changes):
    arguments = {"x": torch.ones(4, 3), "weight": torch.ones(3), "bias": torch.ones(3)}
    with pytest.raises(error, match=f"batch_norm_leaky_dropout: {message}"):
        batch_norm_leaky_dropout(**(arguments | changes))


@pytest.mark.parametrize(
    ("place", "message", "tensor"),
    [
        (0, r"grad_output has shape \[3, 5\] and x \[4, 3\]", torch.ones(3, 5)),
        (1, "x has strides", torch.ones(3, 4).T),
        (2, r"weight has strides \[2\], wanted contiguous numbers", torch.ones(6)[::2]),
        (4, "mean has dtype Double and weight Float", torch.ones(3).double()),
        (5, r"variance has shape \[4\] and weight \[3\]", torch.ones(4)),
        (6, r"rng_state has shape \[3\], wanted \[2\]", torch.ones(3).long()),
    ],
)
def test_backward_refuses_what_does_not_belong_together(place, message, tensor):
    x, numbers = torch.ones(4, 3), torch.ones(3)
    arguments = [x, x, numbers, numbers, numbers, numbers, torch.zeros(2).long()]
    arguments[place] = tensor
    with pytest.raises((TypeError, ValueError), match=f"native_batch_norm_leaky_dropout_backward: {message}"):
        native_backward(*arguments, 0.3, SLOPE, EPS)


# --- The layer


def pair(norm: nn.Module, p: float = 0.0) -> tuple[nn.Module, nn.Module]:
    """The layer, and the same of torch's layers."""
    return BatchNormLeakyReLUDropout(norm, p, 0.1), nn.Sequential(copy.deepcopy(norm), nn.LeakyReLU(0.1), nn.Dropout(p))


@pytest.mark.parametrize("tracked", [True, False])
@pytest.mark.parametrize("shape", [(12, 7), (6, 7, 4, 3)], ids=str)
def test_the_layer_keeps_the_statistics_that_batch_norm_keeps(shape, tracked):
    make = nn.BatchNorm2d if len(shape) == 4 else nn.BatchNorm1d
    layer, plain = pair(make(7, track_running_stats=tracked, dtype=torch.float64))
    for seed in range(3):
        x = sample(shape, torch.float64, seed)[0]
        torch.testing.assert_close(layer(x), plain(x))
    torch.testing.assert_close(list(layer.buffers()), list(plain.buffers()))
    assert [name.removeprefix("norm.") for name in layer.state_dict()] == [
        name.removeprefix("0.") for name in plain.state_dict()
    ]
    x = sample(shape, torch.float64, 9)[0]
    torch.testing.assert_close(layer.eval()(x), plain.eval()(x))
    torch.testing.assert_close(list(layer.buffers()), list(plain.buffers()))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=dtype_name)
def test_a_layer_that_is_of_half_precision_as_a_whole(dtype):
    layer, plain = (module.to(dtype) for module in pair(nn.BatchNorm2d(7)))
    x = sample((6, 7, 4, 3), dtype)[0]
    torch.testing.assert_close(layer(x), plain(x))
    torch.testing.assert_close(list(layer.buffers()), list(plain.buffers()))


def test_the_layer_drops_in_training_alone():
    layer, plain = pair(nn.BatchNorm1d(7, track_running_stats=False), 0.5)
    x = sample((200, 7), torch.float32)[0]
    assert 0.4 < (layer(x) == 0).double().mean() < 0.6
    torch.testing.assert_close(layer.eval()(x), plain.eval()(x))


def scaled(norm: nn.Module) -> nn.Module:
    class Scaled(type(norm)):
        def forward(self, x):
            return 3 * super().forward(x)

    return Scaled(7)


def hooked(norm: nn.Module) -> nn.Module:
    norm.register_forward_hook(lambda module, inputs, output: 3 * output)
    return norm


def untracked(norm: nn.Module) -> nn.Module:
    norm.track_running_stats = False
    return norm


@pytest.mark.parametrize(
    "norm",
    [
        lambda: scaled(nn.BatchNorm1d(7)),
        lambda: hooked(nn.BatchNorm1d(7)),
        lambda: untracked(nn.BatchNorm1d(7)),
        lambda: nn.BatchNorm1d(7, affine=False),
        lambda: nn.BatchNorm1d(7, momentum=None),
    ],
    ids=["subclass", "hook", "untracked", "no affine", "cumulative average"],
)
def test_a_norm_of_another_kind_does_what_it_does(norm):
    layer, plain = pair(norm())
    for seed in range(2):
        x = sample((12, 7), torch.float32, seed)[0]
        torch.testing.assert_close(layer(x), plain(x))
    torch.testing.assert_close(list(layer.buffers()), list(plain.buffers()))


def test_images_are_no_rows():
    layer, _ = pair(nn.BatchNorm2d(3))
    with pytest.raises(ValueError, match="expected 4D input"):
        layer(torch.ones(4, 3))


def test_a_norm_that_has_been_replaced_is_called():
    """As nn.SyncBatchNorm.convert_sync_batchnorm replaces it."""
    layer, _ = pair(nn.BatchNorm2d(4))
    converted = nn.SyncBatchNorm.convert_sync_batchnorm(layer)
    assert isinstance(converted.norm, nn.SyncBatchNorm)
    layer.norm = nn.Identity()
    x = laid_out(normal(2, 4, 3, 3))
    torch.testing.assert_close(layer(x), F.leaky_relu(x, 0.1))
