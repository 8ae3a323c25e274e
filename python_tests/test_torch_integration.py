"""The operations inside PyTorch: schemas, fake tensors, torch.compile, autocast, threads, no synchronisation."""

from __future__ import annotations

import warnings
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import pytest
import test_batch_norm
import test_leaky_dropout
import test_values_in_torch_func
import torch
from checking import GRADIENT, LOSS, Trace, assert_same, assert_within, computing, with_gradient
from sample_inputs import CASES, DTYPES, LOSSES, Case, Sampler, as_tuple, by_name, dtype_name, floats, map_tensors
from torch._subclasses.fake_tensor import FakeTensorMode

from amgan_fast import ops

every_case = pytest.mark.parametrize("case", CASES, ids=by_name)
namespace = torch.ops.amgan_fast


# --- torch.library.opcheck


def opcheck(overload, args, keywords) -> None:
    torch.library.opcheck(overload, args, keywords)


@every_case
def test_opcheck(case: Case, device):
    for fake, reduction in zip(case.fake_modes(), ("mean", "none"), strict=False):
        args = case.build(Sampler(5, 4, fake, device=device))
        if case.differentiable:
            args = with_gradient(args)
        opcheck(case.overload(args), args, case.keywords(fake, reduction))


def backward_calls(device):
    sampler = Sampler(5, 4, device=device)
    real, labels, generated = sampler.logits(), sampler.labels(), sampler.logits(sampler.other_rows)
    logits, any_labels, classes = sampler.logits(), sampler.any_labels(), sampler.class_logits()
    coefficients = (0.7, -0.4, 1.1, -0.6, 0.9)
    smoothing = {"real_smoothing": 0.1, "fake_smoothing": 0.2, "class_smoothing": 0.3}
    rows, both, scalar = (torch.linspace(1, 2, n, device=device) for n in (5, 5 + sampler.other_rows, 1))
    kplus1, pair = namespace.kplus1_loss_backward.default, namespace.am_discriminator_loss_backward.default
    entropy, other_classes = namespace.class_entropy_backward.default, sampler.class_logits()
    kplus1_twice = namespace.kplus1_loss_double_backward.default
    entropy_twice = namespace.class_entropy_double_backward.default
    hinge, hinge_twice = (getattr(namespace, f"kplus1_hinge_loss_{x}backward").default for x in ("", "double_"))
    return [
        (kplus1, (scalar[0], logits, any_labels, coefficients), {}),
        (kplus1, (rows, logits, None, coefficients), {"fake": "zero", "reduction": "none", "fake_labels": False}),
        (kplus1, (scalar[0], logits, any_labels, coefficients), {"reduction": "sum", "label_smoothing": 0.1}),
        (pair, (scalar[0], real, labels, generated), smoothing),
        (pair, (both, real, labels, generated), {"fake": "zero", "reduction": "none"}),
        (entropy, (scalar[0], classes), {"reduction": "sum"}),
        (entropy, (rows, classes), {"reduction": "none"}),
        (kplus1_twice, (real, scalar[0], logits, any_labels, coefficients), {"reduction": "sum"}),
        (kplus1_twice, (real, rows, logits, None, coefficients), {"fake": "zero", "reduction": "none"}),
        (entropy_twice, (other_classes, scalar[0], classes), {}),
        (entropy_twice, (other_classes, rows, classes), {"reduction": "none"}),
        (hinge, (scalar[0], logits, any_labels), {"margin": 0.5}),
        (hinge, (rows, logits), {"fake": "zero", "reduction": "none"}),
        (hinge_twice, (real, scalar[0], logits, any_labels), {"reduction": "sum"}),
        (hinge_twice, (real, rows, logits), {"fake": "zero", "reduction": "none", "margin": 2.0}),
    ]


@pytest.mark.parametrize("index", range(15))
def test_opcheck_of_backward_operations(index, device):
    overload, args, keywords = backward_calls(device)[index]
    opcheck(overload, with_gradient(args), keywords)


REGISTERED = {name for name in torch._C._dispatch_get_all_op_names() if name.startswith("amgan_fast::")}


