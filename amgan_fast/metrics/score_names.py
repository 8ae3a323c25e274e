"""The scores by name: what each is called and how it is written, wherever scores are shown."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from amgan_fast.metrics.result import Scores


@dataclass(frozen=True)
class ScoreName:
    """One of the numbers in :class:`amgan_fast.metrics.Scores`.

    >>> from amgan_fast.metrics import SCORE
    >>> SCORE["am_score"].heading
    'AM Score (lower is better)'
    """

    field: str
    """Of Scores, and the key in JSON."""
    title: str
    of: str | None = None
    """The field of the score that it is a part of, or tells more of: it is shown beneath that."""
    better: Literal["higher", "lower"] | None = None
    digits: int = 4
    """After the point, in tables of many runs."""
    wants_samples: bool = False
    """Not to be trusted of fewer than 5 samples a class."""
    is_interval: bool = False
    spread: str | None = None
    """The field that is its standard deviation."""
    in_journal: bool = False
    """Whether a training run writes it at every scoring."""

    @property
    def heading(self) -> str:
        return self.title + (f" ({self.better} is better)" if self.better else "")

    def text(self, scores: Scores) -> str:
        """The number or the range; "-" where there is none, and a word of it where its score has no interval."""
        value = getattr(scores, self.field)
        if value is None:
            return "no interval" if self.is_interval and getattr(scores, str(self.of)) is not None else "-"
        text = f"{_number(value[0])} to {_number(value[1])}" if self.is_interval else _number(value)
        if self.spread:
            text += f" ± {_number(getattr(scores, self.spread))}"
        if self.field in scores.unlimited and (by_chance := _number(scores.unlimited[self.field])) != text:
            text += f" (limit; {by_chance})"
        return f"{text} (too few samples)" if self.wants_samples and scores.few_samples else text


SCORES = (
    ScoreName("am_score", "AM Score", better="lower", in_journal=True),
    ScoreName("kl_reference", "KL(reference, mean)", of="am_score", in_journal=True),
    ScoreName("mean_entropy", "mean entropy", of="am_score", in_journal=True),
    ScoreName("am_score_corrected", "corrected for its bias", of="am_score", wants_samples=True),
    ScoreName("am_score_ci95", "95% interval of that", of="am_score", wants_samples=True, is_interval=True),
    ScoreName("inception_score", "Inception Score", better="higher", digits=3, in_journal=True),
    ScoreName("entropy_of_mean", "entropy of the mean", of="inception_score"),
    ScoreName("inception_score_corrected", "corrected for its bias", of="inception_score", wants_samples=True),
    ScoreName(
        "inception_score_ci95", "95% interval of that", of="inception_score", wants_samples=True, is_interval=True
    ),
    ScoreName("split_mean", "over splits, mean ± their spread", of="inception_score", spread="split_std"),
    ScoreName("mode_score", "Mode Score"),
    ScoreName("am_score_2017", "AM Score of 2017", better="higher"),
)
"""In the order in which they are shown."""

SCORE = {name.field: name for name in SCORES}
"""By field."""


def score_lines(sets: Sequence[Scores]) -> list[tuple[str, list[str]]]:
    """(name, a text for each of the sets) of the scores that any of them has; parts of a score are indented.

    >>> import torch
    >>> from amgan_fast.metrics import score_lines, scores
    >>> dict(score_lines([scores(20.0 * torch.eye(2).repeat_interleave(50, 0))]))["Inception Score (higher is better)"]
    ['2.0000']
    """
    rows: list[tuple[str, list[str]]] = []
    shown = set()
    for name in SCORES:
        texts = [name.text(scores) for scores in sets]
        if all(text == "-" for text in texts):
            continue
        shown.add(name.field)
        rows.append(("  " * (name.of in shown) + name.heading, texts))
    return rows


def _number(value: float) -> str:
    return f"{round(value, 4) + 0.0:.4f}" if math.isfinite(value) else str(value)  # 0 and not -0
