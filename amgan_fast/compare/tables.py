"""The tables of a comparison, in Markdown."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence

from amgan_fast.compare.difference_tables import difference_section
from amgan_fast.compare.markdown_rows import markdown_rows
from amgan_fast.compare.results import CellResult, Comparison, MaxMsSsim, RealResult
from amgan_fast.metrics import SCORE


def markdown(comparison: Comparison) -> str:
    """The paper's tables 1 and 3: a line a model, dynamic and predefined labels side by side."""
    real, cells = comparison.real, comparison.cells
    seeds = len({cell.seed for cell in cells})
    parts = [
        f"# {comparison.dataset}: {len(cells)} runs",
        f"Means over {seeds} seed{'s' if seeds > 1 else ''} ± their standard deviation (n - 1)." if seeds > 1 else "",
        "## Inception Score and AM Score",
        "Plain, as they are published.",
        _table(cells, real.scores, [(name.title, name.field, name.digits) for name in _SCORES]),
        "## MS-SSIM, the largest of the classes' means",
        "Corrected for being the largest.",
        _table(cells, {"ms_ssim": real.ms_ssim.corrected}, (("max MS-SSIM", "ms_ssim", 3),)),
        *_accuracies(cells),
        *difference_section(cells),
        "## Every run: corrected scores with their 95% intervals",
        "Over samples, not over runs.",
        _runs(cells, real),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


_SCORES = tuple(SCORE[field] for field in ("inception_score", "am_score", "kl_reference", "mean_entropy"))
_WITH_INTERVAL = ("inception_score", "am_score")


def mean_and_spread(values: Sequence[float | None], digits: int) -> str:
    """Of the values that are numbers, and of how many where others are infinite or not known."""
    numbers = [value for value in values if value is not None and math.isfinite(value)]
    if not numbers:
        return "-"
    text = f"{statistics.fmean(numbers):.{digits}f}"
    if len(numbers) > 1:
        text += f" ± {statistics.stdev(numbers):.{digits}f}"
    return text if len(numbers) == len(values) else f"{text} ({len(numbers)} of {len(values)} runs)"


def _accuracies(cells: Sequence[CellResult]) -> list[str]:
    """Of the discriminators that have class outputs."""
    classifying = [cell for cell in cells if cell.discriminator_accuracy is not None]
    if not classifying:
        return []
    table = _table(classifying, None, (("accuracy", "discriminator_accuracy", 4),))
    return ["## Accuracy of the discriminator on held-out images", table]


def _table(cells: Sequence[CellResult], real: dict | None, columns: Sequence[tuple[str, str, int]]) -> str:
    """A line a model, real images first unless they are None."""
    labellings = list(dict.fromkeys(cell.labels for cell in cells))
    lines = [["model", *(f"{title}, {labelling}" for title, _, _ in columns for labelling in labellings)]]
    if real is not None:
        held_out = (_number(real[name], digits) for _, name, digits in columns for _ in labellings)
        lines.append(["held-out real", *held_out])
    for model in dict.fromkeys(cell.model for cell in cells):
        of_model = [cell for cell in cells if cell.model == model]
        lines.append(
            [
                model,
                *(
                    mean_and_spread([_value(cell, name) for cell in of_model if cell.labels == labelling], digits)
                    for _, name, digits in columns
                    for labelling in labellings
                ),
            ]
        )
    return markdown_rows(lines)


def _value(cell: CellResult, name: str) -> float | None:
    if name == "ms_ssim":
        return cell.ms_ssim.corrected
    return getattr(cell, name) if hasattr(cell, name) else cell.scores[name]


def _runs(cells: Sequence[CellResult], real: RealResult) -> str:
    scores = [text for field in _WITH_INTERVAL for text in (f"{SCORE[field].title}, corrected", "95%")]
    lines = [["run", *scores, "max MS-SSIM, corrected", "95%", "discriminator's accuracy", "95%"]]
    lines.append(["held-out real", *_scores(real.scores), *_similar(real.ms_ssim), "-", "-"])
    for cell in sorted(cells, key=lambda cell: (cell.model, cell.labels, cell.seed)):
        accuracy = _number(cell.discriminator_accuracy)
        interval = _interval(cell.discriminator_accuracy_ci95)
        name = f"{cell.model}, {cell.labels}, seed {cell.seed}"
        lines.append([name, *_scores(cell.scores), *_similar(cell.ms_ssim), accuracy, interval])
    return markdown_rows(lines)


def _similar(largest: MaxMsSsim) -> list[str]:
    return [_number(largest.corrected, 3), _interval(largest.ci95, 3)]


def _number(value: float | None, digits: int = 4) -> str:
    return "-" if value is None else f"{value:.{digits}f}"


def _interval(bounds: Sequence[float] | None, digits: int = 4) -> str:
    return "-" if bounds is None else f"{bounds[0]:.{digits}f} to {bounds[1]:.{digits}f}"


def _scores(scores: dict) -> list[str]:
    return [
        text
        for field in _WITH_INTERVAL
        for text in (_number(scores[f"{field}_corrected"]), _interval(scores[f"{field}_ci95"]))
    ]