def test_no_operation_is_left_out():
    """Every operation that the extension registers is in the tables of these tests, or has tests like them."""
    sampler = Sampler()
    covered = {case.overload(case.build(sampler)) for case in CASES} | {call[0] for call in backward_calls("cpu")}
    covered |= test_leaky_dropout.OPERATIONS | test_batch_norm.OPERATIONS | test_values_in_torch_func.OPERATIONS.keys()
    assert {overload.name() for overload in covered} == REGISTERED


# --- Shapes and dtypes without data


def described(outputs):
    return [(tuple(x.shape), x.dtype, x.stride()) for x in as_tuple(outputs)]


@every_case
def test_meta_and_fake_tensors_have_the_shapes_of_real_ones(case: Case):
    for dtype in DTYPES:
        for rows in (0, 5):
            for fake in case.fake_modes():
                for reduction in case.reductions():
                    args = case.build(Sampler(rows, 4, fake, dtype))
                    keywords = case.keywords(fake, reduction)
                    want = described(case.fused()(*args, **keywords))
                    on_meta = case.fused()(*map_tensors(args, lambda x: x.to("meta")), **keywords)
                    assert described(on_meta) == want
                    with FakeTensorMode() as mode:
                        on_fake = case.fused()(*map_tensors(args, mode.from_tensor), **keywords)
                    assert described(on_fake) == want
                    assert all(x.device.type == "cpu" for x in as_tuple(on_fake))


def on_fake_cuda(args):
    return map_tensors(args, lambda x: torch.empty(x.shape, dtype=x.dtype, device="cuda"))


def test_fake_cuda_tensors_need_no_gpu():
    calls = [(case.overload(args := case.build(Sampler(5, 4))), args, case.options) for case in CASES]
    for overload, args, keywords in calls + backward_calls("cpu"):
        with FakeTensorMode():
            outputs = as_tuple(overload(*on_fake_cuda(args), **keywords))
        assert all(x.device.type == "cuda" for x in outputs)
        assert described(outputs) == described(overload(*args, **keywords))


# --- torch.compile


@pytest.fixture
def fresh_compiler():
    torch.compiler.reset()
    yield
    torch.compiler.reset()


def everything(sampler: Sampler, fake: str):
    """All cases in one function of their tensors, to be compiled as one graph, with those tensors."""
    chosen = [(case, case.build(sampler)) for case in CASES if fake in case.fake_modes()]

    def run(*tensors):
        given, outputs, losses = iter(tensors), [], []
        for case, args in chosen:
            rebuilt = [next(given) if isinstance(x, torch.Tensor) else x for x in args]
            for reduction in ("mean", "none") if case.has_reduction else ("none",):
                result = as_tuple(case.fused()(*rebuilt, **case.keywords(fake, reduction)))
                outputs.extend(result)
                if case.differentiable:
                    losses.append(result[0].mean() * (len(losses) + 1))
        return sum(losses), outputs

    return run, [x for _, args in chosen for x in args if isinstance(x, torch.Tensor)]


def value_and_gradients(run, tensors):
    tensors = with_gradient(tuple(tensors))
    total, outputs = run(*tensors)
    gradients = torch.autograd.grad(total, floats(tensors), allow_unused=True)
    return [x.detach() for x in outputs], [g for g in gradients if g is not None]


def assert_equal_results(got, want) -> None:
    # Values come from the same kernels; gradients of a mean of rows pass through code that the compiler may write.
    assert_same(tuple(got[0]), tuple(want[0]), "values")
    assert len(got[1]) == len(want[1])
    assert len(want[1]) >= len(LOSSES) - 1
    for i, (a, b) in enumerate(zip(got[1], want[1], strict=True)):
        assert_within(a, b, 1e-6 * b.abs() + 1e-7, f"gradient {i}")


@pytest.mark.parametrize("fake", ["column", "zero"])
def test_compiled_without_graph_breaks_equals_eager(fake, device, fresh_compiler):
    run, tensors = everything(Sampler(6, 5, fake, device=device), fake)
    compiled = torch.compile(run, backend="aot_eager", fullgraph=True)
    assert_equal_results(value_and_gradients(compiled, tensors), value_and_gradients(run, tensors))


@pytest.mark.slow  # its C++ compiler takes a minute
def test_compiled_by_inductor_equals_eager(device, fresh_compiler):
    run, tensors = everything(Sampler(6, 5, device=device), "column")
    compiled = torch.compile(run, fullgraph=True)
    assert_equal_results(value_and_gradients(compiled, tensors), value_and_gradients(run, tensors))


