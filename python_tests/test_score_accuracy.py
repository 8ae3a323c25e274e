"""Every field of Scores against its formula in numpy's longdouble: digits kept, and what batches and merging change."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.stats
import torch
from torch import Tensor

from amgan_fast.metrics import ScoreAccumulator, Scores, scores

BLOCKS, SPLITS = 100, 10
SIZES = [(500, 10), (10_000, 10), (1000, 1000)]
LongDouble = np.ndarray


class Exact:
    """The scores of rows of logits; row i belongs to block i mod 100, which belongs to split (i mod 100) mod 10."""

    def __init__(self, logits: Tensor, reference: np.ndarray) -> None:
        x = logits.double().numpy().astype(np.longdouble)
        x = x - x.max(1, keepdims=True)
        log_p = x - np.log(np.exp(x).sum(1, keepdims=True))
        p = np.exp(log_p)
        of_rows = (np.ones(len(p)), -(p * log_p).sum(1), p, p**2, log_p)
        self.blocks = [np.array([values[b::BLOCKS].sum(0) for b in range(BLOCKS)]) for values in of_rows]
        self.reference = reference.astype(np.longdouble) / reference.astype(np.longdouble).sum()

    def moments(self, chosen: np.ndarray | slice) -> tuple[LongDouble, ...]:
        """N, mean entropy, m, the second central moment and the third of Beta distributions, mean log p; of blocks."""
        n, *sums = (values[chosen].sum(0) for values in self.blocks)
        mean_entropy, mean, square, mean_log = (values / n for values in sums)
        variance = square - mean**2
        third = 2 * variance**2 * (1 - 2 * mean) / (variance + mean * (1 - mean))
        return n, mean_entropy, mean, variance, third, mean_log

    def fields(self, chosen: np.ndarray | slice = slice(None)) -> dict[str, LongDouble]:
        n, mean_entropy, mean, variance, third, mean_log = self.moments(chosen)
        ref = self.reference
        entropy_of_mean, kl = -(mean * np.log(mean)).sum(), (ref * np.log(ref / mean)).sum()
        bias = (variance / (2 * n * mean) + (third / 3 - variance**2 / (4 * mean)) / (n * mean) ** 2).sum()
        second_order = (2 * third / 3 - 3 * variance**2 / (4 * mean)) / (n**2 * mean**3)
        am_bias = (ref * (variance / (2 * n * mean**2) + second_order)).sum()
        score = np.exp(entropy_of_mean - mean_entropy)
        return {
            "inception_score": score,
            "inception_score_corrected": score * np.exp(bias),
            "entropy_of_mean": entropy_of_mean,
            "mean_entropy": mean_entropy,
            "mode_score": score,
            "kl_reference": kl,
            "am_score": kl + mean_entropy,
            "am_score_corrected": kl + mean_entropy - am_bias,
            "am_score_2017": (ref * (np.log(mean) - mean_log)).sum(),
        }

    def all_fields(self) -> dict[str, LongDouble]:
        whole = self.fields()
        by_split = np.array([self.fields(slice(s, None, SPLITS))["inception_score"] for s in range(SPLITS)])
        without = [self.fields(np.arange(BLOCKS) != block) for block in range(BLOCKS)]
        factor = np.longdouble(scipy.stats.t.ppf(0.975, BLOCKS - 1)) * np.sqrt(np.longdouble(BLOCKS - 1))
        log_scores = np.log(np.array([one["inception_score_corrected"] for one in without]))
        entropies, am_scores = (np.array([one[x] for one in without]) for x in ("mean_entropy", "am_score_corrected"))
        reach, of_entropy, am_reach = (factor * x.std() for x in (log_scores, entropies, am_scores))
        entropy, classes = whole["mean_entropy"], len(self.reference)
        log_score, am_score = np.log(whole["inception_score_corrected"]), whole["am_score_corrected"]
        low, high = interval(log_score, reach, entropy, of_entropy, sign=-1)
        return whole | {
            "inception_score_corrected": np.minimum(whole["inception_score_corrected"], classes),
            "inception_score_ci95": np.exp(np.array([low, np.minimum(high, np.log(np.longdouble(classes)))])),
            "am_score_corrected": np.maximum(am_score, entropy),
            "am_score_ci95": np.maximum(
                interval(am_score, am_reach, entropy, of_entropy), entropy * np.exp(-of_entropy / entropy)
            ),
            "class_distribution": self.moments(slice(None))[2],
            "split_mean": by_split.mean(),
            "split_std": by_split.std(),
        }


def interval(
    value: np.longdouble, reach: np.longdouble, entropy: np.longdouble, of_entropy: np.longdouble, sign: int = 1
) -> LongDouble:
    """The entropy's part of the error, of that sign in the value, on a logarithmic scale."""
    u = of_entropy / entropy
    sides = np.minimum(1, reach / of_entropy) * entropy * np.array([1 - np.exp(-u), np.exp(u) - 1])
    below, above = np.sqrt(sides**2 + np.maximum(reach**2 - of_entropy**2, 0))[::sign]
    return np.array([value - below, value + above])


