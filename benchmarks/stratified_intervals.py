"""Coverage of the 95% intervals, and bias, of the corrected scores of samples of which there are so many of each class.

    python -m benchmarks.stratified_intervals [--repetitions 1000]

Samples are scored twice: as what they are, a sample of fixed numbers of each class (strata), and as if their classes
had been drawn at random. Numbers are equal, or grow by class from half the mean to three times that. Of the two
simulated classifiers the soft one (Dirichlet) is right of half of the first class and 4 in 5 of the last; the sharp one
has logistic-normal margins, wide for the last class and narrower for the first. The reference is the uniform
distribution. Of a hundred classes half of the repetitions has to do, of a thousand a twentieth.

A bias is the mean error, less of each set the linear part of it: its mean is 0, and most of the noise is in it.

Leaves build/stratified_intervals.json and build/stratified_intervals.png, in ten minutes on two cores.
"""

from __future__ import annotations

import argparse
import itertools
import math
import warnings
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from rich.console import Console
from rich.progress import track
from rich.table import Table

from amgan_fast.drawing import new_figure, save_figure
from amgan_fast.metrics import ScoreAccumulator, Scores, ScoreWarning
from benchmarks.machine import describe_machine
from benchmarks.reports import write_json
from benchmarks.score_intervals import FOLDER, shade_what_is_wanted
from benchmarks.simulated_classifiers import Classifier, Sharp, Soft, Truth

SIZES = {10: (5, 20, 36, 50), 100: (5, 20, 36, 50), 1000: (5, 50)}  # K: samples a class
FEWER = {10: 1, 100: 2, 1000: 20}  # K: what the number of repetitions is divided by
SAMPLINGS: dict[str, Literal["random"] | None] = {"random": "random", "per-class": None}  # as compute() has it


def soft(classes: int) -> Classifier:
    return Soft(np.column_stack([np.linspace(2, 8, classes), np.full((classes, 4), 0.5)]))


def sharp(classes: int) -> Classifier:
    return Sharp(margin=np.linspace(4, 8, classes), spread=2)


def equal(classes: int, mean: int) -> np.ndarray:
    return np.full(classes, mean)


def one_to_three(classes: int, mean: int) -> np.ndarray:
    return np.linspace(mean / 2, 3 * mean / 2, classes).round().astype(int)


CLASSIFIERS = (soft, sharp)
DESIGNS = {"equal": equal, "1:3": one_to_three}


@dataclass(frozen=True)
class Found:
    """Of the samples taken as if sampled in one way."""

    coverage: float
    """Of the interval of the Inception Score."""
    am_coverage: float
    bias: float
    """Of the mean corrected Inception Score, relative to the truth, without limits as the following."""
    am_bias: float
    """Nats, of the corrected AM Score."""
    limited: float
    """The part of the sets in which chance took a corrected score beyond what is possible."""


@dataclass(frozen=True)
class Study:
    classifier: str
    num_classes: int
    of_a_class: int
    design: str
    n: int
    repetitions: int
    truth: Truth
    found: dict[str, Found]
    """By the sampling that was taken for granted."""


def study(make: Any, classes: int, mean: int, design: str, repetitions: int, console: Console) -> Study:
    classifier, counts = make(classes), DESIGNS[design](classes, mean)
    n = int(counts.sum())
    exact, noise = classifier.truth(counts / n), Noise(classifier, counts / n)
    uniform = [1 / classes] * classes
    random, logits = np.random.default_rng(classes + mean), torch.empty(n, classes)
    strata = random.permutation(np.repeat(np.arange(classes), counts))
    rows: dict[str, list[tuple[float, ...]]] = {sampling: [] for sampling in SAMPLINGS}
    label = f"{make.__name__} K={classes} {mean} a class, {design}"
    for _ in track(range(repetitions), label, console=console):
        classifier.fill(logits, strata, random)
        accumulator = ScoreAccumulator(classes, strata=classes)
        accumulator.update(logits, strata=torch.from_numpy(strata))
        for name, sampling in SAMPLINGS.items():
            rows[name].append(compared(accumulator.compute(uniform, sampling=sampling), exact, noise))
    found = {sampling: Found(*np.mean(of, axis=0).tolist()) for sampling, of in rows.items()}
    return Study(make.__name__, classes, mean, design, n, repetitions, exact, found)


