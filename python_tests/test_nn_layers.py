"""Layers and reparametrizations: minibatch discrimination, virtual batch norm, weight norm, input noise."""

from __future__ import annotations

import copy
import math
from contextlib import nullcontext

import pytest
import torch
from checking import Trace
from layer_outputs import WEIGHTED, layer_outputs
from torch import nn
from torch.nn.functional import batch_norm
from torch.nn.utils import parametrizations, parametrize

from amgan_fast.nn import (
    MinibatchDiscrimination,
    ReferenceBatch,
    VirtualBatchNorm,
    apply_weight_norm,
    init_from_data,
    set_reference_batch,
)
from amgan_fast.nn.layers import InputNoise

# Minibatch discrimination


def naive_minibatch_discrimination(features, tensor):
    """Salimans et al., section 3.2, as printed; tensor: T, [A, B, C]."""
    rows, kernels = len(features), tensor.size(1)
    matrices = torch.einsum("na,abc->nbc", features, tensor)
    nearness = torch.zeros(rows, kernels, dtype=features.dtype)
    for i in range(rows):
        for b in range(kernels):
            others = [torch.exp(-(matrices[i, b] - matrices[j, b]).abs().sum()) for j in range(rows) if j != i]
            nearness[i, b] = sum(others)
    return torch.cat([features, nearness], 1)


def minibatch_layer(features: int, kernels: int, dimensions: int) -> tuple[MinibatchDiscrimination, torch.Tensor]:
    """The layer in float64, and its T as [A, B, C]."""
    layer = MinibatchDiscrimination(features, kernels, dimensions).double()
    return layer, layer.projection.weight.T.reshape(features, kernels, dimensions)


def test_minibatch_discrimination_is_the_printed_formula(generator):
    layer, tensor = minibatch_layer(features=6, kernels=4, dimensions=3)
    features = torch.randn(7, 6, generator=generator, dtype=torch.float64, requires_grad=True)
    got, want = layer(features), naive_minibatch_discrimination(features, tensor)
    torch.testing.assert_close(got, want, rtol=1e-12, atol=1e-12)
    upstream = torch.randn(got.shape, generator=generator, dtype=torch.float64)
    inputs = [features, layer.projection.weight]
    torch.testing.assert_close(
        torch.autograd.grad(got, inputs, upstream), torch.autograd.grad(want, inputs, upstream), rtol=1e-11, atol=1e-12
    )


def test_minibatch_discrimination_counts_the_copies_of_a_collapsed_batch(generator):
    layer, _ = minibatch_layer(features=5, kernels=3, dimensions=2)
    row = torch.randn(1, 5, generator=generator, dtype=torch.float64)
    torch.testing.assert_close(layer(row.expand(9, 5))[:, 5:], torch.full((9, 3), 8.0, dtype=torch.float64))
    assert layer(row)[:, 5:].abs().max() == 0


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_minibatch_discrimination_returns_the_dtype_of_its_features(dtype, generator):
    layer = MinibatchDiscrimination(6, 4, 3).to(dtype)
    features = torch.randn(7, 6, generator=generator).to(dtype)
    got = layer(features)
    assert got.dtype == dtype
    tensor = layer.projection.weight.double().T.reshape(6, 4, 3)
    # Half precision: the projection's rounding moves distances by a few 2^-8, and the sum by as much of itself.
    tolerance = 1e-5 if dtype == torch.float32 else 0.05
    want = naive_minibatch_discrimination(features.double(), tensor)
    torch.testing.assert_close(got.double(), want, rtol=tolerance, atol=tolerance)


# Virtual batch norm


def naive_virtual_batch_norm(rows, size, weight, bias):
    """torch's batch norm over the reference batch, and over it and each row in turn."""
    reference = rows[:size]

    def normalize(batch):
        return batch_norm(batch, None, None, weight, bias, training=True)

    each = [normalize(torch.cat([reference, rows[i : i + 1]]))[-1:] for i in range(size, len(rows))]
    return torch.cat([normalize(reference), *each])


@pytest.mark.parametrize("positions", [(), (3, 5)], ids=["rows", "images"])
def test_virtual_batch_norm_is_batch_norm_of_the_reference_and_the_row(positions, generator):
    layer = VirtualBatchNorm(4).double()
    layer.reference_size = 6
    with torch.no_grad():
        layer.weight.normal_(generator=generator)
        layer.bias.normal_(generator=generator)
    rows = torch.randn(9, 4, *positions, generator=generator, dtype=torch.float64)
    rows[6:] = 3 * rows[6:] + 1  # rows that are not like the reference
    rows.requires_grad_()
    got, want = layer(rows), naive_virtual_batch_norm(rows, 6, layer.weight, layer.bias)
    torch.testing.assert_close(got, want, rtol=1e-11, atol=1e-11)
    upstream = torch.randn(got.shape, generator=generator, dtype=torch.float64)
    inputs = [rows, layer.weight, layer.bias]
    torch.testing.assert_close(
        torch.autograd.grad(got, inputs, upstream), torch.autograd.grad(want, inputs, upstream), rtol=1e-9, atol=1e-10
    )


