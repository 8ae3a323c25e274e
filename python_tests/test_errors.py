"""Every bad input: the type of the exception, and a message that names the operation, the argument, what was found
and what is wanted. A refused call leaves its inputs and their gradients alone."""

from __future__ import annotations

import inspect
import math
import re
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
import torch
from sample_inputs import map_tensors

from amgan_fast import ops


@dataclass(frozen=True)
class Bad:
    """A call with one thing wrong. `words` must all occur in the message."""

    name: str
    op: str
    args: tuple[Any, ...]
    error: type[Exception]
    words: tuple[str, ...]
    options: dict[str, Any] = field(default_factory=dict)


N, K = 6, 4
LOGITS = torch.zeros(N, K + 1)
CLASSES = torch.zeros(N, K)
LABELS = torch.zeros(N, dtype=torch.int64)
AM = (1, 0, 1, 0, 0)

# How each operation is called: its name, the name of its logits, and arguments with a hole for them and for labels.
CALLS = {
    "kplus1_loss": ("logits", lambda x, y: (x, y, AM)),
    "kplus1_cross_entropy": ("logits", lambda x, y: (x, y)),
    "am_discriminator_loss": ("real_logits", lambda x, y: (x, y, x)),
    "am_discriminator_loss_and_grad": ("real_logits", lambda x, y: (x, y, x)),
    "am_generator_loss": ("fake_logits", lambda x, y: (x, y)),
    "am_generator_loss_and_grad": ("fake_logits", lambda x, y: (x, y)),
    "labelgan_generator_loss": ("fake_logits", lambda x, y: (x,)),
    "kplus1_terms": ("logits", lambda x, y: (x, y)),
    "kplus1_hinge_loss": ("logits", lambda x, y: (x, y)),
    "kplus1_hinge_loss_and_grad": ("logits", lambda x, y: (x, y)),
    "class_entropy": ("logits", lambda x, y: (x,)),
    "score_sums": ("logits", lambda x, y: (x,)),
}
WITH_FAKE = tuple(op for op in CALLS if op not in ("class_entropy", "score_sums"))
WITH_LABELS = tuple(op for op in WITH_FAKE if op != "labelgan_generator_loss")
WITH_REDUCTION = tuple(op for op in CALLS if op not in ("kplus1_terms", "score_sums"))
PAIRS = ("am_discriminator_loss", "am_discriminator_loss_and_grad")
HINGES = ("kplus1_hinge_loss", "kplus1_hinge_loss_and_grad")
TAKES_FAKE_LABELS = ("kplus1_loss", "kplus1_cross_entropy", *HINGES)  # K, the generated class, is a label there


def labels(*values: int, dtype: torch.dtype = torch.int64) -> torch.Tensor:
    return torch.tensor((*values, *[0] * (N - len(values))), dtype=dtype)


def bad_logits():
    for op, (name, call) in CALLS.items():
        minimum = 1 if op not in WITH_FAKE else 2
        for what, logits, error, words in (
            ("integer", LOGITS.long(), TypeError, ("dtype Long", "wanted float32, float64, bfloat16 or float16")),
            ("complex", LOGITS.cfloat(), TypeError, ("dtype ComplexFloat", "wanted float32")),
            ("vector", LOGITS[0], ValueError, ("shape [5]", "wanted two dimensions")),
            ("cube", LOGITS[None], ValueError, ("shape [1, 6, 5]", "wanted two dimensions")),
            ("scalar", LOGITS[0, 0], ValueError, ("shape []", "wanted two dimensions")),
            ("narrow", LOGITS[:, : minimum - 1], ValueError, (f"{minimum - 1} column", f"at least {minimum}")),
        ):
            yield Bad(what, op, call(logits, LABELS), error, (name, *words))