def every_loss(real, labels, generated):
    """One use of each operation, with a scalar loss of all differentiable ones first."""
    return (
        ops.am_discriminator_loss(real, labels, generated, real_smoothing=0.1)
        + ops.am_discriminator_loss(real, labels, generated, reduction="none").mean()
        + ops.am_generator_loss(generated)
        + ops.kplus1_cross_entropy(real, labels, label_smoothing=0.1)
        + ops.kplus1_cross_entropy(generated, "dynamic", label_smoothing=0.1, fake="zero")
        + ops.kplus1_cross_entropy(generated, "fake", label_smoothing=0.1)
        + ops.labelgan_generator_loss(generated, reduction="none").mean()
        + ops.class_entropy(generated, reduction="none").mean()
        + ops.kplus1_hinge_loss(generated)
        + ops.kplus1_hinge_loss(real, labels, fake="zero", reduction="none").mean(),
        *ops.kplus1_hinge_loss_and_grad(real, labels, margin=2.0),
        *ops.kplus1_terms(real, labels),
        *ops.am_discriminator_loss_and_grad(real, labels, generated),
        *ops.am_generator_loss_and_grad(generated),
        *ops.class_entropy_and_grad(generated),
        *ops.score_sums(generated, blocks=3),
    )


def batches(rows, other, classes, device):
    sampler = Sampler(rows, classes, other_rows=other, device=device)
    return with_gradient((sampler.logits(), sampler.labels(), sampler.logits(other)))


def assert_one_program(compiled, mark, sizes, device) -> None:
    """`compiled` gives for batches of all sizes what every_loss gives; `mark` is called with each input."""
    for shape in sizes:
        args = batches(*shape, device)
        for x in args:
            mark(x)
        got, want = compiled(*args), every_loss(*args)
        assert_same(got[1:], want[1:], f"{shape}")
        assert_within(got[0], want[0], LOSS[torch.float32].relative * want[0], f"{shape}")
        for a, b in zip(*(torch.autograd.grad(x[0], floats(args)) for x in (got, want)), strict=True):
            assert_within(a, b, GRADIENT[torch.float32].absolute, f"{shape}: gradient")


def compiled_whole(function):
    """The function compiled without graph breaks, and a list of the graphs made for it."""
    graphs = []

    def backend(graph, example_inputs):
        graphs.append(graph)
        return torch._dynamo.lookup_backend("aot_eager")(graph, example_inputs)

    return torch.compile(function, backend=backend, fullgraph=True), graphs


@pytest.mark.parametrize(
    ("dimensions", "sizes"),
    [((0,), ((6, 4, 5), (9, 5, 5), (31, 17, 5))), ((0, 1), ((6, 4, 5), (9, 5, 7), (31, 17, 12)))],
    ids=["rows", "rows and classes"],
)
def test_sizes_may_be_dynamic(dimensions, sizes, device, fresh_compiler):
    """One graph for every number of rows, and of classes."""

    def mark(x):
        for dimension in dimensions[: x.dim()]:
            torch._dynamo.mark_dynamic(x, dimension)

    compiled, graphs = compiled_whole(every_loss)
    assert_one_program(compiled, mark, sizes, device)
    assert len(graphs) == 1


def test_sizes_may_be_unknown_while_tracing(device, fresh_compiler):
    """Sizes that nothing may depend on, as those of data-dependent results are: checks become assertions."""

    def mark(x):
        for dimension in range(x.dim()):
            torch._dynamo.decorators.mark_unbacked(x, dimension)

    compiled, graphs = compiled_whole(every_loss)
    assert_one_program(compiled, mark, ((6, 4, 5), (1, 1, 7), (31, 17, 12)), device)
    assert len(graphs) == 1
    real, labels, generated = batches(6, 4, 5, device)
    with pytest.raises(RuntimeError, match=r"Runtime assertion failed|expected|size"):
        compiled(real, labels[:-1].clone(), generated)


