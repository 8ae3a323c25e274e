"""Training steps with one option or another beside the same step without."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch

from amgan_fast.data import to_float
from amgan_fast.train import AdversarialStep
from benchmarks.bench_train_step import parser_of_steps, print_rates, rates_of, time_of_steps, training_set
from benchmarks.machine import describe_machine
from benchmarks.reports import write_json


def compare_steps(
    description: str | None,
    name: str,
    build: Callable[..., AdversarialStep],
    variants: Mapping[str, Mapping[str, Any]],
) -> None:
    """A benchmark's main: the table, and its JSON ``name``.

    Args:
        description: that of the benchmark, for ``--help``.
        build: (network, device, **variant) -> a step.
        variants: by what the table calls them; the first is what the others are compared with.
    """
    parser = parser_of_steps(description, name)
    parser.add_argument("--steps", type=int, default=16)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    images, labels = next(training_set(options.batch_size, options.device))
    steps = {variant: build(options.network, options.device, **given) for variant, given in variants.items()}
    times = time_of_steps(steps, to_float(images), labels, options.rounds, options.threads, options.steps)
    rates = rates_of(times, options.batch_size)
    write_json(
        options.json,
        {
            "machine": describe_machine(options.device, options.threads),
            "network": options.network,
            "batch_size": options.batch_size,
            "microseconds": times,
            "images_per_second": rates,
        },
    )
    title = f"{options.network}, batch of {options.batch_size}, {options.device}, {options.threads} threads"
    print_rates(title, times, rates, f"{next(iter(variants))} / this")