def bad_labels():
    for op in WITH_LABELS:
        name = "target" if op == "kplus1_cross_entropy" else "labels"
        call = CALLS[op][1]
        first, last = -1 if op in PAIRS else 0, K if op in TAKES_FAKE_LABELS else K - 1
        floating = (TypeError, ("dtype Float", "wanted int64 or int32"))
        ignored = labels(0, -100)
        if op == "kplus1_cross_entropy":  # where floats are probabilities, and -100 is ignored
            floating, ignored = (ValueError, ("shape [6]", "or labels of an integer dtype")), labels(0, -101)
        for what, given, error, words in (
            ("float_labels", LABELS.float(), *floating),
            ("bool_labels", LABELS.bool(), TypeError, ("dtype Bool", "wanted int64 or int32")),
            ("short", LABELS[:-1], ValueError, ("shape [5]", "wanted [6]")),
            ("one_hot", torch.zeros(N, K, dtype=torch.int64), ValueError, ("shape [6, 4]", "wanted [6]")),
            ("scalar_label", LABELS[0], ValueError, ("shape []", "wanted [6]")),
            ("elsewhere", LABELS.to("meta"), ValueError, ("on meta", "on cpu", "wanted the same device")),
            (
                "too_large",
                labels(0, 1, last + 1),
                IndexError,
                (f"[2] is {last + 1}", f"wanted {first} <= label <="),
            ),
            ("negative", labels(first - 1), IndexError, (f"[0] is {first - 1}", f"wanted {first} <= label <= {last}")),
            ("ignore_index", ignored, IndexError, (f"[1] is {ignored[1]}", f"wanted {first} <=")),
            ("huge", labels(2**40), IndexError, (f"[0] is {2**40}", f"wanted {first} <=")),
            ("int32", labels(99, dtype=torch.int32), IndexError, ("[0] is 99", f"wanted {first} <=")),
            ("strided", labels(0, 0, 7)[::2].repeat_interleave(2), IndexError, ("[2] is 7", f"wanted {first} <=")),
        ):
            yield Bad(what, op, call(LOGITS, given), error, (name, *words))
        zero = {"fake": "zero"}
        yield Bad("zero_mode", op, call(CLASSES, labels(last + 1)), IndexError, (f"is {last + 1}", f"<= {last}"), zero)


def bad_options():
    for op in WITH_FAKE:
        args = CALLS[op][1](LOGITS, LABELS)
        yield Bad("fake", op, args, ValueError, ("fake is 'last'", "wanted 'column' or 'zero'"), {"fake": "last"})
    for op in WITH_REDUCTION:
        args, words = CALLS[op][1](LOGITS, LABELS), ("reduction is 'max'", "wanted 'none', 'mean' or 'sum'")
        yield Bad("reduction", op, args, ValueError, words, {"reduction": "max"})
    smoothing = {
        "kplus1_cross_entropy": ("label_smoothing",),
        "labelgan_generator_loss": ("smoothing",),
        **dict.fromkeys(PAIRS, ("real_smoothing", "fake_smoothing", "class_smoothing")),
    }
    for op, names in smoothing.items():
        for name in names:
            for value, shown in ((-0.1, "-0.1"), (1.5, "1.5"), (math.nan, "nan"), (math.inf, "inf")):
                words = (f"{name} is {shown}", "wanted a number from 0 to 1")
                yield Bad(f"{name}_{shown}", op, CALLS[op][1](LOGITS, LABELS), ValueError, words, {name: value})
    for target in ("real", "", "Dynamic"):
        words = (f"target is '{target}'", "wanted labels, probabilities, 'dynamic' or 'fake'")
        yield Bad(f"target_{target}", "kplus1_cross_entropy", (LOGITS, target), ValueError, words)
    mode = (LOGITS, "fake")
    yield Bad("mode_fake", "kplus1_cross_entropy", mode, ValueError, ("fake is 'no'", "wanted"), {"fake": "no"})
    words = ("label_smoothing is nan", "wanted a number from 0 to 1")
    yield Bad("mode_smoothing", "kplus1_cross_entropy", mode, ValueError, words, {"label_smoothing": math.nan})
    yield Bad("mode_integer", "kplus1_cross_entropy", (LOGITS.long(), "fake"), TypeError, ("logits", "dtype Long"))
    for what, coefficients, words in (
        ("four", (1, 0, 1, 0), ("coefficients has 4", "wanted five")),
        ("six", (1, 0, 1, 0, 0, 0), ("coefficients has 6", "wanted five")),
        ("nan", (1, 0, math.nan, 0, 0), ("coefficients holds nan", "wanted finite")),
        ("infinite", (1, 0, 1, 0, -math.inf), ("coefficients holds -inf", "wanted finite")),
    ):
        yield Bad(what, "kplus1_loss", (LOGITS, LABELS, coefficients), ValueError, words)
    for op in HINGES:
        for value, shown in ((-0.1, "-0.1"), (math.nan, "nan"), (math.inf, "inf")):
            words = (f"margin is {shown}", "wanted a finite number of at least 0")
            yield Bad(f"margin_{shown}", op, CALLS[op][1](LOGITS, LABELS), ValueError, words, {"margin": value})
    for name, value, least in (("blocks", 0, 1), ("blocks", -3, 1), ("offset", -1, 0)):
        words = (f"{name} is {value}", f"wanted at least {least}")
        yield Bad(f"{name}_{value}", "score_sums", (CLASSES,), ValueError, words, {name: value})