def test_rows_chosen_while_the_graph_runs(device, fresh_compiler):
    """Boolean indexing: the number of rows is known when it runs."""

    def loss(logits, labels):
        chosen = labels < 3
        return ops.am_generator_loss(logits[chosen], labels[chosen]) + ops.class_entropy(logits[chosen])

    with torch._dynamo.config.patch(capture_dynamic_output_shape_ops=True):
        compiled, graphs = compiled_whole(loss)
        for rows in (9, 30):
            logits, labels = Sampler(rows, 5, device=device).logits(), torch.arange(rows, device=device) % 5
            logits.requires_grad_()
            torch._dynamo.mark_dynamic(logits, 0)
            torch._dynamo.mark_dynamic(labels, 0)
            results = [(x, *torch.autograd.grad(x, logits)) for x in (f(logits, labels) for f in (compiled, loss))]
            for a, b in zip(*results, strict=True):
                assert_within(a, b, 1e-6, f"{rows} rows")
        assert len(graphs) == 1


def test_blocks_and_offsets_may_be_dynamic(device, fresh_compiler):
    """One graph for a stream of batches, whose offset is that of the rows before."""
    graphs = []

    def backend(graph, example_inputs):
        graphs.append(graph)
        return graph.forward

    compiled = torch.compile(ops.score_sums, backend=backend, fullgraph=True, dynamic=True)
    logits = Sampler(9, 5, device=device).class_logits()
    for blocks, offset in ((3, 4), (5, 13), (7, 220)):
        got, want = (f(logits, blocks=blocks, offset=offset) for f in (compiled, ops.score_sums))
        assert_same(tuple(got), tuple(want), f"{blocks} blocks, {offset} rows before")
    assert len(graphs) == 1


class EveryLoss(torch.nn.Module):
    def forward(self, real, labels, generated):
        return every_loss(real, labels, generated)


def test_an_exported_program_takes_any_sizes(device):
    rows, other, columns = (torch.export.Dim(name, min=2, max=10_000) for name in ("rows", "other", "columns"))
    shapes = ({0: rows, 1: columns}, {0: rows}, {0: other, 1: columns})
    example = tuple(x.detach() for x in batches(6, 4, 5, device))
    program = torch.export.export(EveryLoss(), example, dynamic_shapes=shapes).module()
    for shape in ((6, 4, 5), (9, 5, 7), (31, 17, 12)):
        args = tuple(x.detach() for x in batches(*shape, device))
        got, want = program(*args), every_loss(*args)
        assert_same(got[1:], want[1:], f"{shape}")
        assert_within(got[0], want[0], LOSS[torch.float32].relative * want[0], f"{shape}")


@pytest.mark.slow  # its C++ compiler takes a minute
def test_a_package_of_aot_inductor_needs_no_python_of_ours(device, tmp_path, fresh_compiler):
    example = tuple(x.detach() for x in batches(6, 4, 5, device))
    path = tmp_path / "losses.pt2"
    torch._inductor.aoti_compile_and_package(torch.export.export(EveryLoss(), example), package_path=str(path))
    got, want = torch._inductor.aoti_load_package(str(path))(*example), every_loss(*example)
    for a, b in zip(got, want, strict=True):
        torch.testing.assert_close(a, b)


def test_inductor_may_choose_the_layout():
    """Without the tag it would copy to the strides of eager mode."""
    losses = ("kplus1_loss", "am_discriminator_loss", "class_entropy", "score_sums", "kplus1_loss_and_grad")
    for name in losses:
        assert torch.Tag.flexible_layout in getattr(torch.ops.amgan_fast, name).default.tags


def test_aot_inductor_can_call_what_may_choose_its_layout():
    """Up to torch 2.14 it counts integers that are keywords left at their defaults, and then the call fails."""
    for name in REGISTERED:
        packet, _, overload = name.removeprefix("amgan_fast::").partition(".")
        operation = getattr(getattr(torch.ops.amgan_fast, packet), overload or "default")
        if torch.Tag.flexible_layout in operation.tags:
            keywords = [argument for argument in operation._schema.arguments if argument.kwarg_only]
            assert "int" not in {str(argument.type) for argument in keywords}, name


# --- Compiled autograd: the backward pass as one graph


@pytest.mark.parametrize("case", LOSSES, ids=by_name)
def test_backward_is_compiled_without_graph_breaks(case: Case, device, fresh_compiler):
    for dtype in (torch.float32, torch.bfloat16):
        args = with_gradient(case.build(Sampler(6, 5, dtype=dtype, device=device)))
        for reduction in ("mean", "none"):
            loss = case.fused()(*args, **case.keywords("column", reduction)).square().sum()
            want = torch.autograd.grad(loss, floats(args), retain_graph=True)
            with compiled_autograd():
                loss.backward()
            for x, b in zip(floats(args), want, strict=True):
                assert_within(x.grad, b, 1e-6 * b.abs() + 1e-7, f"{dtype}, {reduction}")
                x.grad = None