def make(kind: str, rows: int, classes: int, random: torch.Generator) -> tuple[Tensor, np.ndarray]:
    """Logits and a reference."""
    logits = torch.randn(rows, classes, generator=random, dtype=torch.float64)
    labels = torch.randint(classes, (rows,), generator=random)
    weights = torch.rand(classes, generator=random, dtype=torch.float64) + 0.5
    logits *= 2 if kind == "uncertain" else 1
    if kind == "certain":
        logits[torch.arange(rows), labels] += 12
    return logits, (weights / weights.sum()).numpy()


def streamed(logits: Tensor, reference: np.ndarray, size: int) -> Scores:
    accumulator = ScoreAccumulator(logits.size(1))
    for batch in logits.split(size):
        accumulator.update(batch)
    return accumulator.compute(reference)


def relative_errors(got: Scores, want: dict[str, LongDouble]) -> dict[str, float]:
    return {
        name: float(np.max(np.abs(np.asarray(getattr(got, name), np.longdouble) - value) / np.abs(value)))
        for name, value in want.items()
    }


@pytest.mark.parametrize("kind", ["uncertain", "certain"])
@pytest.mark.parametrize(("rows", "classes"), SIZES)
def test_float64_logits(kind, rows, classes, generator):
    """To 1e-12; the spread over splits, a difference of them, relative to their mean."""
    logits, reference = make(kind, rows, classes, generator)
    want = Exact(logits, reference).all_fields()
    for size in (rows, 500, 37):
        errors = relative_errors(streamed(logits, reference, size), want)
        spread = errors.pop("split_std") * float(want["split_std"] / want["split_mean"])
        assert max(*errors.values(), spread) < 1e-12, errors


@pytest.mark.parametrize("kind", ["uncertain", "certain"])
@pytest.mark.parametrize(("rows", "classes"), SIZES)
def test_float32_logits(kind, rows, classes, generator):
    """Computed in float64: as float64 logits of the same values, however they come in batches."""
    logits, reference = make(kind, rows, classes, generator)
    logits = logits.float()
    want = Exact(logits, reference).all_fields()
    for size in (rows, 500, 37):
        errors = relative_errors(streamed(logits, reference, size), want)
        assert max(errors.values()) < 1e-8, errors


def test_a_distribution_close_to_the_reference(generator):
    """Where the usual terms of KL cancel to a billionth."""
    logits, _ = make("uncertain", 2000, 10, generator)
    exact = Exact(logits, np.ones(10))
    reference = (exact.moments(slice(None))[2] * (1 + 1e-5 * np.linspace(-1, 1, 10))).astype(float)
    exact.reference = reference.astype(np.longdouble) / reference.astype(np.longdouble).sum()
    want = float(exact.fields()["kl_reference"])
    assert want < 1e-10
    got = scores(logits, reference)
    assert got.kl_reference == pytest.approx(want, rel=1e-8)
    assert scores(logits, got).kl_reference >= 0


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
def test_how_samples_come_together(dtype, generator):
    """Batches and merging agree to 1e-13."""
    logits, reference = make("certain", 5000, 10, generator)
    logits = logits.to(dtype)
    parts = list(logits.split([1000, 300, 2700, 1000]))  # whole rounds of the blocks
    forward, backward = ScoreAccumulator(10), ScoreAccumulator(10)
    for total, order in ((forward, parts), (backward, parts[::-1])):
        for part in order:
            accumulator = ScoreAccumulator(10)
            accumulator.update(part)
            total.merge(accumulator)
    whole, tolerance = scores(logits, reference), 1e-13
    others = [forward.compute(reference), backward.compute(reference)]
    for got in (*others, *(streamed(logits, reference, size) for size in (1, 37, 4999))):
        for name, value in whole.to_dict().items():
            if name in ("split_std", "split_dispersion", "block_dispersion"):  # differences of what agrees
                assert getattr(got, name) == pytest.approx(value, rel=1e3 * tolerance)
            elif isinstance(value, float | tuple):
                assert getattr(got, name) == pytest.approx(value, rel=tolerance, abs=tolerance), name
