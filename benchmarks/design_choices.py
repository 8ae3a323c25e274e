"""What was chosen beside what it was chosen over, where both can still be run: the figures behind docs/design.md.

    python -m benchmarks.design_choices [--threads 2] [--rounds 15]

Each pair is timed in turn. Prints the table of docs/benchmarks.md, in a few seconds.
"""

from __future__ import annotations

import argparse
import inspect
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch.nn import functional

from amgan_fast import ops
from amgan_fast.metrics import RowTerms
from benchmarks.machine import keep_freed_memory
from benchmarks.markdown_tables import row
from benchmarks.timing import interleaved


class Choice(NamedTuple):
    """Two ways to the same, or a way and the least that it could cost."""

    what: str
    chosen: str
    do: Callable[[], object]
    other: str
    do_other: Callable[[], object]


def gradient_with_the_loss() -> Choice:
    """A backward that begins with the logits takes the exponentials of forward again."""
    logits, one = torch.randn(4096, 11), torch.ones(())
    arguments = (logits, None, (1.0, 0.0, 1.0, 0.0, 0.0))
    backward = torch.ops.amgan_fast.kplus1_loss_backward.default
    return Choice(
        "loss and gradient, 4,096 x 11",
        "together",
        lambda: ops.kplus1_loss_and_grad(*arguments),
        "one after the other",
        lambda: (ops.kplus1_loss(*arguments), backward(one, *arguments)),
    )


def defaults_of_the_schema() -> Choice:
    real, labels, generated = torch.randn(100, 11), torch.randint(10, (100,)), torch.randn(100, 11)
    signature = inspect.signature(ops.am_discriminator_loss)
    defaults = {name: p.default for name, p in signature.parameters.items() if p.default is not p.empty}
    return Choice(
        "am_discriminator_loss, 100 x 11: its options",
        "defaults of the schema",
        lambda: ops.am_discriminator_loss(real, labels, generated),
        "the same, given",
        lambda: ops.am_discriminator_loss(real, labels, generated, **defaults),
    )


def seed_of_a_call() -> Choice:
    x, number = torch.randn(8), torch.empty((), dtype=torch.int64)
    return Choice(
        "dropout of 8 numbers",
        "leaky_dropout",
        lambda: ops.leaky_dropout(x, 0.5),
        "the random number in it, `Tensor.random_`",
        number.random_,
    )


def dropout_of_few() -> Choice:
    x = torch.randn(8)
    return Choice(
        "dropout of 8 numbers",
        "leaky_dropout",
        lambda: ops.leaky_dropout(x, 0.5),
        "`F.dropout(F.leaky_relu(x))`",
        lambda: functional.dropout(functional.leaky_relu(x, 0.2)),
    )


def dropout_of_many() -> Choice:
    x = torch.randn(100, 64, 32, 32)
    return Choice(
        "dropout of 100 x 64 x 32 x 32",
        "leaky_dropout",
        lambda: ops.leaky_dropout(x, 0.3),
        "`x.clone()`",
        x.clone,
    )


def scores_in_float64() -> Choice:
    return _beside_float64_sums("in float32", lambda logits: ops.score_sums(logits, blocks=100))


def look_for_probabilities() -> Choice:
    return _beside_float64_sums("a look at every row, `x.sum(1)`", lambda logits: logits.sum(1))


def _beside_float64_sums(what: str, other: Callable[[torch.Tensor], object]) -> Choice:
    logits = torch.randn(5000, 1000)
    return Choice(
        "sums of scores, 5,000 x 1,000 float32",
        "in float64",
        lambda: RowTerms(logits).block_sums(100),
        what,
        lambda: other(logits),
    )


CHOICES = (
    gradient_with_the_loss,
    defaults_of_the_schema,
    seed_of_a_call,
    dropout_of_few,
    dropout_of_many,
    scores_in_float64,
    look_for_probabilities,
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--rounds", type=int, default=15)
    options = parser.parse_args()
    keep_freed_memory()
    torch.set_num_threads(options.threads)
    print(row(["work", "chosen", "µs", "beside", "µs", "beside / chosen"]))
    print(row(["---", "---", "---:", "---", "---:", "---:"]), flush=True)
    for make in CHOICES:
        choice = make()
        times = interleaved({"do": choice.do, "other": choice.do_other}, options.rounds, options.threads, "cpu")
        mine, other = (times[name]["median"] for name in ("do", "other"))
        print(
            row([choice.what, choice.chosen, f"{mine:,.1f}", choice.other, f"{other:,.1f}", f"{other / mine:.2f}"]),
            flush=True,
        )


if __name__ == "__main__":
    main()