def test_virtual_batch_norm_far_from_zero_does_not_cancel(generator):
    """E[x^2] - E[x]^2 in float32 would leave nothing of a variance of 1 beside a mean of 10,000."""
    layer = VirtualBatchNorm(2)
    layer.reference_size = 50
    rows = 1e4 + torch.randn(60, 2, 4, 4, generator=generator)
    want = naive_virtual_batch_norm(rows.double(), 50, layer.weight.double(), layer.bias.double())
    # Half a unit in the last place of 10,000 is 5e-4.
    torch.testing.assert_close(layer(rows).double(), want, rtol=0, atol=5e-3)


def test_virtual_batch_norm_computes_half_precision_in_float32(generator):
    layer = VirtualBatchNorm(3)
    layer.reference_size = 20
    rows = torch.randn(30, 3, 4, 4, generator=generator).bfloat16()
    got = layer(rows)
    want = naive_virtual_batch_norm(rows.double(), 20, layer.weight.double(), layer.bias.double())
    assert got.dtype == torch.bfloat16
    torch.testing.assert_close(got.double(), want, rtol=2**-8, atol=1e-5)


def reference_layers() -> ReferenceBatch:
    return ReferenceBatch(nn.Sequential(nn.Linear(4, 5), VirtualBatchNorm(5), nn.Tanh()), (4,))


@pytest.mark.parametrize("training", [True, False])
def test_a_row_does_not_depend_on_the_others_of_its_batch(training, generator):
    network = reference_layers().train(training)
    set_reference_batch(network, torch.randn(6, 4, generator=generator))
    rows = torch.randn(3, 4, generator=generator)
    got = network(rows)
    assert got.shape == (3, 5)
    for i in range(3):
        torch.testing.assert_close(network(rows[i : i + 1]), got[i : i + 1])


def test_the_reference_batch_is_a_copy_that_the_state_dict_carries(generator):
    network = reference_layers()
    batch, rows = torch.randn(6, 4, generator=generator), torch.randn(3, 4, generator=generator)
    set_reference_batch(network, batch)
    want = network(rows)
    batch.zero_()
    assert torch.equal(network(rows), want)
    loaded = reference_layers()
    loaded.load_state_dict(network.state_dict())
    assert torch.equal(loaded(rows), want)
    assert torch.equal(copy.deepcopy(loaded)(rows), want)


def test_a_reference_batch_that_cannot_be_used(generator):
    network = reference_layers()
    with pytest.raises(RuntimeError, match="no reference batch, wanted set_reference_batch"):
        network(torch.zeros(3, 4))
    with pytest.raises(RuntimeError, match="no reference batch, wanted set_reference_batch"):
        VirtualBatchNorm(2)(torch.zeros(3, 2))
    with pytest.raises(ValueError, match=r"has shape \[6, 3\], wanted \[at least 2, 4\]"):
        set_reference_batch(network, torch.zeros(6, 3))
    with pytest.raises(ValueError, match=r"has shape \[1, 4\], wanted \[at least 2, 4\]"):
        set_reference_batch(network, torch.zeros(1, 4))
    with pytest.raises(ValueError, match="network has no virtual batch norm"):
        set_reference_batch(nn.Linear(4, 2), torch.zeros(6, 4))
    wider = ReferenceBatch(nn.Linear(7, 2), (7,))
    set_reference_batch(wider, torch.zeros(6, 7))
    with pytest.raises(RuntimeError, match="reference"):
        network.load_state_dict(wider.state_dict())


# Weight norm


LAYERS = {
    "linear": (lambda: nn.Linear(6, 4), 0, (50, 6)),
    "conv": (lambda: nn.Conv2d(3, 4, 3, padding=1), 0, (20, 3, 5, 5)),
    "deconv": (lambda: nn.ConvTranspose2d(3, 4, 3, stride=2), 1, (20, 3, 5, 5)),
}


@pytest.mark.parametrize("name", LAYERS)
def test_weight_norm_has_one_length_for_each_output_channel(name, generator):
    build, channel_dim, shape = LAYERS[name]
    layer = build()
    batch = torch.randn(shape, generator=generator)
    want = layer(batch)
    apply_weight_norm(layer)
    torch.testing.assert_close(layer(batch), want)
    with torch.no_grad():
        layer.parametrizations.weight.original0.copy_(torch.tensor([1.0, 2.0, 3.0, 4.0]).view_as(_lengths(layer)))
    lengths = layer.weight.movedim(channel_dim, 0).flatten(1).norm(dim=1)
    torch.testing.assert_close(lengths, torch.tensor([1.0, 2.0, 3.0, 4.0]))


