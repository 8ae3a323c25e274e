"""Scores from how samples were drawn and what their sums are."""

from __future__ import annotations

import math
from functools import partial
from typing import Any

import torch
from torch import Tensor

from amgan_fast.device import cpu_threads
from amgan_fast.metrics import statistics
from amgan_fast.metrics.designs import Design, Error, Statistics
from amgan_fast.metrics.estimate import Estimate
from amgan_fast.metrics.moments import Moments, RandomSample, ratio
from amgan_fast.metrics.result import Scores
from amgan_fast.ops import ScoreSums

_Interval = tuple[float, float]


# On one thread: each of many short regions waits for a second one, which other programs may keep from coming.
@cpu_threads(1)
def scores_from_sums(
    samples: Design,
    in_splits: ScoreSums | None,
    reference: Tensor | None = None,
    reference_samples: Design | None = None,
    **facts: Any,
) -> Scores:
    """All that sums can tell.

    Args:
        samples: at least one.
        in_splits: [S, ...]; None while one lacks samples.
        reference: [K]; None: scores that need none.
        reference_samples: that the reference is the mean distribution of; None: it is exact.
        facts: fields of :class:`Scores` that neither tells.
    """
    x = samples.moments
    bias = 0.0 if reference is None else _bias_of_reference(reference, reference_samples)
    of_reference: dict[str, Any] = {}
    if reference is not None:
        of_reference = {
            "reference": tuple(reference.tolist()),
            "reference_bias": bias,
            "mode_score": float(statistics.mode_score(reference, x)),
            "kl_reference": float(statistics.kl_reference(reference, x)),
            "am_score": float(statistics.am_score(reference, x)),
            "am_score_2017": float(statistics.am_score_2017(reference, x)),
            "balanced_by_design": statistics.is_balanced_by_design(reference, x),
        }
    estimates = _estimates(samples, partial(statistics.corrected_scores, reference, bias))
    reference_error = None
    if reference is not None and reference_samples is not None:
        change = partial(_change, reference.log() + 1 - x.log_mean)
        reference_error = _estimates(reference_samples, change)["change"].standard_error
    limited = _Limited(len(x.mean), estimates, reference_error)
    return Scores(
        num_classes=len(x.mean),
        entropy_of_mean=float(statistics.entropy_of_mean(x)),
        mean_entropy=float(x.entropy),
        inception_score=math.exp(float(statistics.log_inception_score(x))),
        class_distribution=tuple(x.mean.tolist()),
        estimates=estimates,
        reference_error=reference_error,
        **limited.fields(),
        **_of_splits(in_splits),
        **of_reference,
        **facts,
    )


def _estimates(samples: Design, of: Statistics) -> dict[str, Estimate]:
    errors = samples.errors(of) or {}
    return {name: _estimate(float(value), errors.get(name)) for name, value in of(samples.moments).items()}


def _estimate(value: float, error: Error | None) -> Estimate:
    if error is None or not math.isfinite(value) or not math.isfinite(error.variance):
        return Estimate(value, None, None)
    return Estimate(value, math.sqrt(error.variance), error.degrees_of_freedom)


def _bias_of_reference(reference: Tensor, samples: Design | None) -> float:
    """What KL(reference, m) is too high by on average, to first order, as the reference is that of a sample."""
    if samples is None:
        return 0.0
    return float(ratio(samples.moments.variance, reference).sum() / 2)


def _change(weights: Tensor, x: Moments) -> dict[str, Tensor]:
    """What is KL(reference, m) to first order in the reference, with its derivative for weights."""
    return {"change": (torch.where(x.mean > 0, weights, 0.0) * x.mean).sum(-1)}


