"""What the GPU makes of 2^x, over every float there is, and what this build makes of e^x with it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

import torch
from torch import Tensor

from amgan_fast import ops
from tools.gpu_check.first_contact.measurement import Figures, Measurement


def bits_of(x: float) -> int:
    return int(torch.tensor(x, dtype=torch.float32).view(torch.int32).item())


# From -0 to -1, and to where e^x is still a normal number.
ZERO, ONE, LEAST = bits_of(-0.0), bits_of(-1.0), bits_of(-86.0)
CHUNK = 2**24
LIMIT = 2**-22  # relative, that PTX states of ex2.approx.ftz
LIMIT_OF_OURS = LIMIT + 4 * 2**-24  # and a rounding each of the exponential, the sum, its inverse and the product
PROBE = """
extern "C" __global__ void ex2(const float* x, float* y, int n) {
  int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i < n) asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y[i]) : "f"(x[i]));
}
"""
THREADS = 256


def compile_probe() -> Callable[[Tensor], Tensor]:
    kernel = torch.cuda._compile_kernel(PROBE, "ex2")

    def run(x: Tensor) -> Tensor:
        y = torch.empty_like(x)
        kernel(grid=(-(-len(x) // THREADS), 1, 1), block=(THREADS, 1, 1), args=[x, y, len(x)])
        return y

    return run


def probability(x: Tensor) -> Tensor:
    """e^x / (1 + e^x), as the gradient of a loss has it: the one exponential of a row of two logits."""
    logits = torch.stack([torch.zeros_like(x), x], 1)
    return ops.am_generator_loss_and_grad(logits, reduction="none")[1][:, 1]


def errors(
    function: Callable[[Tensor], Tensor], exact: Callable[[Tensor], Tensor], last: int, step: int, device: torch.device
) -> Figures:
    """Relative errors over the floats from -0 down to that of the bits ``last``, or every ``step``-th of them. The
    rounding to the float that holds the result is in them, 2^-24 at the most."""
    largest, at, total, count, above = 0.0, 0.0, 0.0, 0, 0
    for first in range(ZERO, last + 1, CHUNK * step):
        bits = torch.arange(first, min(last + 1, first + CHUNK * step), step, dtype=torch.int32, device=device)
        x = bits.view(torch.float32)
        y = function(x).double()
        error = y / exact(x.double()) - 1
        worst = error.abs().argmax()
        if error[worst].abs().item() > largest:
            largest, at = error[worst].abs().item(), x[worst].item()
        total += error.sum().item()
        count += len(x)
        above += int((y > 1).sum())
    at_zero = function(torch.zeros(1, device=device)).item()
    return {"floats": count, "largest": largest, "at": at, "mean": total / count, "at 0": at_zero, "above 1": above}


def _ex2(device: torch.device) -> Figures:
    found = errors(compile_probe(), torch.exp2, ONE, 1, device)
    if found["at 0"] != 1 or found["above 1"] or found["largest"] > LIMIT:
        found["problem"] = f"wanted 2^0 = 1, nothing above 1, and errors of {LIMIT:.1e} at the most"
    return found


def _ours(device: torch.device) -> Figures:
    step = 16 if device.type == "cuda" else 2**14
    found = errors(probability, torch.sigmoid, LEAST, step, device)
    if found["at 0"] != 0.5 or found["largest"] > LIMIT_OF_OURS:
        found["problem"] = f"wanted 1/2 at 0, and errors of {LIMIT_OF_OURS:.1e} at the most"
    return found


def exponential(device: torch.device) -> Iterator[Measurement]:
    if device.type == "cuda":
        yield Measurement("ex2.approx.ftz over [-1, 0]", partial(_ex2, device))
    yield Measurement("probabilities e^x / (1 + e^x), x in [-86, 0]", partial(_ours, device))
