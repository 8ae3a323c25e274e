"""What is timed of every operation: its inputs, plain PyTorch that does the same, and the limit of the machine."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils.cpp_extension import load

from amgan_fast import ops
from benchmarks import gpu
from benchmarks.plain_forms import BY_HAND, FORMS, Form, Wrap, as_it_is

LOSS_SHAPES = [(100, 11), (4096, 11), (1024, 101), (128, 201), (1024, 1001), (128, 21_842)]
SCORE_SHAPES = [(200_000, 10), (50_000, 101), (50_000, 1000), (2000, 21_842)]
HALF_SHAPES = [(200_000, 10), (50_000, 1000)]
DROPOUT_SHAPE = (100 * 64, 32 * 32)  # a discriminator's first layer on 100 images of 32 pixels
# The widest images of a generator, those of a discriminator, and the rows of a small network's layer.
NORM_SHAPES = [(100, 32, 32, 32), (100, 128, 8, 8), (100, 256)]


@dataclass
class Case:
    """``run(function)`` does the work with the operation, or with the plain function of the same arguments."""

    name: str
    op: str
    logits: tuple[Tensor, ...]
    out: Tensor  # like each of the logits
    run: Callable[[Callable[..., Any]], object]
    limit_is: str = "copy"
    moved: int = 2  # how often the logits' bytes have to be read or written at the least
    fused: Callable[[], object] | None = None  # instead of run(operation)
    empty: Callable[[], Callable[[], object]] | None = None  # the limit instead, compiled only where it is measured
    values: tuple[Tensor, ...] = ()  # the arguments of forms by hand
    compiles: bool = True  # second derivatives do not: torch refuses double backward of a compiled function

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(self.out.shape)

    @property
    def dtype(self) -> str:
        return str(self.out.dtype).removeprefix("torch.")

    @property
    def least_bytes(self) -> int:
        """Of the logits, read once, and of their gradients, written once; labels and losses are too few to count."""
        return sum(x.nbytes for x in self.logits) * (1 if self.limit_is == "sum" else self.moved)

    @property
    def key(self) -> str:
        return f"{self.name} {'x'.join(map(str, self.shape))} {self.dtype}"

    def plain(self) -> dict[str, Form]:
        """The forms of plain PyTorch that do the same, by name."""
        return {form.name: form for form in FORMS[self.op] + BY_HAND.get(self.name, [])}

    def work(self, form: Form, wrap: Wrap = as_it_is) -> Callable[[], object]:
        function = form.callable(wrap)
        return partial(function, *self.values) if form.by_hand else partial(self.run, function)

    # Functions without a layer of Python around what is measured, which for 100 x 11 would show.

    def ours(self) -> Callable[[], object]:
        return self.fused or partial(self.run, getattr(ops, self.op))

    def limit(self) -> Callable[[], object]:
        if self.empty:
            return self.empty()
        if self.limit_is == "sum":
            return self.logits[0].sum
        if len(self.logits) == 1:
            return partial(self.out.copy_, self.logits[0])
        return lambda: [self.out.copy_(x) for x in self.logits]

    def exp(self) -> object:
        return [torch.exp(x, out=self.out) for x in self.logits]


def empty_op(real: Tensor, labels: Tensor, generated: Tensor) -> Callable[[], object]:
    """An operation that only allocates what am_discriminator_loss_and_grad returns."""
    folder = Path("build/empty_op").resolve()
    folder.mkdir(parents=True, exist_ok=True)
    source = Path(__file__).with_name("empty_op.cpp")
    load("amgan_bench", [str(source)], build_directory=str(folder), is_python_module=False, extra_cflags=["-O2"])
    operation = torch.ops.amgan_bench.empty_three.default
    return lambda: operation(real, labels, generated)


def loss_cases(rows: int, columns: int, device: str) -> list[Case]:
    real = torch.randn(rows, columns, device=device, requires_grad=True)
    generated = torch.randn(rows, columns, device=device, requires_grad=True)
    real_values, generated_values = real.detach(), generated.detach()
    labels = torch.randint(columns - 1, (rows,), device=device)
    out = torch.empty_like(real_values)
    both, one = (real_values, generated_values), (generated_values,)

    def trained(*inputs: Tensor, differentiate: tuple[Tensor, ...]) -> Callable[[Callable[..., Any]], object]:
        return lambda function: torch.autograd.grad(function(*inputs), differentiate)

    def penalized(function: Callable[..., Any]) -> object:
        (gradient,) = torch.autograd.grad(function(generated), generated, create_graph=True)
        return torch.autograd.grad(gradient, generated, real_values)

    discriminator = trained(real, labels, generated, differentiate=(real, generated))
    generator = trained(generated, differentiate=(generated,))
    and_grad = Case(
        "am_discriminator_loss_and_grad",
        "am_discriminator_loss",
        both,
        out,
        discriminator,  # what a user of autograd does instead
        values=(real_values, labels, generated_values),
        fused=lambda: ops.am_discriminator_loss_and_grad(real_values, labels, generated_values),
    )
    one_and_grad = Case(
        "am_generator_loss_and_grad",
        "am_generator_loss",
        one,
        out,
        generator,
        values=one,
        fused=lambda: ops.am_generator_loss_and_grad(generated_values),
    )
    hinge_and_grad = Case(
        "kplus1_hinge_loss_and_grad",
        "kplus1_hinge_loss",
        (real_values,),
        out,
        trained(real, labels, differentiate=(real,)),
        values=(real_values, labels),
        fused=lambda: ops.kplus1_hinge_loss_and_grad(real_values, labels),
    )
    if (rows, columns) == LOSS_SHAPES[0]:  # so few bytes that nothing but the call takes time
        if device == "cuda":
            for case in (and_grad, one_and_grad, hinge_and_grad):
                case.limit_is, case.empty = "empty kernel", gpu.empty_kernel
        else:
            and_grad.limit_is = "empty op"
            and_grad.empty = lambda: empty_op(real_values, labels, generated_values)
    return [
        Case("am_discriminator_loss fwd+bwd", "am_discriminator_loss", both, out, discriminator),
        and_grad,
        Case("am_generator_loss fwd+bwd", "am_generator_loss", one, out, generator),
        one_and_grad,
        Case("am_generator_loss fwd", "am_generator_loss", one, out, lambda f: f(generated_values), "sum"),
        Case("labelgan_generator_loss fwd+bwd", "labelgan_generator_loss", one, out, generator),
        Case(
            "kplus1_cross_entropy fwd+bwd",
            "kplus1_cross_entropy",
            (real_values,),
            out,
            trained(real, labels, differentiate=(real,)),
        ),
        Case("class_entropy fwd+bwd", "class_entropy", one, out, generator),
        Case(
            "kplus1_hinge_loss fwd+bwd",
            "kplus1_hinge_loss",
            (real_values,),
            out,
            trained(real, labels, differentiate=(real,)),
        ),
        hinge_and_grad,
        *(
            Case(f"{op} second derivative", op, one, out, penalized, moved=4, compiles=False)
            for op in ("am_generator_loss", "class_entropy")
        ),
        Case("kplus1_terms", "kplus1_terms", one, out, lambda f: f(generated_values), "sum"),
    ]


def score_cases(rows: int, classes: int, dtype: torch.dtype, device: str) -> list[Case]:
    logits = torch.randn(rows, classes, device=device).to(dtype)
    return [Case("score_sums", "score_sums", (logits,), torch.empty_like(logits), lambda f: f(logits), "sum")]


def dropout_cases(rows: int, columns: int, dtype: torch.dtype, device: str) -> list[Case]:
    x = torch.randn(rows, columns, device=device).to(dtype).requires_grad_()
    values, out = x.detach(), torch.empty_like(x, requires_grad=False)

    def train(function: Callable[..., Any]) -> object:
        return torch.autograd.grad(function(x, 0.3), x, values)

    return [
        Case("leaky_dropout fwd", "leaky_dropout", (values,), out, lambda f: f(values, 0.3)),
        Case("leaky_dropout fwd+bwd", "leaky_dropout", (values,), out, train, moved=5),
    ]


def norm_cases(shape: tuple[int, ...], p: float, dtype: torch.dtype, device: str) -> list[Case]:
    """Of rows, or of channels_last images."""
    x = torch.randn(shape, device=device).to(dtype)
    x = (x.contiguous(memory_format=torch.channels_last) if len(shape) == 4 else x).requires_grad_()
    values, out = x.detach(), torch.empty_like(x, requires_grad=False)
    weight, bias = (torch.ones(shape[1], device=device, requires_grad=True) for _ in range(2))

    def train(function: Callable[..., Any]) -> object:
        return torch.autograd.grad(function(x, weight, bias, p)[0], (x, weight, bias), values)

    def forward(function: Callable[..., Any]) -> object:
        return function(values, weight.detach(), bias.detach(), p)

    op = "batch_norm_leaky_dropout"
    return [
        Case(f"{op} fwd, p={p}", op, (values,), out, forward),
        Case(f"{op} fwd+bwd, p={p}", op, (values,), out, train, moved=5),
    ]


Maker = Callable[[str], list[Case]]  # of the cases of a shape, on a device
MAKERS: list[Maker] = [
    *(partial(loss_cases, *shape) for shape in LOSS_SHAPES),
    *(partial(score_cases, *shape, torch.float32) for shape in SCORE_SHAPES),
    *(partial(score_cases, *shape, torch.bfloat16) for shape in HALF_SHAPES),
    *(partial(dropout_cases, *DROPOUT_SHAPE, dtype) for dtype in (torch.float32, torch.bfloat16)),
    *(
        partial(norm_cases, shape, p, dtype)
        for shape, p in zip(NORM_SHAPES, (0.0, 0.3, 0.3), strict=True)
        for dtype in (torch.float32, torch.bfloat16)
    ),
]