def compiled_autograd():
    return torch._dynamo.compiled_autograd._enable(partial(torch.compile, backend="aot_eager", fullgraph=True))


# --- torch.func


@pytest.mark.filterwarnings("ignore:There is a performance drop")
@every_case
def test_vmap_equals_a_loop(case: Case, device):
    for fake in case.fake_modes():
        each = [case.build(Sampler(6, 5, fake, device=device, seed=seed)) for seed in range(3)]
        stacked = [torch.stack(xs) if isinstance(xs[0], torch.Tensor) else xs[0] for xs in zip(*each, strict=True)]
        tensors = [x for x in stacked if isinstance(x, torch.Tensor)]

        def call(*given, fake=fake, stacked=stacked):
            given = iter(given)
            args = [next(given) if isinstance(x, torch.Tensor) else x for x in stacked]
            return as_tuple(case.fused()(*args, **case.keywords(fake, case.reductions()[0])))

        want = [call(*(x[i] for x in tensors)) for i in range(3)]
        got = torch.vmap(call)(*tensors)
        for a, b in zip(got, map(torch.stack, zip(*want, strict=True)), strict=True):
            torch.testing.assert_close(a, b)


@pytest.mark.parametrize("case", LOSSES, ids=by_name)
def test_transforms_of_torch_func_are_those_of_the_reference(case: Case, device):
    """grad, vjp, jvp, jacrev, jacfwd, hessian and gradients of single samples."""
    for fake in case.fake_modes():
        logits, *others = case.build(Sampler(6, 5, fake, torch.float64, device=device))
        v = torch.randn(logits.shape, generator=torch.Generator().manual_seed(2), dtype=logits.dtype).to(device)

        def loss(function, reduction, fake=fake, others=others):
            return lambda x: function(x, *others, **case.keywords(fake, reduction))

        def vjp(function, x=logits):
            rows, pull = torch.func.vjp(loss(function, "none"), x)
            return rows, *pull(torch.arange(1.0, len(rows) + 1, dtype=x.dtype, device=x.device))

        transforms = {
            "grad": lambda function, x=logits: torch.func.grad(loss(function, "mean"))(x),
            "vjp": vjp,
            "jvp": lambda function, x=logits, v=v: torch.func.jvp(loss(function, "sum"), (x,), (v,)),
            "jacrev": lambda function, x=logits: torch.func.jacrev(loss(function, "none"))(x),
            "jacfwd": lambda function, x=logits: torch.func.jacfwd(loss(function, "none"))(x),
            "hessian": lambda function, x=logits: torch.func.hessian(loss(function, "mean"))(x),
        }
        for name, transform in transforms.items():
            got, want = as_tuple(transform(case.fused())), as_tuple(transform(case.reference()))
            for a, b in zip(got, want, strict=True):
                torch.testing.assert_close(a, b, rtol=1e-11, atol=1e-12, msg=lambda m, name=name: f"{name}: {m}")


def test_gradients_of_single_samples(device):
    """vmap of grad: a network's gradient for each of its samples."""
    layer = torch.nn.Linear(4, 6, dtype=torch.float64, device=device)
    x, y = torch.randn(5, 4, dtype=torch.float64, device=device), torch.arange(5, device=device)
    parameters = dict(layer.named_parameters())

    def loss(parameters, x, y):
        return ops.am_generator_loss(torch.func.functional_call(layer, parameters, (x[None],)), y[None])

    got = torch.vmap(torch.func.grad(loss), (None, 0, 0))(parameters, x, y)
    for i in range(5):
        ops.am_generator_loss(layer(x[i : i + 1]), y[i : i + 1]).backward()
        for name, parameter in parameters.items():
            torch.testing.assert_close(got[name][i], parameter.grad)
            parameter.grad = None