def bad_pairs():
    for op in PAIRS:
        for what, generated, error, words in (
            ("dtypes", LOGITS.double(), TypeError, ("fake_logits has dtype Double", "real_logits Float", "the same")),
            ("devices", LOGITS.to("meta"), ValueError, ("fake_logits is on meta", "real_logits on cpu", "same device")),
            ("widths", CLASSES, ValueError, ("fake_logits has 4 columns", "real_logits 5", "same number")),
            ("rank", LOGITS[0], ValueError, ("fake_logits has shape [5]", "wanted two dimensions")),
            ("integers", LOGITS.int(), TypeError, ("fake_logits has dtype Int", "wanted float32")),
        ):
            yield Bad(what, op, (LOGITS, LABELS, generated), error, words)


def no_tensors():
    also = {
        "kplus1_loss_and_grad": ("logits", lambda x, y: (x, y, AM)),
        "class_entropy_and_grad": ("logits", lambda x, y: (x,)),
        "leaky_dropout": ("x", lambda x, y: (x,)),
        "batch_norm_leaky_dropout": ("x", lambda x, y: (x, torch.ones(K), torch.zeros(K))),
    }
    for op, (name, call) in (CALLS | also).items():
        for what, logits in (("a list", LOGITS.tolist()), ("a ndarray", LOGITS.numpy()), ("None", None)):
            yield Bad(f"{what}_as_{name}", op, call(logits, LABELS), TypeError, (f"{name} is {what}, wanted a tensor",))
    for op in (*WITH_LABELS, "kplus1_loss_and_grad"):
        name = "target" if op == "kplus1_cross_entropy" else "labels"
        given = [("a list", LABELS.tolist()), ("a ndarray", LABELS.numpy()), ("a tuple", (0,) * N)]
        given += [("None", None)] if op in (*PAIRS, "kplus1_cross_entropy") else []
        for what, y in given:
            args = (CALLS | also)[op][1](LOGITS, y)
            yield Bad(f"{what}_as_{name}", op, args, TypeError, (f"{name} is {what}, wanted a tensor",))
    for op in PAIRS:
        args = (LOGITS, LABELS, LOGITS.numpy())
        yield Bad("fake_array", op, args, TypeError, ("fake_logits is a ndarray, wanted a tensor",))
    for place, name in enumerate(("weight", "bias"), start=1):
        for what, value in (("a ndarray", torch.ones(K).numpy()), ("None", None)):
            args = [CLASSES, torch.ones(K), torch.zeros(K)]
            args[place] = value
            words = (f"{name} is {what}, wanted a tensor",)
            yield Bad(f"{what}_as_{name}", "batch_norm_leaky_dropout", tuple(args), TypeError, words)


