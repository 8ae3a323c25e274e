"""What a call takes of the host, while the GPU lags behind."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from functools import partial

import torch

from amgan_fast import ops
from tools.gpu_check.first_contact.measurement import Figures, Measurement

CALLS = 400  # no more than a stream holds before the host has to wait
ROUNDS = 7
SHAPE = (100, 11)


def _microseconds(work: Callable[[], object], device: torch.device) -> Figures:
    """Of one call, the least of several rounds."""

    def wait() -> None:
        if device.type == "cuda":
            torch.cuda.synchronize(device)

    def one_round() -> float:
        wait()
        start = time.perf_counter()
        for _ in range(CALLS):
            work()
        return (time.perf_counter() - start) / CALLS

    one_round()
    best = min(one_round() for _ in range(ROUNDS))
    wait()
    return {"us": 1e6 * best}


def host(device: torch.device) -> Iterator[Measurement]:
    real, generated = (torch.randn(SHAPE, device=device) for _ in range(2))
    labels = torch.randint(SHAPE[1] - 1, SHAPE[:1], device=device)
    work: dict[str, Callable[[], object]] = {
        "am_discriminator_loss_and_grad": partial(ops.am_discriminator_loss_and_grad, real, labels, generated),
        "am_generator_loss_and_grad": partial(ops.am_generator_loss_and_grad, generated),
        "class_entropy": partial(ops.class_entropy, generated),
        "score_sums": partial(ops.score_sums, generated),
        "torch.exp": partial(torch.exp, generated),
        "torch.empty_like": partial(torch.empty_like, generated),
    }
    for name, call in work.items():
        yield Measurement(name, partial(_microseconds, call, device))
