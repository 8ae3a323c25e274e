"""Coverage of the 95% intervals, and bias, of Inception Score and AM Score: simulated classifiers with known truth.

    python -m benchmarks.score_intervals [--repetitions 1000]

A sample's class y is drawn with unequal frequencies (the most frequent three times as often as the rarest). Its class
distribution is Dirichlet over five cells: y (parameter 4), the next three classes (0.5 each), and all other classes
together (0.5), which share the last cell equally. E[p], and so the truth of H(m) and KL(reference, m), and E[H(p)]
then have closed forms. The reference is the uniform distribution.

Leaves build/score_intervals.json and build/score_intervals.png, in two minutes on two cores.
"""

from __future__ import annotations

import argparse
import math
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from matplotlib.axes import Axes
from rich.console import Console
from rich.progress import track
from rich.table import Table

from amgan_fast import ops
from amgan_fast.drawing import new_figure, save_figure
from amgan_fast.metrics import ScoreAccumulator
from benchmarks.machine import describe_machine
from benchmarks.reports import write_json
from benchmarks.simulated_classifiers import Soft, Truth

FOLDER = Path("build")
CELLS = np.array([4, 0.5, 0.5, 0.5, 0.5])
SIZES = ((10, 500), (10, 5000), (100, 1000), (100, 5000), (1000, 5000), (1000, 10_000))  # K, N
BLOCKS, SPLITS = 100, 10


@dataclass(frozen=True)
class Study:
    num_classes: int
    n: int
    repetitions: int
    truth: Truth
    coverage: float
    """Of the interval of the Inception Score."""
    am_coverage: float
    split_coverage: float
    """Of split_mean +- 1.96 split_std / sqrt(splits), as it is often printed."""
    bias: float
    """Of the mean Inception Score, relative to the truth, as the following."""
    split_bias: float
    corrected_bias: float
    am_bias: float
    """Nats, as the following."""
    am_corrected_bias: float


def frequencies(classes: int) -> np.ndarray:
    weights = np.linspace(1, 3, classes)
    return weights / weights.sum()


def study(classes: int, n: int, repetitions: int, console: Console) -> Study:
    classifier, shares = Soft(np.tile(CELLS, (classes, 1))), frequencies(classes)
    exact, cumulative = classifier.truth(shares), shares.cumsum()
    random, logits = np.random.default_rng(classes + n), torch.empty(n, classes)
    wanted = np.array([exact.inception_score, exact.am_score, exact.inception_score])
    uniform = [1 / classes] * classes
    values, hits = [], []
    for _ in track(range(repetitions), f"K={classes} N={n}", console=console):
        y = np.searchsorted(cumulative, random.random(n)).clip(max=classes - 1)
        classifier.fill(logits, y, random)
        accumulator = ScoreAccumulator(classes, blocks=BLOCKS, splits=SPLITS)
        accumulator.add_sums(ops.score_sums(logits, blocks=BLOCKS), n)
        scores: Any = accumulator.compute(uniform)  # no field is None with a reference and splits
        reach = 1.96 * scores.split_std / math.sqrt(SPLITS)
        of_splits = (scores.split_mean - reach, scores.split_mean + reach)
        bounds = np.array([scores.inception_score_ci95, scores.am_score_ci95, of_splits])
        hits.append((bounds[:, 0] <= wanted) & (wanted <= bounds[:, 1]))
        of_is = (scores.inception_score, scores.split_mean, scores.inception_score_corrected)
        values.append((*of_is, scores.am_score, scores.am_score_corrected))
    coverage, am_coverage, split_coverage = np.mean(hits, axis=0).tolist()
    means = np.mean(values, axis=0)
    bias, split_bias, corrected_bias = (means[:3] / exact.inception_score - 1).tolist()
    am_bias, am_corrected_bias = (means[3:] - exact.am_score).tolist()
    return Study(
        num_classes=classes,
        n=n,
        repetitions=repetitions,
        truth=exact,
        coverage=coverage,
        am_coverage=am_coverage,
        split_coverage=split_coverage,
        bias=bias,
        split_bias=split_bias,
        corrected_bias=corrected_bias,
        am_bias=am_bias,
        am_corrected_bias=am_corrected_bias,
    )


def show(studies: list[Study]) -> None:
    table = Table(title=f"{studies[0].repetitions} repetitions; coverage of 95% intervals, and mean less truth")
    table.add_column("K")
    table.add_column("N")
    for column in ("true IS", "IS held", "AM held", "splits held"):
        table.add_column(column, justify="right")
    for column in ("IS", "splits", "corrected", "AM", "AM corrected"):
        table.add_column(f"{column} bias", justify="right")
    for one in studies:
        held = [f"{100 * x:.1f}%" for x in (one.coverage, one.am_coverage, one.split_coverage)]
        relative = [f"{100 * x:+.3f}%" for x in (one.bias, one.split_bias, one.corrected_bias)]
        nats = [f"{x:+.5f}" for x in (one.am_bias, one.am_corrected_bias)]
        true_score = f"{one.truth.inception_score:.3f}"
        table.add_row(f"{one.num_classes:,}", f"{one.n:,}", true_score, *held, *relative, *nats)
    Console(width=150).print(table)


def draw(path: Path, studies: list[Study]) -> None:
    figure = new_figure(panels=2)
    held, bias = figure.axes
    places = range(len(studies))
    panels = (
        (held, (("IS", "coverage"), ("AM Score", "am_coverage"), ("IS, splits: 1.96 std/√10", "split_coverage"))),
        (bias, (("corrected", "corrected_bias"), ("whole set", "bias"), ("mean of 10 splits", "split_bias"))),
    )
    for axes, lines in panels:
        for aside, marker, (label, field) in zip((-0.15, 0, 0.15), "os^", lines, strict=True):
            values = [100 * getattr(one, field) for one in studies]
            axes.plot([place + aside for place in places], values, marker, label=label)
        names = [f"{one.num_classes}\n{one.n}" for one in studies]
        axes.set(xticks=places, xticklabels=names, xlabel="classes K, samples N")
    shade_what_is_wanted(held, bias)
    held.set(title="95% intervals that hold the truth [%]")
    held.legend()
    bias.set(title="Inception Score: bias [% of the truth]", ylim=(-100, 10))
    bias.legend(loc="upper right")
    save_figure(path, figure)


def shade_what_is_wanted(held: Axes, bias: Axes) -> None:
    """Per cent of intervals that hold the truth, and per cent of it that estimates are off."""
    held.axhspan(93, 97, color="gray", alpha=0.3, linewidth=0)
    held.set_ylim(-3, 103)
    bias.axhspan(-0.2, 0.2, color="gray", alpha=0.3, linewidth=0)
    bias.set_yscale("symlog", linthresh=0.2)
    bias.yaxis.set_major_formatter("{x:g}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repetitions", type=int, default=1000)
    repetitions = parser.parse_args().repetitions
    console = Console(stderr=True)
    studies = [study(classes, n, repetitions, console) for classes, n in SIZES]
    report = {
        "machine": describe_machine("cpu", torch.get_num_threads()),
        "cells": CELLS.tolist(),
        "studies": [asdict(one) for one in studies],
    }
    write_json(FOLDER / "score_intervals.json", report)
    draw(FOLDER / "score_intervals.png", studies)
    show(studies)


if __name__ == "__main__":
    main()