TABLE = (*bad_logits(), *bad_labels(), *bad_options(), *bad_pairs(), *no_tensors())


def copies(args):
    """Fresh leaves, and what they hold."""
    fresh = map_tensors(args, lambda x: x.clone().requires_grad_(x.is_floating_point()))
    return fresh, map_tensors(fresh, lambda x: x.detach().clone())


@pytest.mark.parametrize("bad", TABLE, ids=lambda bad: f"{bad.op}-{bad.name}")
def test_bad_input_is_named(bad: Bad):
    args, before = copies(bad.args)
    with pytest.raises(bad.error) as caught:
        getattr(ops, bad.op)(*args, **bad.options)
    assert type(caught.value) is bad.error
    message = str(caught.value).split("\nException raised")[0]
    assert message.startswith(f"{bad.op}: ")
    for word in bad.words:
        assert word in message, message
    assert "\n" not in message
    for x, old in zip(args, before, strict=True):
        if isinstance(x, torch.Tensor) and x.device.type == "cpu":
            assert torch.equal(x.detach(), old)
            assert x.grad is None


def test_what_is_no_tensor_is_told_with_all_that_would_do():
    with pytest.raises(TypeError, match=r"^kplus1_cross_entropy: target is a list, wanted a tensor or a string$"):
        ops.kplus1_cross_entropy(LOGITS, LABELS.tolist())
    with pytest.raises(TypeError, match=r"^am_generator_loss: labels is a list, wanted a tensor or None$"):
        ops.am_generator_loss(LOGITS, LABELS.tolist())


GOOD_CALLS = {
    **{op: call(LOGITS, LABELS) for op, (_, call) in CALLS.items()},
    "kplus1_loss_and_grad": (LOGITS, LABELS, AM),
    "class_entropy_and_grad": (LOGITS,),
    "leaky_dropout": (LOGITS,),
    "batch_norm_leaky_dropout": (CLASSES, torch.ones(K), torch.zeros(K)),
}
WRONG_TYPES = {
    "str": (None, 1.5, [1, 2], object(), len),
    "float": (None, "abc", b"x", [1, 2], {}, 1j, torch.ones(2), object()),
    "int": (None, "abc", 1.5, math.nan, [1, 2], 2**63, 1j, torch.ones(2), object()),
    "bool": ("abc", [1, 2], {}, torch.ones(2), object()),
    "Sequence[float]": (None, 3, 1.5, "abcde", {}, (1, 0, "a", 0, 0), (1, None, 0, 0, 0), torch.ones(5), object()),
}


@pytest.mark.parametrize("op", GOOD_CALLS)
def test_an_argument_of_a_wrong_type_is_named(op):
    function = getattr(ops, op)
    parameters = inspect.signature(function).parameters
    given = dict(zip(parameters, GOOD_CALLS[op], strict=False))
    function(**given)
    for name, parameter in parameters.items():
        for value in WRONG_TYPES.get(str(parameter.annotation), ()):
            with pytest.raises(TypeError) as caught:
                function(**{**given, name: value})
            assert re.fullmatch(f"{op}: {name} is .+, wanted .+", str(caught.value)), caught.value


def test_every_function_is_given_arguments_of_wrong_types():
    assert set(GOOD_CALLS) == {name for name in ops.__all__ if name.islower()}


@pytest.mark.parametrize("op", GOOD_CALLS)
def test_missing_and_unknown_arguments_are_named(op):
    first = next(iter(inspect.signature(getattr(ops, op)).parameters))
    with pytest.raises(TypeError, match=f"^{op}: missing a required argument: '{first}', wanted {first}"):
        getattr(ops, op)()
    with pytest.raises(TypeError, match=f"^{op}: got an unexpected keyword argument 'reductoin', wanted {first}"):
        getattr(ops, op)(*GOOD_CALLS[op], reductoin="mean")


