"""Coverage of the 95% intervals of the scores that compare features pair by pair: kernel distance, precision, recall,
density, coverage, memorisation, and diversity by random frequencies.

    python -m benchmarks.neighbour_score_study [--repetitions 200]

Features are normal, or of ten modes; samples are as the reference, or moved, narrower, wider, or lack two modes. What
an interval is to hold is the mean over all repetitions (the distance 0 itself, where samples are as the reference),
since all but the kernel distance depend on how many samples there are. Beside each coverage stands the mean standard
error over the standard deviation of the score. Then diversity by random frequencies beside that of all pairs.

Leaves build/neighbour_score_study.json, in ten minutes on one core.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from rich.console import Console
from rich.progress import track
from torch import Tensor

from amgan_fast.metrics import (
    DiversitySums,
    finite,
    kernel_distance,
    memorisation,
    precision_recall,
    suggested_bandwidth,
)
from benchmarks.machine import describe_machine
from benchmarks.markdown_tables import header, row
from benchmarks.reports import write_json

FOLDER = Path("build")
COMPONENTS = 64
SEEDS = 4
NAMES = ("kernel distance", "precision", "recall", "density", "coverage", "nearer", "Vendi", "RKE")


@dataclass(frozen=True)
class Source:
    """Normal features, around ``modes`` places where there are some."""

    dim: int
    scale: float = 1.0
    shift: float = 0.0
    """Of the first four values."""
    modes: int = 0

    def draw(self, count: int, random: torch.Generator) -> Tensor:
        """[``count``, ``dim``]."""
        features = self.scale * torch.randn(count, self.dim, generator=random)
        features[:, :4] += self.shift
        if self.modes:
            places = 4 * torch.randn(10, self.dim, generator=torch.Generator().manual_seed(1))
            features += places[torch.randint(self.modes, (count,), generator=random)]
        return features


@dataclass(frozen=True)
class Case:
    name: str
    n: int
    m: int
    samples: Source
    reference: Source


CASES = (
    Case("the same", 500, 500, Source(2), Source(2)),
    Case("the same", 500, 500, Source(16), Source(16)),
    Case("the same", 2000, 2000, Source(16), Source(16)),
    Case("the same", 1000, 1000, Source(64), Source(64)),
    Case("moved by 0.5", 1000, 1000, Source(16, shift=0.5), Source(16)),
    Case("0.7 as wide", 1000, 1000, Source(16, scale=0.7), Source(16)),
    Case("1.3 as wide", 1000, 1000, Source(16, scale=1.3), Source(16)),
    Case("0.9 as wide", 500, 2000, Source(64, scale=0.9), Source(64)),
    Case("8 of 10 modes", 1000, 1000, Source(32, modes=8), Source(32, modes=10)),
)


@dataclass(frozen=True)
class Result:
    value: float
    """Mean over the repetitions."""
    coverage: float
    error_over_spread: float | None
    """None where no standard error is given."""


@dataclass(frozen=True)
class Study:
    case: Case
    repetitions: int
    results: dict[str, Result]


Found = tuple[float, tuple[float, float], float | None]
"""Value, interval, standard error."""


def scored(case: Case, training: Tensor, bandwidth: float, random: torch.Generator) -> Iterator[Found]:
    """In the order of :data:`NAMES`."""
    x, y = case.samples.draw(case.n, random), case.reference.draw(case.m, random)
    kernel = kernel_distance(x, y)
    yield kernel.value, kernel.ci95, kernel.estimate.standard_error
    near = precision_recall(samples=x, reference=y)
    for name in NAMES[1:5]:
        yield getattr(near, name), getattr(near, f"{name}_ci95"), near.estimates[name].standard_error
    remembered = memorisation(x, y, training)
    yield remembered.nearer, remembered.nearer_ci95, None
    sums = DiversitySums(case.samples.dim, bandwidth, components=COMPONENTS)
    sums.update(x)
    diverse = sums.compute()
    assert diverse.vendi_ci95 is not None
    assert diverse.rke_ci95 is not None
    for value, interval, name in (
        (diverse.vendi, diverse.vendi_ci95, "log_vendi"),
        (diverse.rke, diverse.rke_ci95, "log_rke"),
    ):
        error = diverse.estimates[name].standard_error
        yield value, interval, None if error is None else value * error


def study(case: Case, repetitions: int, tracked: Callable[[range, str], Iterator[int]]) -> Study:
    random = torch.Generator().manual_seed(0)
    training = case.reference.draw(case.m, random)
    bandwidth = suggested_bandwidth(training)
    title = f"{case.name} N={case.n} M={case.m} D={case.samples.dim}"
    found = [list(scored(case, training, bandwidth, random)) for _ in tracked(range(repetitions), title)]
    results = {}
    for name, of_name in zip(NAMES, zip(*found, strict=True), strict=True):
        values = torch.tensor([value for value, _, _ in of_name], dtype=torch.float64)
        truth = 0.0 if name == NAMES[0] and case.samples == case.reference else float(values.mean())
        errors = [error for _, _, error in of_name if error is not None]
        results[name] = Result(
            value=float(values.mean()),
            coverage=sum(low <= truth <= high for _, (low, high), _ in of_name) / repetitions,
            error_over_spread=float(torch.tensor(errors).square().mean().sqrt() / values.std()) if errors else None,
        )
    return Study(case, repetitions, results)


def table(studies: Sequence[Study]) -> Iterator[str]:
    """Markdown: of each score the mean value, coverage, and standard error over spread."""
    yield from header(["samples", "D", "N / M", *NAMES])
    for one in studies:
        cells = []
        for result in one.results.values():
            ratio = "" if result.error_over_spread is None else f" ({result.error_over_spread:.2f})"
            cells.append(f"{result.value:.3g}: {100 * result.coverage:.0f}%{ratio}")
        yield row([one.case.name, f"{one.case.samples.dim}", f"{one.case.n:,} / {one.case.m:,}", *cells])


def frequencies() -> Iterator[str]:
    """Markdown: diversity of 2,000 features by so many frequencies of :data:`SEEDS` seeds, least to most, beside that
    of all pairs."""
    yield from header(["features", "frequencies", "Vendi", "uncorrected", "RKE", "uncorrected"])
    for name, source in (("normal, 16 values", Source(16)), ("10 modes, 32 values", Source(32, modes=10))):
        features = source.draw(2000, torch.Generator().manual_seed(0))
        bandwidth = suggested_bandwidth(features)
        distances = torch.cdist(features.double(), features.double())
        kernel = (distances.square() / (-2 * bandwidth**2)).exp() / len(features)
        vendi = float(torch.special.entr(torch.linalg.eigvalsh(kernel).clamp_min(0)).sum().exp())
        yield row([name, "all pairs", f"{vendi:.1f}", "", f"{1 / float(kernel.square().sum()):.1f}", ""])
        for components in (256, 512, 1024):
            found = []
            for seed in range(SEEDS):
                sums = DiversitySums(source.dim, bandwidth, components=components, blocks=2, seed=seed)
                sums.update(features)
                one = sums.compute()
                found.append((one.vendi, one.vendi_uncorrected, one.rke, one.rke_uncorrected))
            cells = [f"{min(values):.1f} to {max(values):.1f}" for values in zip(*found, strict=True)]
            yield row([name, f"{components:,}", *cells])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repetitions", type=int, default=200)
    repetitions = parser.parse_args().repetitions
    torch.set_num_threads(1)
    console = Console(stderr=True)

    def tracked(numbers: range, title: str) -> Iterator[int]:
        yield from track(numbers, title, console=console)

    studies = [study(case, repetitions, tracked) for case in CASES]
    report = {"machine": describe_machine("cpu", threads=1), "studies": finite([asdict(one) for one in studies])}
    write_json(FOLDER / "neighbour_score_study.json", report)
    print("\n".join([*table(studies), "", *frequencies()]))


if __name__ == "__main__":
    main()
