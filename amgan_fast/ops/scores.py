"""The sums that Inception Score, Mode Score and AM Score are made of."""

# mypy: disable-error-code="empty-body"
# The operations themselves: csrc/ops/scores.cpp; how a function without a body calls one: _calls.py.
from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from amgan_fast.ops._calls import calls

_ops = torch.ops.amgan_fast


class ScoreSums(NamedTuple):
    """Sums over the rows of each of B blocks, float64; two of them add up to that of their union."""

    count: Tensor  # type: ignore[assignment]  # hides tuple.count
    """[B], the number of rows."""
    entropy: Tensor
    """[B], sum of H(p) in nats."""
    prob: Tensor
    """[B, K], sum of p_k."""
    prob_sq: Tensor
    """[B, K], sum of p_k**2."""
    log_prob: Tensor
    """[B, K], sum of log p_k."""

    @classmethod
    def zeros(cls, *sets: int, num_classes: int, device: torch.device | str | None = None) -> ScoreSums:
        """Of no rows yet, in blocks of any shape: [*sets] and [*sets, K]."""
        shapes = (sets, sets, *[(*sets, num_classes)] * 3)
        return cls(*(torch.zeros(shape, dtype=torch.float64, device=device) for shape in shapes))

    def map(self, function: Callable[[Tensor], Tensor]) -> ScoreSums:
        """``function`` of each of the five."""
        return ScoreSums(*map(function, self))

    def total(self, dim: int = 0) -> ScoreSums:
        """Of all blocks together, along one dimension of them."""
        return self.map(lambda x: x.sum(dim))

    def add_(self, other: ScoreSums) -> None:
        """Add those of other rows, in place; they may be on another device."""
        for total, part in zip(self, other, strict=True):
            total += part.to(total.device)


@calls(_ops.score_sums.default, ScoreSums._make)
def score_sums(
    logits: Tensor,
    *,
    blocks: int = 1,
    offset: int = 0,
    probabilities: bool = False,
    dtype: torch.dtype | None = None,
    initial: Sequence[Tensor] | None = None,
) -> ScoreSums:
    """Sums over rows of the class distribution p = softmax(logits), per round-robin block, in float64.

    Row i belongs to block ``(offset + i) % blocks``: inputs sorted by class then do no harm, and a stream of
    batches keeps its blocks when ``offset`` counts the rows seen before. log p is taken from the logits, never
    from a rounded p. No gradient. NaN or +inf in a row of logits makes the sums of its block NaN.

    Args:
        logits: [N, K], float32, float64, bfloat16 or float16, any strides.
        blocks: the number of blocks B, at least 1.
        offset: rows before this batch, at least 0.
        probabilities: the input holds p instead of logits; p_k = 0 adds 0 to the entropy and -inf to log_prob.
        dtype: torch.float64: rows are computed in float64 whatever their dtype, on the CPU without a copy of them.
            None: float32 and 16 bits in float32, which on the CPU is up to twice as fast and rounds sums to some seven
            digits.
        initial: the sums of other rows, [blocks] and [blocks, K], to which these are added, into new tensors.

    Raises:
        TypeError: what is no tensor, or a dtype that is not floating point.
        ValueError: a wrong shape, ``blocks``, ``offset`` or ``dtype``.

    >>> import torch
    >>> from amgan_fast import ops
    >>> sums = ops.score_sums(torch.tensor([[0.0, 0.0], [9.0, 0.0], [0.0, 9.0]]))
    >>> marginal = sums.prob[0] / sums.count[0]
    >>> (torch.special.entr(marginal).sum() - sums.entropy[0] / sums.count[0]).exp()  # the Inception Score
    tensor(1.5861, dtype=torch.float64)
    """
