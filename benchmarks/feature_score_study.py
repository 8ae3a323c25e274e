"""Coverage of the 95% intervals of the Fréchet distance, and its bias: features whose true distance is known.

    python -m benchmarks.feature_score_study [--repetitions 300]

Three kinds of features: ``flat``, normal with independent values of one variance; ``decaying``, normal with variances
that fall evenly on a logarithmic scale from 1 to 1e-6; ``rectified``, max(0, W x) of such x and a random rotation W,
whose mean and covariance have a closed form (Cho and Saul, Kernel methods for deep learning, 2009: equations 1 and 3 of
the arc-cosine kernel of degree 1). Samples are these with variances that grow by a factor over features, or do not
(distance 0). The reference is exact, or of as many samples. Of 256 features there is a tenth of the repetitions.

Leaves build/feature_score_study.json and build/frechet_intervals.png, in a quarter of an hour on one core.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import product
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.progress import track
from rich.table import Table
from torch import Tensor

from amgan_fast.drawing import new_figure, save_figure
from amgan_fast.metrics import FeatureMoments, GaussianMoments, frechet_distance
from benchmarks.machine import describe_machine
from benchmarks.reports import write_json

FOLDER = Path("build")
KINDS = ("flat", "decaying", "rectified")
GROWTHS = (0.0, 0.1, 0.5)
SIZES = ((64, (1.5, 2.0, 3.0, 5.0, 10.0, 25.0), 1), (256, (2.0, 5.0, 10.0), 10))
"""D, N / D, and in what part of the repetitions."""
LEAST_VARIANCE = 1e-6


@dataclass(frozen=True)
class Population:
    """Features max(0, W x) or x, of independent normal x of these variances."""

    variances: Tensor
    rotation: Tensor | None

    def draw(self, count: int, generator: torch.Generator) -> Tensor:
        """[``count``, D]."""
        x = torch.randn(count, len(self.variances), generator=generator, dtype=torch.float64) * self.variances.sqrt()
        return x if self.rotation is None else (x @ self.rotation).relu()

    def moments(self) -> GaussianMoments:
        """Exact ones."""
        if self.rotation is None:
            return GaussianMoments(torch.zeros_like(self.variances), torch.diag(self.variances))
        covariance = (self.rotation.T * self.variances) @ self.rotation
        scale = covariance.diag().sqrt()
        cosine = (covariance / scale / scale[:, None]).clamp(-1, 1)
        angle = cosine.arccos().fill_diagonal_(0.0)
        second = scale * scale[:, None] * (angle.sin() + (math.pi - angle) * cosine) / (2 * math.pi)
        mean = scale / math.sqrt(2 * math.pi)
        return GaussianMoments(mean, second - torch.outer(mean, mean))


def population(kind: str, dim: int, growth: float) -> Population:
    variances = torch.ones(dim, dtype=torch.float64)
    if kind != "flat":
        variances = torch.logspace(0, math.log10(LEAST_VARIANCE), dim, dtype=torch.float64)
    grown = variances * (1 + growth * torch.linspace(0, 1, dim, dtype=torch.float64).flip(0))
    if kind != "rectified":
        return Population(grown, None)
    noise = torch.randn(dim, dim, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    return Population(grown, torch.linalg.qr(noise)[0])


@dataclass(frozen=True)
class Study:
    kind: str
    dim: int
    per_feature: float
    """N / D."""
    exact: bool
    """Whether the reference is; else it is of as many samples."""
    growth: float
    truth: float
    repetitions: int
    coverage: float
    bias: float
    """Of the mean of the plain distance, as the following."""
    corrected_bias: float
    spread: float
    """Standard deviation of the corrected distance before it is limited."""
    standard_error: float
    """That it is said to have: root of the mean of its squares."""


def study(kind: str, dim: int, growth: float, per_feature: float, exact: bool, repetitions: int) -> Study:
    generator = torch.Generator().manual_seed(0)
    mine, others = population(kind, dim, growth), population(kind, dim, 0.0)
    truth = frechet_distance(mine.moments(), others.moments()).value
    n = round(per_feature * dim)
    values, corrected, squares, held = [], [], [], 0
    for _ in range(repetitions):
        reference = others.moments() if exact else accumulated(others, n, generator)
        found = frechet_distance(accumulated(mine, n, generator), reference)
        assert found.estimate is not None
        assert found.estimate.standard_error is not None
        assert found.ci95 is not None
        values.append(found.value)
        corrected.append(found.estimate.value)
        squares.append(found.estimate.standard_error**2)
        held += found.ci95[0] <= truth <= found.ci95[1]
    plain, unbiased = torch.tensor(values), torch.tensor(corrected)
    return Study(
        kind=kind,
        dim=dim,
        per_feature=per_feature,
        exact=exact,
        growth=growth,
        truth=truth,
        repetitions=repetitions,
        coverage=held / repetitions,
        bias=float(plain.mean()) - truth,
        corrected_bias=float(unbiased.mean()) - truth,
        spread=float(unbiased.std()),
        standard_error=math.sqrt(math.fsum(squares) / repetitions),
    )


def accumulated(source: Population, count: int, generator: torch.Generator) -> FeatureMoments:
    moments = FeatureMoments(len(source.variances), blocks=16)
    moments.update(source.draw(count, generator))
    return moments


def show(studies: Sequence[Study]) -> None:
    """In each cell the distances of :data:`GROWTHS`, from 0 on."""
    table = Table(title="coverage of 95% intervals, and mean less truth as a part of the bias of the plain distance")
    names = (
        "features",
        "D",
        "N / D",
        "reference",
        "repetitions",
        "distance",
        "held",
        "bias",
        "left of it",
        "SE / spread",
    )
    for name in names:
        table.add_column(name, justify="right")
    cells = {(one.kind, one.dim, one.per_feature, one.exact): one for one in studies}
    for kind, dim, per_feature, exact in cells:
        of_cell = [
            one for one in studies if (one.kind, one.dim, one.per_feature, one.exact) == (kind, dim, per_feature, exact)
        ]
        columns = [
            [f"{one.truth:.3g}" for one in of_cell],
            [f"{100 * one.coverage:.0f}%" for one in of_cell],
            [f"{one.bias:+.3g}" for one in of_cell],
            [f"{100 * one.corrected_bias / one.bias:+.1f}%" for one in of_cell],
            [f"{one.standard_error / one.spread:.2f}" for one in of_cell],
        ]
        head = (kind, f"{dim}", f"{per_feature:g}", "exact" if exact else "as many", f"{of_cell[0].repetitions}")
        table.add_row(*head, *(" / ".join(column) for column in columns))
    Console(width=160).print(table)


def draw(path: Path, studies: Sequence[Study]) -> None:
    """Over N / D, of the smaller D."""
    figure = new_figure(panels=2)
    held, bias = figure.axes
    smallest = min(one.dim for one in studies)
    lines = [
        (kind, exact, [one for one in studies if (one.kind, one.exact, one.dim) == (kind, exact, smallest)])
        for kind, exact in product(KINDS, (True, False))
    ]
    for number, (kind, exact, line) in enumerate(lines):
        label = f"{kind}, reference {'exact' if exact else 'of as many'}"
        for growth, marker in zip(GROWTHS, "osD", strict=True):
            points = [one for one in line if one.growth == growth]
            places = [one.per_feature * (1 + 0.02 * (number - 2.5)) for one in points]
            options: Any = {"color": f"C{number}", "markersize": 3}
            name = label if growth == GROWTHS[0] else None
            held.plot(places, [100 * one.coverage for one in points], marker, label=name, **options)
            left = [100 * abs(one.corrected_bias) / one.bias for one in points]
            bias.plot(places, left, marker, **options)
    held.axhspan(93, 97, color="gray", alpha=0.3, linewidth=0)
    held.set(title="95% intervals that hold the truth [%]", ylim=(70, 101))
    held.legend(fontsize="x-small", loc="lower right")
    bias.set(title="bias left, of that of the plain distance [%]", yscale="log")
    for axes in figure.axes:
        axes.set(xscale="log", xlabel="samples for each feature, N / D")
        axes.set_xticks(SIZES[0][1], [f"{x:g}" for x in SIZES[0][1]])
        axes.minorticks_off()
    save_figure(path, figure)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repetitions", type=int, default=300)
    repetitions = parser.parse_args().repetitions
    cells = [
        (kind, dim, growth, per_feature, exact, max(2, repetitions // part))
        for dim, sizes, part in SIZES
        for kind, per_feature, exact, growth in product(KINDS, sizes, (True, False), GROWTHS)
    ]
    studies = [study(*cell) for cell in track(cells, "studying", console=Console(stderr=True))]
    report = {
        "machine": describe_machine("cpu", torch.get_num_threads()),
        "studies": [asdict(one) for one in studies],
    }
    write_json(FOLDER / "feature_score_study.json", report)
    draw(FOLDER / "frechet_intervals.png", studies)
    show(studies)


if __name__ == "__main__":
    main()
