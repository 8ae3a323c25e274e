"""Totals of blocks that finish in any order, on many streams at once: always the same bits."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from typing import Any

import torch
from torch import Tensor

from amgan_fast import ops
from tools.gpu_check.first_contact.measurement import Figures, Measurement

STREAMS = 12
# One block, several, and the most; a thread a row, a warp, a block, and rows that no block holds.
SHAPES = [(100, 11), (5000, 11), (200_000, 11), (700, 101), (9000, 1001), (64, 9001), (8, 32_001)]
OPERATIONS: dict[str, Callable[[Tensor], Any]] = {
    "am_generator_loss": ops.am_generator_loss,
    "am_generator_loss_and_grad": ops.am_generator_loss_and_grad,
    "class_entropy": ops.class_entropy,
    "kplus1_hinge_loss": ops.kplus1_hinge_loss,
    "score_sums": lambda x: ops.score_sums(x, blocks=3),
}
LAUNCHES = 3000
ROUND = 300  # whose results are kept until they are compared


def _streams(device: torch.device) -> list[Callable[[], AbstractContextManager[Any]]]:
    if device.type == "cpu":
        return [nullcontext]
    return [partial(torch.cuda.stream, torch.cuda.Stream(device)) for _ in range(STREAMS)]


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def _tensors(result: Any) -> tuple[Tensor, ...]:
    return (result,) if isinstance(result, Tensor) else tuple(result)


def _in_turn(name: str, launches: int, device: torch.device) -> Figures:
    """One operation, its shapes and the streams in turns of different lengths, so that every shape meets every stream
    and every other shape there."""
    operation = OPERATIONS[name]
    random = torch.Generator(device).manual_seed(0)
    inputs = [torch.randn(shape, device=device, generator=random) for shape in SHAPES]
    want = [_tensors(operation(x)) for x in inputs]
    _wait(device)
    streams, wrong = _streams(device), Counter[str]()
    for first in range(0, launches, ROUND):
        got = []
        for i in range(first, min(launches, first + ROUND)):
            shape = i * 3 % len(SHAPES)
            with streams[i % len(streams)]():
                got.append((shape, _tensors(operation(inputs[shape]))))
        _wait(device)
        for shape, tensors in got:
            same = all(torch.equal(a, b) for a, b in zip(tensors, want[shape], strict=True))
            wrong["x".join(map(str, SHAPES[shape]))] += not same
    differ = {shape: count for shape, count in wrong.items() if count}
    found: Figures = {
        "launches": launches,
        "streams": len(streams),
        "shapes": len(SHAPES),
        "wrong": sum(wrong.values()),
    }
    return found | ({"problem": f"results that differ from the first: {differ}"} if differ else {})


def streams(device: torch.device) -> Iterator[Measurement]:
    launches = LAUNCHES if device.type == "cuda" else len(SHAPES)
    for name in OPERATIONS:
        yield Measurement(name, partial(_in_turn, name, launches, device))