class _Limited:
    """Corrected scores and their intervals within what is possible: 1 to K, and an AM Score of at least its entropy.

    Where a score is set to its limit, most of its interval or all of it may lie beyond. What is left is then at least
    as long as the interval of the mean entropy e makes it: the best scores for that are e and K / exp(e).

    The mean entropy of a good classifier is made by few samples, whose distribution is far from normal: its part of an
    error is taken on a logarithmic scale, [e exp(-u), e exp(u)] with u = t error / e, and put together with the rest as
    the limits of a sum (MOVER: Zou and Donner, Statistics in Medicine 27, 2008).
    """

    def __init__(self, num_classes: int, estimates: dict[str, Estimate], reference_error: float | None) -> None:
        self._estimates = estimates
        self._most = float(num_classes)
        self._reference_error = reference_error or 0.0
        self._unlimited: dict[str, float] = {}

    def fields(self) -> dict[str, Any]:
        score, entropy = math.exp(self._estimates["log_inception_score"].value), self._estimates["mean_entropy"].value
        of_entropy = self._with_entropy("mean_entropy")
        found: dict[str, Any] = {
            "inception_score_corrected": self._within("inception_score_corrected", score, 1.0, self._most),
            "inception_score_ci95": self._inception_score_interval(of_entropy),
            "mean_entropy_ci95": of_entropy,
        }
        if "am_score" in self._estimates:
            am_score = self._estimates["am_score"].value
            found["am_score_corrected"] = self._within("am_score_corrected", am_score, entropy, math.inf)
            found["am_score_ci95"] = self._am_score_interval(of_entropy)
        return found | {"unlimited": self._unlimited}

    def _within(self, field: str, value: float, least: float, most: float) -> float:
        limited = min(max(value, least), most)
        if abs(limited - value) > _ROUNDING * abs(value):
            self._unlimited[field] = value
        return limited

    def _inception_score_interval(self, of_entropy: _Interval | None) -> _Interval | None:
        interval = self._with_entropy("log_inception_score")
        if interval is None or of_entropy is None:
            return None
        low, high = interval
        if self._unlimited.get("inception_score_corrected", 0.0) > self._most:
            low = min(low, math.log(self._most) - of_entropy[1])
        low, high = (1.0 if abs(x) < _ROUNDING else min(max(math.exp(x), 1.0), self._most) for x in (low, high))
        return low, high

    def _am_score_interval(self, of_entropy: _Interval | None) -> _Interval | None:
        interval = self._with_entropy("am_score", self._reference_error)
        if interval is None or of_entropy is None:
            return None
        least = max(of_entropy[0], 0.0)
        most = of_entropy[1] if "am_score_corrected" in self._unlimited else least
        return max(interval[0], least), max(interval[1], most)

    def _with_entropy(self, name: str, other_error: float = 0.0) -> _Interval | None:
        """The 95% interval of an estimate that the mean entropy is a part of, from which log IS subtracts it."""
        from scipy.special import stdtrit

        whole, part = self._estimates[name], self._estimates["mean_entropy"]
        if whole.standard_error is None or whole.degrees_of_freedom is None or part.standard_error is None:
            return None
        t = float(stdtrit(whole.degrees_of_freedom, 0.975))
        below = above = t * part.standard_error
        if part.value > 0:
            u = min(t * part.standard_error / part.value, _LARGEST_LOG)
            below, above = part.value * -math.expm1(-u), part.value * math.expm1(u)
        rest = whole.standard_error**2 - part.standard_error**2
        # Where the rest cancels some of the entropy's error, its share of both sides is the same.
        shrunk = math.sqrt(1 + rest / part.standard_error**2) if rest < 0 else 1.0
        others = t**2 * (max(rest, 0.0) + other_error**2)
        near, far = math.sqrt((below * shrunk) ** 2 + others), math.sqrt((above * shrunk) ** 2 + others)
        down, up = (far, near) if name == "log_inception_score" else (near, far)
        return whole.value - down, whole.value + up


_ROUNDING = 1e-12
_LARGEST_LOG = 100.0


def _of_splits(splits: ScoreSums | None) -> dict[str, Any]:
    if splits is None:
        return dict.fromkeys(("split_mean", "split_std", "split_dispersion"))
    scores = statistics.log_inception_score(RandomSample(splits)).exp()
    return {
        "split_mean": float(scores.mean()),
        "split_std": float(scores.std(correction=0)),
        "split_dispersion": statistics.dispersion(splits),
    }
