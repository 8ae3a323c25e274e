"""Corrected scores and intervals of simulated samples of fixed numbers per class hold the truth, where those of samples
with classes at random do not. Classifiers are those of benchmarks.stratified_intervals."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import scipy.stats
import torch
from scipy.special import entr

from amgan_fast.metrics import Scores, StratumSums, scores
from amgan_fast.metrics.moments import ratio
from amgan_fast.metrics.statistics import corrected_scores, log_inception_score
from benchmarks.simulated_classifiers import Classifier, Sharp
from benchmarks.stratified_intervals import Noise, equal, one_to_three, sharp, soft


def drawn(classifier: Classifier, counts: np.ndarray, random: np.random.Generator) -> tuple[torch.Tensor, torch.Tensor]:
    """Logits and classes in random order."""
    labels = random.permutation(np.repeat(np.arange(len(counts)), counts))
    logits = torch.empty(len(labels), len(counts))
    classifier.fill(logits, labels, random)
    return logits, torch.from_numpy(labels)


def held(interval: tuple[float, float] | None, true: float) -> bool:
    assert interval is not None
    return interval[0] <= true <= interval[1]


@pytest.mark.parametrize(("make", "design"), [(sharp, equal), (soft, one_to_three)])
def test_intervals_hold_the_truth_as_often_as_they_say(make, design):
    classifier, counts = make(10), design(10, 36)
    exact, uniform, random = classifier.truth(counts / counts.sum()), [0.1] * 10, np.random.default_rng(1)
    found = []
    for _ in range(200):
        logits, labels = drawn(classifier, counts, random)
        got = scores(logits, uniform, strata=labels)
        of_score, of_am_score = got.inception_score_ci95, got.am_score_ci95
        found.append([held(of_score, exact.inception_score), held(of_am_score, exact.am_score)])
    share = np.mean(found, axis=0)
    assert (share >= 0.91).all(), share
    assert (share <= 0.99).all(), share


@pytest.mark.filterwarnings("ignore::amgan_fast.metrics.ScoreWarning")  # of what is not random
@pytest.mark.parametrize(("classes", "repetitions", "misses"), [(100, 100, 10), (1000, 1, 1)])
def test_what_random_labels_would_have_added_is_not_added(classes, repetitions, misses):
    """Five samples of each class: the intervals of random labels never hold the truth."""
    classifier, counts = Sharp(np.linspace(4, 7, classes), spread=1.5), equal(classes, 5)
    shares, random = counts / counts.sum(), np.random.default_rng(classes)
    exact, noise = classifier.truth(shares), Noise(classifier, shares)
    reference, entropy = classifier.expected(shares)
    missed, off = 0, []
    for i in range(repetitions):
        logits, labels = drawn(classifier, counts, random)
        got = scores(logits, reference, strata=labels)
        missed += not held(got.inception_score_ci95, exact.inception_score) or not held(got.am_score_ci95, entropy)
        off.append(errors_of(got, exact.inception_score, entropy, noise))
        if i < 2:
            as_random = scores(logits, reference)
            estimates = as_random.estimates  # not limited to what is possible
            assert not held(estimates["log_inception_score"].interval, np.log(exact.inception_score))
            assert not held(estimates["am_score"].interval, entropy)
    assert missed <= misses
    assert (np.abs(np.mean(off, axis=0)) < 0.0005).all(), off  # 0.1 by the corrections of random labels


def errors_of(got: Scores, score: float, am_score: float, noise: Noise) -> tuple[float, float]:
    """Of log IS and the AM Score, less the linear part, whose mean is 0."""
    of_log_score, of_am_score = noise.of(got)
    values = {name: estimate.value for name, estimate in got.estimates.items()}
    return values["log_inception_score"] - np.log(score) - of_log_score, values["am_score"] - am_score - of_am_score


@pytest.mark.parametrize("counts", [(8, 8), (5, 12), (16, 10)])
def test_the_second_order_is_in_the_expected_value(counts):
    """Over all outcomes of a classifier that is always certain: two classes, of which strata have given parts."""
    parts, numbers = np.array([0.3, 0.6]), np.array(counts)
    mean = float(parts @ numbers / numbers.sum())
    plain, first_order, corrected = 0.0, 0.0, 0.0
    for hits in itertools.product(*(range(n + 1) for n in counts)):
        sums = StratumSums(2, strata=2)
        classes = np.concatenate([np.arange(n) < hit for n, hit in zip(counts, hits, strict=True)])
        p = torch.nn.functional.one_hot(torch.from_numpy(classes).long(), 2).double()
        sums.update(p, np.repeat([0, 1], counts), from_logits=False)
        x = sums.design().moments
        chance = float(np.prod(scipy.stats.binom.pmf(hits, counts, parts)))
        plain += chance * float(log_inception_score(x))
        first_order += chance * float(log_inception_score(x) + ratio(x.variance, x.mean).sum() / 2)
        corrected += chance * float(corrected_scores(None, 0, x)["log_inception_score"])
    true = float(entr([mean, 1 - mean]).sum())
    assert abs(first_order - true) < 0.05 * abs(plain - true)
    assert abs(corrected - true) < 0.15 * abs(first_order - true)


def test_strata_that_are_not_the_classes_and_shares_that_are_not_those_of_the_samples():
    """Three sources of images that draw the classes differently; the population has other shares of the sources."""
    classifier, random = soft(10), np.random.default_rng(4)
    of_classes = random.dirichlet(np.full(10, 0.3), 3)
    counts, shares = np.array([30, 60, 110]), np.array([0.5, 0.3, 0.2])
    exact, strata, found = classifier.truth(shares @ of_classes), np.repeat(np.arange(3), counts), []
    for _ in range(100):
        labels = np.concatenate([random.choice(10, n, p=p) for n, p in zip(counts, of_classes, strict=True)])
        logits = torch.empty(len(labels), 10)
        classifier.fill(logits, labels, random)
        got = scores(logits, [0.1] * 10, strata=strata, shares=shares.tolist())
        found.append(held(got.inception_score_ci95, exact.inception_score))
    assert 0.88 <= np.mean(found) < 1
