"""Whether what is given for logits are probabilities: the commonest mistake, and scores then look like any others."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

from amgan_fast.device import cpu_threads
from amgan_fast.metrics.bad_rows import bad_rows

PROBABILITIES_FOR_LOGITS = (
    "logits are within [0, 1] and sum to 1 in each of the first rows, as probabilities do; those want "
    "from_logits=False (amgan-fast evaluate: --probabilities)"
)


class ScoreWarning(UserWarning):
    """A score that was computed as asked and does not mean what it seems to.

    >>> import warnings
    >>> import torch
    >>> from amgan_fast.metrics import ScoreWarning, scores
    >>> with warnings.catch_warnings(record=True) as caught:
    ...     warnings.simplefilter("always")
    ...     few = scores(torch.zeros(3, 2))
    >>> [issubclass(one.category, ScoreWarning) for one in caught], few.few_samples
    ([True], True)
    """


@contextmanager
def without_score_warnings() -> Iterator[None]:
    """Where doubts are shown beside the scores, or concern numbers that nobody is given.

    >>> import torch
    >>> from amgan_fast.metrics import scores, without_score_warnings
    >>> with without_score_warnings():
    ...     few = scores(torch.zeros(3, 2))
    >>> few.few_samples
    True
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ScoreWarning)
        yield


class FirstRows:
    """The first rows of what is given for logits: whether all of them are probabilities.

    A look at every row would be a second pass over them. A row of logits that passes for probabilities by chance is
    rare, and a second one does not follow it.

    Args:
        device: of the logits; None: PyTorch's default device. Nothing waits for it before :meth:`are_probabilities`.
    """

    LIMIT = 64

    def __init__(self, device: torch.device | str | None = None) -> None:
        self._seen = 0
        self._alike = torch.zeros((), dtype=torch.int64, device=device)

    def look(self, logits: Tensor) -> None:
        rows = logits[: max(0, self.LIMIT - self._seen)]
        if len(rows):
            with cpu_threads(1):  # as scores from sums
                self._alike += (~bad_rows(rows, from_logits=False)).sum().to(self._alike.device)
            self._seen += len(rows)

    @property
    def counts(self) -> list[int]:
        """Rows looked at, and those that pass for probabilities: of several streams together their sums."""
        return [self._seen, int(self._alike)]

    @counts.setter
    def counts(self, counts: Iterable[int]) -> None:
        self._seen, alike = map(int, counts)
        self._alike.fill_(alike)

    def counts_there(self) -> Tensor:
        """:attr:`counts`, float64 [2], where the logits are: nothing waits for them."""
        return torch.stack([torch.full_like(self._alike, self._seen), self._alike]).double()

    def add(self, other: FirstRows) -> None:
        self.counts = map(sum, zip(self.counts, other.counts, strict=True))

    def are_probabilities(self) -> bool:
        seen, alike = self.counts
        return seen > 0 and alike == seen

    def warn(self, text: str = PROBABILITIES_FOR_LOGITS, stacklevel: int = 2) -> None:
        """The caller of the function that calls this (of ``stacklevel`` 2), where they are."""
        if self.are_probabilities():
            warnings.warn(text, ScoreWarning, stacklevel=stacklevel + 1)