@pytest.mark.parametrize("case", LOSSES, ids=by_name)
def test_no_loss_is_computed_one_element_after_the_other_in_vmap(case: Case, device, capfd):
    """torch would say so by itself, on stderr or as a Python warning; the last is one that it does say it of."""
    args = case.build(Sampler(6, 5, device=device))

    def told(function) -> bool:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            torch.vmap(lambda x: function(x, *args[1:]))(torch.stack([args[0], args[0]]))
        return "performance drop" in capfd.readouterr().err + "".join(str(w.message) for w in caught)

    assert not told(case.fused())
    assert told(lambda x, *_: ops.class_entropy_and_grad(x))


@pytest.mark.parametrize("case", LOSSES, ids=by_name)
def test_forward_mode_derivatives(case: Case, device):
    args = case.build(Sampler(6, 5, "column", torch.float64, device=device))
    keywords = case.keywords("column", "none")
    v = torch.ones_like(args[0])
    tangents = []
    for function in (case.fused(), case.reference()):
        with torch.autograd.forward_ad.dual_level():
            dual = torch.autograd.forward_ad.make_dual(args[0], v)
            tangents.append(torch.autograd.forward_ad.unpack_dual(function(dual, *args[1:], **keywords)).tangent)
    torch.testing.assert_close(*tangents, rtol=1e-11, atol=1e-12)


# --- Autocast


@every_case
@pytest.mark.parametrize("dtype", DTYPES, ids=dtype_name)
def test_autocast_changes_nothing(case: Case, dtype, device):
    args = with_gradient(case.build(Sampler(63, 17, dtype=dtype, device=device)))
    keywords = case.keywords("column", "mean")
    want = case.fused()(*args, **keywords)
    with torch.autocast(device.type, dtype=torch.bfloat16):
        got = case.fused()(*args, **keywords)
    assert_same(got, want, case.name)
    if case.differentiable:
        assert got.dtype == computing(dtype)
        assert_same(torch.autograd.grad(got, floats(args)), torch.autograd.grad(want, floats(args)), case.name)


def test_a_layer_under_autocast_feeds_half_precision(device):
    layer = torch.nn.Linear(8, 11, device=device)
    x = torch.randn(16, 8, device=device)
    with torch.autocast(device.type, dtype=torch.bfloat16):
        logits = layer(x)
        loss = ops.am_generator_loss(logits)
    assert (logits.dtype, loss.dtype) == (torch.bfloat16, torch.float32)
    loss.backward()
    assert layer.weight.grad.dtype == torch.float32
    assert layer.weight.grad.abs().max() > 0


# --- The same bits every time


def large_results(dtype=torch.float32, device="cpu"):
    """Values and gradients of all cases of 70,000 elements a batch, which two threads share."""
    results = []
    for fake, rows, classes in (("column", 700, 100), ("zero", 7000, 10)):
        for case in CASES:
            if fake in case.fake_modes():
                args = with_gradient(case.build(Sampler(rows, classes, fake, dtype, device=device)))
                outputs = as_tuple(case.fused()(*args, **case.keywords(fake, "mean")))
                results.extend(x.detach() for x in outputs)
                if case.differentiable:
                    results.extend(torch.autograd.grad(outputs[0], floats(args)))
    return tuple(results)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=dtype_name)
def test_any_number_of_threads_gives_the_same_bits(dtype, threads):
    threads(1)
    one = large_results(dtype)
    threads(2)
    assert_same(large_results(dtype), one, "2 threads")


def test_the_same_call_gives_the_same_bits(device):
    assert_same(large_results(device=device), large_results(device=device))


def test_score_sums_of_many_rows_are_the_same_bits_with_two_threads(threads):
    logits = Sampler(20_000, 100).class_logits()
    results = {}
    for count in (1, 2):
        threads(count)
        results[count] = [x for blocks in (1, 7, 100) for x in ops.score_sums(logits, blocks=blocks, offset=3)]
    assert_same(tuple(results[1]), tuple(results[2]))


def test_calls_from_several_python_threads(device):
    def work(seed):
        results = []
        for case in CASES:
            args = with_gradient(case.build(Sampler(257, 17, seed=seed, device=device)))
            outputs = as_tuple(case.fused()(*args, **case.keywords("column", "mean")))
            results.extend(x.detach() for x in outputs)
            if case.differentiable:
                results.extend(torch.autograd.grad(outputs[0], floats(args)))
        return tuple(results)

    alone = [work(seed) for seed in range(4)]
    with ThreadPoolExecutor(4) as pool:
        for seed, together in enumerate(pool.map(work, [*range(4)] * 3)):
            assert_same(together, alone[seed % 4], f"seed {seed % 4}")


