"""Two sets of samples, one difference: of each score and each of its terms, with what chance makes of it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, ClassVar

from amgan_fast.metrics.distribution import distribution_sha256
from amgan_fast.metrics.estimate import Estimate, EstimatedDifference, score_estimate, welch
from amgan_fast.metrics.numbers import Numbers
from amgan_fast.metrics.result import Scores
from amgan_fast.metrics.score_names import SCORES

_OF_REFERENCE = ("am_score", "kl_reference")
_CERTAIN = 1e-9  # nats
_SAME_REFERENCE = 1e-6  # total variation: what another batch size or a GPU makes of the same images


@dataclass(frozen=True, kw_only=True, repr=False)
class Difference(Numbers):
    """What :func:`difference` finds: of each, the first set's less the second's, of corrected values. None where one of
    the two is not known or has no error (infinite, or a single block)."""

    COLUMNS: ClassVar = ("difference", "95% interval", "p")
    """Of :meth:`rows`."""

    n: tuple[int, int]
    """How many samples each had."""
    num_classes: int
    am_score: EstimatedDifference | None
    kl_reference: EstimatedDifference | None
    mean_entropy: EstimatedDifference | None
    inception_score: EstimatedDifference | None
    """Of the scores themselves, not of their logarithms."""
    entropy_of_mean: EstimatedDifference | None
    same_samples: bool
    """Whether both are of the same samples, by all that their scores tell: those are not independent."""

    @property
    def warnings(self) -> tuple[str, ...]:
        """What makes intervals and p void."""
        same = "both sets are the same samples by their scores: they are not independent, as interval and p have it"
        return (same,) if self.same_samples else ()

    def rows(self) -> list[tuple[str, list[str]]]:
        """(name, [difference, 95% interval, p]) of all that are known; terms of a score are indented."""
        rows: list[tuple[str, list[str]]] = []
        for name in SCORES:
            found = getattr(self, name.field, None)
            if isinstance(found, EstimatedDifference):
                indent = "  " * (name.of is not None and getattr(self, name.of) is not None)
                rows.append((indent + name.heading, found.texts()))
        return rows

    def to_dict(self) -> dict[str, Any]:
        """Plain values, with intervals, p and the warnings."""
        parts = {name: getattr(self, name) for name in _PARTS}
        found = {name: part and part.to_dict() for name, part in parts.items()}
        return super().to_dict() | found | {"warnings": list(self.warnings)}

    def __str__(self) -> str:
        first, second = self.n
        lines = [f"Difference of {first} and {second} independent samples, corrected for their bias"]
        rows = [("", list(self.COLUMNS)), *self.rows()]
        lines += [f"  {name:<36}{value:>10}{interval:>22}{p:>10}" for name, (value, interval, p) in rows]
        return "\n".join(lines + [f"  Warning: {text}" for text in self.warnings])


_PARTS = tuple(name.field for name in SCORES if name.field in {field.name for field in fields(Difference)})


def difference(first: Scores, second: Scores) -> Difference:
    """The difference of two sets of samples under one classifier: of the Inception Score, of the AM Score, and of each
    of their terms, with 95% intervals and p (:func:`welch`). Corrected scores, so the sets need not be equally large.

    - Samples are taken as independent, within each set as its scores have it and of the other set. Differences of sets
      that share samples, or were made from the same latents, are usually better known than this says.
    - Both compare with one reference. What that is off by itself moves both scores alike, and is left out.
    - Where the classes of a set are as frequent as in the reference, p of KL is too large, not too small.
    - Student's t wants a mean entropy that more than a few samples make. Of 360 samples of which nearly all are certain
      (0.004 nats) against 10,000 such, p is below .05 in 12% of all pairs of one source; of 2,000 in 6%.
    - Sets with a fixed number of samples a class stand for sources with these shares of classes (or ``shares``).
    - It is the difference of these two sets' sources: of two training runs, not of the methods that trained them.

    Args:
        first: under the same classifier as the second, which they do not know; ``amgan-fast evaluate --against`` makes
            sure.
        second: what is subtracted.

    Raises:
        ValueError: another number of classes, or another reference.

    >>> import torch
    >>> from amgan_fast.metrics import difference, scores
    >>> random = torch.Generator().manual_seed(0)
    >>> certain, less_certain = (scores(k * torch.randn(2000, 10, generator=random), [0.1] * 10) for k in (4, 3.8))
    >>> print(difference(certain, less_certain))
    Difference of 2000 and 2000 independent samples, corrected for their bias
                                          difference          95% interval         p
      AM Score (lower is better)             -0.0798    -0.1085 to -0.0511   1.3e-07
        KL(reference, mean)                  +0.0009    -0.0017 to +0.0035       0.5
        mean entropy                         -0.0807    -0.1090 to -0.0523   6.6e-08
      Inception Score (higher is better)     +0.3850    +0.2462 to +0.5237   1.3e-07
        entropy of the mean                  -0.0009    -0.0034 to +0.0016      0.49
    """
    require_comparable(second, first.num_classes, first.reference)
    found = {name: _difference_of(name, first, second) for name in _PARTS}
    return Difference(
        n=(first.n, second.n), num_classes=first.num_classes, same_samples=_are_same(first, second), **found
    )


def require_comparable(
    second: Scores,
    num_classes: int,
    reference: Sequence[float] | None,
    *,
    name: str = "second",
    as_in: str = "the first",
) -> None:
    """Whether scores can be compared with those of as many classes and one reference.

    Args:
        second: the scores.
        name, as_in: what messages call them, and what they are to be like.

    Raises:
        ValueError: they cannot; both numbers, or the SHA-256 of both references, are named.
    """
    if second.num_classes != num_classes:
        raise ValueError(f"{name} has {second.num_classes} classes, wanted {num_classes} as {as_in}")
    others, off = second.reference, ""
    if reference is not None and others is not None:
        distance = sum(abs(a - b) for a, b in zip(reference, others, strict=True)) / 2
        if distance <= _SAME_REFERENCE:
            return
        off = f" ({distance:.2g} off in total variation)"
    elif reference is others:  # none
        return
    raise ValueError(f"{name} has {_named(others)}, wanted {_named(reference)} as {as_in}{off}")


def _difference_of(name: str, first: Scores, second: Scores) -> EstimatedDifference | None:
    mine, others = (_estimate(name, scores) for scores in (first, second))
    return None if mine is None or others is None else welch(mine, others)


def _estimate(name: str, scores: Scores) -> Estimate | None:
    """Of what compares with a reference: with the bias by that, which may be known for one of the two alone."""
    found = score_estimate(scores.estimates, name)
    if found is None or name not in _OF_REFERENCE:
        return found
    return replace(found, value=found.value + scores.reference_bias)


def _named(reference: Sequence[float] | None) -> str:
    return "no reference" if reference is None else f"a reference of SHA-256 {distribution_sha256(reference)}"


def _are_same(first: Scores, second: Scores) -> bool:
    """Whether they are the same samples, by what no other samples would give. Nothing tells where all are certain."""
    if first.n != second.n or first.mean_entropy < _CERTAIN:
        return False
    pairs = zip(
        (first.mean_entropy, *first.class_distribution),
        (second.mean_entropy, *second.class_distribution),
        strict=True,
    )
    return all(math.isclose(a, b, rel_tol=1e-9, abs_tol=_CERTAIN) for a, b in pairs)
