"""Which differences between models are settled, in Markdown."""

from __future__ import annotations

from collections.abc import Sequence

from amgan_fast.compare.differences import DIFFERING, ModelDifference, model_differences, other_classifiers, standings
from amgan_fast.compare.markdown_rows import markdown_rows
from amgan_fast.compare.results import CellResult
from amgan_fast.metrics import SCORE

_SETTLED = 0.05

_OVER = {
    "runs": "Means over {seeds} runs; Welch's t over runs. The variance is that between runs, which has the variance "
    "between their samples in it.",
    "samples": "One run each; Welch's t over samples. The variance is that between the samples of a run: what is "
    "settled holds for these runs, not for the methods, whose runs differ among themselves.",
}
_COLUMNS = (
    "Scores are corrected ones, not set to what is possible where chance took them beyond: an AM Score may be below "
    "the mean entropy here. The best model is first. The difference is a model's score less the best one's, with its "
    "95% interval and p. Then comes p of the difference to each better model, adjusted by Holm's method for all pairs "
    "of the table: bold where it is below .05, which settles that difference."
)


def difference_section(cells: Sequence[CellResult]) -> list[str]:
    """Heading, text and a table for each score and labelling; empty where there is one model."""
    if len({cell.model for cell in cells}) < 2:
        return []
    heading = "## Which differences are settled"
    if several := other_classifiers(cells):
        which = "; ".join(f"SHA-256 {sha256} of {', '.join(runs)}" for sha256, runs in several.items())
        return [heading, f"Not compared: the runs were judged by {len(several)} classifiers. {which}."]
    found = model_differences(cells)
    text = _OVER[found[0].over].format(seeds=len({cell.seed for cell in cells}))
    parts = [heading, f"{text} {_COLUMNS}"]
    for score in DIFFERING:
        for labelling in dict.fromkeys(cell.labels for cell in cells):
            pairs = [one for one in found if (one.score, one.labels) == (score, labelling)]
            of_labelling = [cell for cell in cells if cell.labels == labelling]
            parts += [f"### {SCORE[score].title}, {labelling} labels", _table(of_labelling, score, pairs)]
    return parts


def _table(cells: Sequence[CellResult], score: str, pairs: Sequence[ModelDifference]) -> str:
    """A line a model, the best first."""
    models = standings(cells, score)
    best, *_ = models
    of_pair = {(pair.better, pair.model): pair for pair in pairs}
    columns = list(models)[:-1]
    head = ["model", SCORE[score].title, f"less {best}", "95%", "p", *(f"p by Holm, {model}" for model in columns)]
    lines = [head]
    for model, estimate in models.items():
        less_best = of_pair.get((best, model))
        lines.append(
            [
                model,
                "-" if estimate is None else f"{estimate.value:.4f}",
                *(less_best.difference.texts() if less_best and less_best.difference else ["-"] * 3),
                *(_adjusted(of_pair.get((better, model))) for better in columns),
            ]
        )
    return markdown_rows(lines)


def _adjusted(pair: ModelDifference | None) -> str:
    """Empty for models that are not better."""
    if pair is None:
        return ""
    if pair.p_holm is None:
        return "-"
    text = f"{pair.p_holm:.2g}"
    return f"**{text}**" if pair.p_holm < _SETTLED else text
