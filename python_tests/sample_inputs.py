"""The operations and arguments for them: one table that the correctness, gradient and integration tests share."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from amgan_fast import ops, reference

DTYPES = (torch.float32, torch.float64, torch.bfloat16, torch.float16)
FAKE_MODES = ("column", "zero")
REDUCTIONS = ("none", "mean", "sum")

# (K, N). Around the vector widths (4 to 32 elements), the paper's class counts and the chunk sizes of the kernels.
SHAPES = (
    (1, 1),
    (1, 63),
    (2, 5),
    (3, 257),
    (7, 2),
    (10, 0),
    (10, 1003),
    (16, 63),
    (17, 5),
    (31, 257),
    (64, 63),
    (100, 257),
    (101, 5),
    (200, 63),
    (1000, 63),
    (1001, 5),
    (5000, 5),
)

# The rows of the table of losses, as coefficients (a, r, t, f, u).
FAMILY: dict[str, tuple[float, ...]] = {
    "am": (1, 0, 1, 0, 0),
    "discriminator_real_smoothed": (1, 0, 0.8 * 0.9, 0.1, 0.2 * 0.9),
    "discriminator_fake": (1, 0, 0, 1, 0),
    "discriminator_fake_smoothed": (1, 0, 0, 0.9, 0.1),
    "labelgan": (1, -1, 0, 0, 0),
    "labelgan_smoothed": (1, -0.9, 0, 0.1, 0),
    "saturating": (-1, 0, 0, -1, 0),
    "class": (0, 1, 1, 0, 0),
    "class_uniform": (0, 1, 0, 0, 1),
    "not_shift_invariant": (0.7, -0.4, 1.1, -0.6, 0.9),
}


@dataclass
class Sampler:
    """Draws the arguments of one call: N rows of K real classes."""

    rows: int = 5
    classes: int = 4
    fake: str = "column"
    dtype: torch.dtype = torch.float32
    label_dtype: torch.dtype = torch.int64
    device: torch.device | str = "cpu"
    scale: float = 3.0
    other_rows: int | None = None  # of the second batch of the discriminator loss
    seed: int = 0
    change: Callable[[Tensor], Tensor] | None = None  # applied to every drawn matrix of logits
    generator: torch.Generator = field(init=False)

    def __post_init__(self) -> None:
        self.generator = torch.Generator().manual_seed(self.seed + 7919 * self.rows + self.classes)
        if self.other_rows is None:
            self.other_rows = self.rows // 2 + 1

    def normal(self, rows: int, columns: int) -> Tensor:
        x = self.scale * torch.randn(rows, columns, generator=self.generator, dtype=torch.float64)
        x = x if self.change is None else self.change(x)
        return x.to(self.dtype).to(self.device)

    def logits(self, rows: int | None = None) -> Tensor:
        columns = self.classes + (self.fake == "column")
        return self.normal(self.rows if rows is None else rows, columns)

    def class_logits(self) -> Tensor:
        return self.normal(self.rows, self.classes)

    def probabilities(self) -> Tensor:
        return self.normal(self.rows, self.classes).double().softmax(1).to(self.dtype)

    def labels(self, count: int | None = None) -> Tensor:
        """Labels below count: by default the K real classes; K + 1 brings in the generated one."""
        high = self.classes if count is None else count
        labels = torch.randint(high, (self.rows,), generator=self.generator)
        if count is not None and self.rows:
            labels[-1] = count - 1
        return labels.to(self.label_dtype).to(self.device)

    def any_labels(self) -> Tensor:
        return self.labels(self.classes + 1)


@dataclass(frozen=True)
class Case:
    """One way to call one operation. `build` gives its positional arguments, `options` its further keywords."""

    name: str
    op: str
    build: Callable[[Sampler], tuple[Any, ...]]
    options: dict[str, Any] = field(default_factory=dict)
    has_fake: bool = True
    has_reduction: bool = True
    differentiable: bool = True
    curved: bool = True  # has a second derivative that is not 0

    def fused(self) -> Callable:
        return getattr(ops, self.op)

    def reference(self) -> Callable:
        return getattr(reference, self.op)

    def overload(self, args: Sequence[Any]) -> Any:
        """The torch operation behind the call."""
        packet = getattr(torch.ops.amgan_fast, self.op)
        return packet.mode if any(isinstance(x, str) for x in args) else packet.default

    def keywords(self, fake: str, reduction: str) -> dict[str, Any]:
        chosen = {"fake": fake} if self.has_fake else {}
        return self.options | chosen | ({"reduction": reduction} if self.has_reduction else {})

    def fake_modes(self) -> tuple[str, ...]:
        return FAKE_MODES if self.has_fake else FAKE_MODES[:1]

    def reductions(self) -> tuple[str, ...]:
        return REDUCTIONS if self.has_reduction else REDUCTIONS[:1]


def _family(name: str, labels: Callable[[Sampler], Tensor | None]) -> Callable[[Sampler], tuple[Any, ...]]:
    return lambda s: (s.logits(), labels(s), FAMILY[name])


def _pair(s: Sampler) -> tuple[Tensor, ...]:
    return s.logits(), s.labels(), s.logits(s.other_rows)


def _dynamic(s: Sampler) -> None:
    return None


SMOOTHED = {"real_smoothing": 0.1, "fake_smoothing": 0.2, "class_smoothing": 0.3}

LOSSES = (
    Case("loss_am_dynamic", "kplus1_loss", _family("am", _dynamic)),
    Case("loss_am_any_label", "kplus1_loss", _family("am", Sampler.any_labels)),
    Case("loss_smoothed", "kplus1_loss", _family("discriminator_real_smoothed", Sampler.labels)),
    Case("loss_saturating", "kplus1_loss", _family("saturating", _dynamic)),
    Case("loss_class", "kplus1_loss", _family("class", Sampler.labels)),
    Case("loss_class_uniform", "kplus1_loss", _family("class_uniform", _dynamic)),
    Case("loss_not_shift_invariant", "kplus1_loss", _family("not_shift_invariant", Sampler.any_labels)),
    # On CUDA, where labels cannot be looked at, one that may be ignored makes several operations of one.
    Case("cross_entropy", "kplus1_cross_entropy", lambda s: (s.logits(), s.any_labels()), {"ignore_index": None}),
    Case(
        "cross_entropy_smoothed",
        "kplus1_cross_entropy",
        lambda s: (s.logits(), s.any_labels()),
        {"label_smoothing": 0.1, "ignore_index": None},
    ),
    Case("cross_entropy_dynamic", "kplus1_cross_entropy", lambda s: (s.logits(), "dynamic"), {"label_smoothing": 0.1}),
    Case("cross_entropy_fake", "kplus1_cross_entropy", lambda s: (s.logits(), "fake"), {"label_smoothing": 0.1}),
    Case("discriminator", "am_discriminator_loss", _pair),
    Case("discriminator_smoothed", "am_discriminator_loss", _pair, SMOOTHED),
    Case("generator_dynamic", "am_generator_loss", lambda s: (s.logits(),)),
    Case("generator_labels", "am_generator_loss", lambda s: (s.logits(), s.labels())),
    Case("labelgan", "labelgan_generator_loss", lambda s: (s.logits(),)),
    Case("labelgan_smoothed", "labelgan_generator_loss", lambda s: (s.logits(),), {"smoothing": 0.1}),
    Case("class_entropy", "class_entropy", lambda s: (s.class_logits(),), has_fake=False),
    Case("hinge_dynamic", "kplus1_hinge_loss", lambda s: (s.logits(),), {"margin": 2.0}, curved=False),
    Case("hinge_labels", "kplus1_hinge_loss", lambda s: (s.logits(), s.any_labels()), curved=False),
)

WITHOUT_GRADIENT = tuple(
    Case(*fields, differentiable=False, **more)
    for *fields, more in (
        ("terms_dynamic", "kplus1_terms", lambda s: (s.logits(),), {"has_reduction": False}),
        ("terms_labels", "kplus1_terms", lambda s: (s.logits(), s.labels()), {"has_reduction": False}),
        ("loss_and_grad", "kplus1_loss_and_grad", _family("not_shift_invariant", Sampler.any_labels), {}),
        ("loss_and_grad_dynamic", "kplus1_loss_and_grad", _family("saturating", _dynamic), {}),
        ("hinge_and_grad", "kplus1_hinge_loss_and_grad", lambda s: (s.logits(),), {"margin": 2.0}, {}),
        ("hinge_and_grad_labels", "kplus1_hinge_loss_and_grad", lambda s: (s.logits(), s.any_labels()), {}),
        ("entropy_and_grad", "class_entropy_and_grad", lambda s: (s.class_logits(),), {"has_fake": False}),
        ("discriminator_and_grad", "am_discriminator_loss_and_grad", _pair, SMOOTHED, {}),
        ("generator_and_grad", "am_generator_loss_and_grad", lambda s: (s.logits(),), {}),
        ("generator_and_grad_labels", "am_generator_loss_and_grad", lambda s: (s.logits(), s.labels()), {}),
        (
            "score_sums",
            "score_sums",
            lambda s: (s.class_logits(),),
            {"blocks": 3, "offset": 4},
            {"has_fake": False, "has_reduction": False},
        ),
        (
            "score_sums_probabilities",
            "score_sums",
            lambda s: (s.probabilities(),),
            {"probabilities": True},
            {"has_fake": False, "has_reduction": False},
        ),
    )
)

CASES = LOSSES + WITHOUT_GRADIENT


def by_name(case: Case) -> str:
    return case.name


def dtype_name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


def map_tensors(args: Sequence[Any], function: Callable[[Tensor], Any]) -> tuple[Any, ...]:
    return tuple(function(x) if isinstance(x, Tensor) else x for x in args)


def floats(args: Sequence[Any]) -> list[Tensor]:
    return [x for x in args if isinstance(x, Tensor) and x.is_floating_point()]


def as_tuple(result: Any) -> tuple[Tensor, ...]:
    return tuple(result) if isinstance(result, tuple) else (result,)


# --- Layouts: the same values in other strides.


def transposed(x: Tensor) -> Tensor:
    return x.t().contiguous().t()


def sliced_columns(x: Tensor) -> Tensor:
    wide = torch.full((x.size(0), x.size(1) + 5), float("nan"), dtype=x.dtype, device=x.device)
    wide[:, 2:-3] = x
    return wide[:, 2:-3]


def every_other_column(x: Tensor) -> Tensor:
    wide = torch.full((x.size(0), 2 * x.size(1)), float("nan"), dtype=x.dtype, device=x.device)
    wide[:, 1::2] = x
    return wide[:, 1::2]


def every_other_row(x: Tensor) -> Tensor:
    tall = torch.full((2 * x.size(0), x.size(1)), float("nan"), dtype=x.dtype, device=x.device)
    tall[::2] = x
    return tall[::2]


LAYOUTS = (transposed, sliced_columns, every_other_column, every_other_row)


def strided_labels(labels: Tensor) -> Tensor:
    """Every third element of a tensor whose others are no valid labels."""
    spread = torch.full((3 * labels.numel(),), -(10**6), dtype=labels.dtype, device=labels.device)
    spread[1::3] = labels
    return spread[1::3]