def compared(scores: Scores, exact: Truth, noise: Noise) -> tuple[float, ...]:
    """The fields of Found of one set."""
    known: Any = scores  # no field is None with a reference
    pairs = ((known.inception_score_ci95, exact.inception_score), (known.am_score_ci95, exact.am_score))
    held = [low <= true <= high for (low, high), true in pairs]
    off, off_am = noise.of(scores)
    log_score, am_score = (scores.estimates[name].value for name in ("log_inception_score", "am_score"))
    bias = math.exp(log_score) / exact.inception_score - 1 - off
    return (*held, bias, am_score - exact.am_score - off_am, bool(scores.unlimited))


class Noise:
    """The linear part of what the scores of a set are off by."""

    def __init__(self, classifier: Classifier, shares: np.ndarray) -> None:
        self.mean, self.entropy = classifier.expected(shares)

    def of(self, scores: Scores) -> tuple[float, float]:
        """(of the logarithm of the Inception Score, of the AM Score)."""
        off = np.array(scores.class_distribution) - self.mean
        off_entropy = scores.mean_entropy - self.entropy
        return float(-np.log(self.mean) @ off) - off_entropy, off_entropy - float((off / self.mean).mean())


def show(studies: list[Study]) -> None:
    table = Table(title="95% intervals that hold the truth, and mean less truth")
    for column in ("classifier", "K", "a class", "design", "sets", "true IS"):
        table.add_column(column)
    for sampling in SAMPLINGS:
        for column in ("IS held", "AM held", "IS bias", "AM bias"):
            table.add_column(f"{sampling}: {column}", justify="right")
    table.add_column("limited", justify="right")
    for one in studies:
        cells = [one.classifier, f"{one.num_classes:,}", str(one.of_a_class), one.design, str(one.repetitions)]
        cells.append(f"{one.truth.inception_score:.2f}")
        for sampling in SAMPLINGS:
            found = one.found[sampling]
            cells += [f"{100 * found.coverage:.1f}%", f"{100 * found.am_coverage:.1f}%"]
            cells += [f"{100 * found.bias:+.2f}%", f"{found.am_bias:+.4f}"]
        table.add_row(*cells, f"{100 * one.found['per-class'].limited:.0f}%")
    Console(width=190).print(table)


def draw(path: Path, studies: list[Study]) -> None:
    figure = new_figure(panels=2)
    held, bias = figure.axes
    sizes = [(classes, mean) for classes, means in SIZES.items() for mean in means]
    places = [sizes.index((one.num_classes, one.of_a_class)) for one in studies]
    labels = {"random": "as if random", "per-class": "by strata"}
    for aside, marker, sampling in ((-0.15, "^", "random"), (0.15, "o", "per-class")):
        found = [one.found[sampling] for one in studies]
        where = [place + aside for place in places]
        held.plot(where, [100 * one.coverage for one in found], marker, label=labels[sampling], alpha=0.6)
        bias.plot(where, [100 * one.bias for one in found], marker, label=labels[sampling], alpha=0.6)
    for axes in figure.axes:
        names = [f"{classes}\n{mean}" for classes, mean in sizes]
        axes.set(xticks=range(len(sizes)), xticklabels=names, xlabel="classes, samples of each")
    shade_what_is_wanted(held, bias)
    held.set(title="95% intervals that hold the Inception Score [%]")
    held.legend(loc=(0.55, 0.2))
    bias.set(title="corrected Inception Score: bias [% of the truth]")
    save_figure(path, figure)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repetitions", type=int, default=1000)
    repetitions = parser.parse_args().repetitions
    console = Console(stderr=True)
    warnings.simplefilter("ignore", ScoreWarning)  # what samples are not is what they are taken for here
    studies = [
        study(make, classes, mean, design, max(1, repetitions // FEWER[classes]), console)
        for classes, means in SIZES.items()
        for mean, make, design in itertools.product(means, CLASSIFIERS, DESIGNS)
    ]
    report = {
        "machine": describe_machine("cpu", torch.get_num_threads()),
        "studies": [asdict(one) for one in studies],
    }
    write_json(FOLDER / "stratified_intervals.json", report)
    draw(FOLDER / "stratified_intervals.png", studies)
    show(studies)


if __name__ == "__main__":
    main()