def test_large_calls_from_several_python_threads(threads):
    """Each of them on two threads of its own."""
    threads(2)
    alone = large_results()
    with ThreadPoolExecutor(3) as pool:
        for together in pool.map(lambda _: large_results(), range(3)):
            assert_same(together, alone, "three at once")


class LossOfEachBatch(torch.utils.data.Dataset):
    """Calls the operations where a DataLoader's worker process does."""

    def __len__(self) -> int:
        return 2

    def __getitem__(self, index: int) -> torch.Tensor:
        # Without autograd, whose threads do not survive a fork.
        logits = Sampler(700, 100, seed=index).logits()
        _, gradient = ops.am_generator_loss_and_grad(logits)
        return torch.cat([gradient.flatten(), ops.score_sums(logits).prob[0].float()])


def test_in_the_worker_of_a_data_loader():
    dataset = LossOfEachBatch()
    want = torch.stack([dataset[0], dataset[1]])
    loader = torch.utils.data.DataLoader(dataset, batch_size=2, num_workers=1)
    assert_same(next(iter(loader)), want)


# --- No synchronisation with the device

WAITING = {"aten::_local_scalar_dense", "aten::item", "aten::nonzero", "aten::is_nonzero", "aten::equal"}


def training_step(fused: bool, device) -> None:
    """One discriminator and one generator step, with loss_and_grad or through autograd."""
    discriminator = torch.nn.Linear(8, 11, device=device)
    network = torch.nn.Linear(4, 8, device=device)
    optimizers = [torch.optim.SGD(m.parameters(), lr=0.1) for m in (discriminator, network)]
    images, labels = torch.randn(16, 8, device=device), torch.arange(16, device=device) % 10
    noise = torch.randn(16, 4, device=device)

    real, generated = discriminator(images), discriminator(network(noise).detach())
    if fused:
        _, *gradients = ops.am_discriminator_loss_and_grad(real, labels, generated, real_smoothing=0.1)
        torch.autograd.backward((real, generated), gradients)
    else:
        ops.am_discriminator_loss(real, labels, generated, real_smoothing=0.1).backward()
    optimizers[0].step()

    generated = discriminator(network(noise))
    if fused:
        _, gradient = ops.am_generator_loss_and_grad(generated)
        generated.backward(gradient)
    else:
        losses = [ops.am_generator_loss(generated, y) for y in (None, labels)]
        losses += [ops.labelgan_generator_loss(generated, smoothing=0.1), ops.class_entropy(generated[:, :10])]
        losses += [ops.kplus1_hinge_loss(generated, y) for y in (None, labels)]
        losses += [ops.kplus1_cross_entropy(generated, y, label_smoothing=0.1) for y in (labels, "dynamic", "fake")]
        sum(losses).backward()
    optimizers[1].step()
    ops.kplus1_terms(generated, labels)
    ops.score_sums(generated.detach(), blocks=4)


@pytest.mark.parametrize("fused", [True, False], ids=["loss_and_grad", "autograd"])
def test_a_training_step_asks_for_no_value(fused, device):
    with Trace() as trace:
        training_step(fused, device)
    assert not WAITING & set(trace.names)
    ours = {name.split(".")[0] for name in trace.names if name.startswith("amgan_fast::")}
    assert {"amgan_fast::kplus1_terms", "amgan_fast::score_sums"} < ours
    # On the CPU forward has computed the gradient along with the loss.
    backward = "amgan_fast::am_discriminator_loss_backward"
    assert (backward in ours) == (not fused and device.type == "cuda")


def test_the_trace_would_see_a_synchronisation():
    with Trace() as trace:
        torch.ones(1).item()
    assert WAITING & set(trace.names)


@pytest.mark.cuda
@pytest.mark.parametrize("fused", [True, False], ids=["loss_and_grad", "autograd"])
def test_cuda_never_waits(fused):
    device = torch.device("cuda")
    training_step(fused, device)  # the first call may set up libraries
    torch.cuda.set_sync_debug_mode("error")
    try:
        training_step(fused, device)
    finally:
        torch.cuda.set_sync_debug_mode("default")