def test_numbers_of_other_libraries_are_numbers():
    for half in (np.float32(0.5), torch.tensor(0.5)):
        ops.leaky_dropout(LOGITS, half, training=np.bool_(True))
        with pytest.raises(TypeError, match=r"^leaky_dropout: slope is 'steep', wanted a number$"):
            ops.leaky_dropout(LOGITS, half, "steep")
    with pytest.raises(TypeError, match=r"^kplus1_loss: fake is 0, wanted a string$"):
        ops.kplus1_loss(LOGITS, LABELS, np.array(AM), fake=0)


@pytest.mark.parametrize("op", WITH_LABELS)
def test_the_largest_label_is_accepted(op):
    last = K if op in TAKES_FAKE_LABELS else K - 1
    for dtype in (torch.int64, torch.int32):
        getattr(ops, op)(*CALLS[op][1](LOGITS, labels(0, last, dtype=dtype)))
        getattr(ops, op)(*CALLS[op][1](CLASSES, labels(0, last, dtype=dtype)), fake="zero")


@pytest.mark.parametrize(
    ("reduction", "shape", "words"),
    [
        ("none", (N + 1,), (f"grad_output has shape [{N + 1}]", f"wanted [{N}]")),
        ("none", (), ("grad_output has shape []", f"wanted [{N}]")),
        ("mean", (N,), (f"grad_output has shape [{N}]", "wanted a scalar")),
        ("sum", (1,), ("grad_output has shape [1]", "wanted a scalar")),
    ],
)
def test_grad_output_of_a_wrong_shape(reduction, shape, words):
    namespace, upstream = torch.ops.amgan_fast, torch.ones(shape)
    half = (LOGITS[:2], LABELS[:2], LOGITS[2:])
    for backward, args in (
        (namespace.kplus1_loss_backward, (LOGITS, LABELS, AM)),
        (namespace.am_discriminator_loss_backward, half),
        (namespace.class_entropy_backward, (CLASSES,)),
        (namespace.kplus1_hinge_loss_backward, (LOGITS, LABELS)),
    ):
        with pytest.raises(ValueError, match="grad_output") as caught:
            backward(upstream, *args, reduction=reduction)
        for word in words:
            assert word in str(caught.value)


def test_labels_changed_before_the_backward_are_refused():
    """Out-of-range labels never reach the kernel: torch notices the change itself, the operation the range."""
    logits, given = LOGITS.clone().requires_grad_(), LABELS.clone()
    loss = ops.am_generator_loss(logits, given)
    given.fill_(10**6)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.backward()
    with pytest.raises(IndexError, match=r"labels\[0\] is 1000000"):
        torch.ops.amgan_fast.kplus1_loss_backward(torch.tensor(1.0), LOGITS, given, AM)


@pytest.mark.parametrize("op", ["am_generator_loss", "class_entropy", "score_sums"])
def test_sparse_logits_are_refused(op):
    with pytest.raises((NotImplementedError, RuntimeError)):
        getattr(ops, op)(LOGITS.to_sparse())


def test_errors_reach_compiled_code():
    """Shapes are checked while tracing, label values when the graph runs."""

    def loss(logits, given):
        return ops.am_generator_loss(logits, given)

    compiled = torch.compile(loss, backend="aot_eager", fullgraph=True)
    assert compiled(LOGITS, LABELS).isfinite()
    with pytest.raises(IndexError, match=r"is 99, wanted 0 <= label <= 3"):
        compiled(LOGITS, labels(99))
    torch.compiler.reset()


@pytest.mark.cuda
def test_mixed_cuda_and_cpu():
    with pytest.raises(ValueError, match="labels is on cpu"):
        ops.am_generator_loss(LOGITS.cuda(), LABELS)
    with pytest.raises(ValueError, match="fake_logits is on cpu"):
        ops.am_discriminator_loss(LOGITS.cuda(), LABELS.cuda(), LOGITS)