@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("name", LAYERS)
def test_weight_norm_is_that_of_torch_also_where_two_passes_share_a_weight(name, memory_format, shared, generator):
    """Outputs, and gradients of g, v and the bias, of two passes and what comes of both."""
    build, channel_dim, shape = LAYERS[name]
    plain = build().double()
    ours = copy.deepcopy(plain)
    parametrizations.weight_norm(plain, dim=channel_dim)
    apply_weight_norm(ours)
    ours.to(memory_format=memory_format)
    batches = [torch.randn(shape, generator=generator, dtype=torch.float64) for _ in range(2)]
    upstream = torch.randn(plain(batches[0]).shape, generator=generator, dtype=torch.float64)
    with parametrize.cached() if shared else nullcontext(), Trace() as trace:
        outputs = [ours(batch) for batch in batches]
    norms = [name for name in trace.names if name.startswith(("aten::_weight_norm_interface", "aten::norm"))]
    assert len(norms) == (1 if shared else 2)
    wanted = [plain(batch) for batch in batches]
    for one, other in (outputs, wanted):
        (one.sin() * other * upstream).sum().backward()
    torch.testing.assert_close(outputs, wanted)
    gradients = [{name: p.grad for name, p in layer.named_parameters()} for layer in (ours, plain)]
    torch.testing.assert_close(*gradients)


@pytest.mark.parametrize("name", ["conv", "deconv"])
def test_weights_of_channels_last_are_so_themselves(name, generator):
    """The norm's own result is contiguous, which each convolution of such images would copy."""
    layer = LAYERS[name][0]()
    apply_weight_norm(layer)
    assert layer.weight.is_contiguous()
    layer.to(memory_format=torch.channels_last)
    assert layer.weight.is_contiguous(memory_format=torch.channels_last)
    assert not layer.weight.is_contiguous()


def _lengths(layer):
    return layer.parametrizations.weight.original0


def test_init_from_data_of_one_layer_is_the_papers_formula(generator):
    """Salimans and Kingma, section 3: with t = v . x / ||v||, g = 1 / sigma[t] and b = -mu[t] / sigma[t]."""
    layer = nn.Linear(6, 4)
    apply_weight_norm(layer)
    batch = 3 + 2 * torch.randn(200, 6, generator=generator)
    directions = layer.parametrizations.weight.original1.detach().double()
    t = batch.double() @ (directions / directions.norm(dim=1, keepdim=True)).T
    init_from_data(layer, batch)
    spread, mean = torch.std_mean(t, 0, correction=0)
    torch.testing.assert_close(_lengths(layer)[:, 0].double(), 1 / spread, rtol=1e-5, atol=0)
    torch.testing.assert_close(layer.bias.double(), -mean / spread, rtol=1e-5, atol=1e-5)


def test_init_from_data_goes_through_the_layers_in_order(generator):
    network = nn.Sequential(
        nn.Linear(5, 2 * 16),
        nn.Unflatten(1, (2, 4, 4)),
        nn.ReLU(),
        nn.ConvTranspose2d(2, 3, 4, stride=2, padding=1),
        nn.ReLU(),
        nn.Conv2d(3, 4, 3, bias=False),
    )
    apply_weight_norm(network)
    with torch.no_grad():  # whatever the weights were scaled with
        for layer in (network[0], network[3]):
            layer.bias.fill_(7)
            _lengths(layer).mul_(100)
    batch = torch.randn(100, 5, generator=generator)
    init_from_data(network, batch)
    outputs = layer_outputs(network, WEIGHTED, batch)
    assert len(outputs) == 3
    for i, output in enumerate(outputs):
        variance, mean = torch.var_mean(output.double(), [d for d in range(output.dim()) if d != 1], correction=0)
        torch.testing.assert_close(variance, torch.ones_like(variance), rtol=1e-4, atol=0, msg=f"layer {i}")
        if i < 2:  # the last layer has no bias
            torch.testing.assert_close(mean, torch.zeros_like(mean), rtol=0, atol=1e-5, msg=f"layer {i}")


def test_init_from_data_of_a_constant_channel_is_finite():
    layer = nn.Linear(3, 2)
    apply_weight_norm(layer)
    init_from_data(layer, torch.ones(10, 3))
    assert layer(torch.ones(10, 3)).isfinite().all()


def test_init_from_data_of_a_network_without_weight_norm():
    with pytest.raises(ValueError, match="network has no weight-normalized layer, wanted one built with weight_norm"):
        init_from_data(nn.Linear(3, 2), torch.ones(10, 3))


# Input noise


def test_input_noise_has_its_standard_deviation_in_training_only(generator):
    images = torch.randn(100, 1, 20, 20, generator=generator)
    layer = InputNoise(0.25)
    torch.manual_seed(0)
    noise = layer(images) - images
    count = noise.numel()
    assert abs(noise.std().item() / 0.25 - 1) < 5 / math.sqrt(2 * count)
    assert abs(noise.mean().item()) < 5 * 0.25 / math.sqrt(count)
    assert torch.equal(layer.eval()(images), images)


def test_input_noise_is_the_same_in_any_memory_format(generator):
    images = torch.randn(4, 3, 8, 8, generator=generator)
    layer, got = InputNoise(0.25), []
    for layout in (torch.contiguous_format, torch.channels_last):
        torch.manual_seed(0)
        got.append(layer(images.contiguous(memory_format=layout)))
    assert torch.equal(*got)
    assert got[1].is_contiguous(memory_format=torch.channels_last)
