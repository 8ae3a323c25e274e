"""Classifiers whose scores are known: p(x) of a sample is drawn at random, given its class."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass

import numpy as np
import torch
from scipy.special import digamma, entr, expit, log_expit, rel_entr

LEFT_OUT = -100  # the logit of a class that is not to be had


@dataclass(frozen=True)
class Truth:
    """Of infinitely many samples; the AM Score's reference is the uniform distribution."""

    inception_score: float
    am_score: float


class Classifier(ABC):
    """Of K classes.

    Args:
        mean: [K, K], E[p(x)] of the samples of each class.
        entropy: [K], their E[H(p(x))], nats.
    """

    def __init__(self, mean: np.ndarray, entropy: np.ndarray) -> None:
        self.mean, self.entropy = mean, entropy
        self.classes = len(entropy)

    def expected(self, shares: np.ndarray) -> tuple[np.ndarray, float]:
        """The mean class distribution and the mean entropy with these shares of the classes."""
        return shares @ self.mean, float(shares @ self.entropy)

    def truth(self, shares: np.ndarray) -> Truth:
        """With these shares of the classes."""
        mean, entropy = self.expected(shares)
        return Truth(
            inception_score=math.exp(entr(mean).sum() - entropy),
            am_score=float(rel_entr(1 / self.classes, mean).sum()) + entropy,
        )

    @abstractmethod
    def fill(self, logits: torch.Tensor, y: np.ndarray, random: np.random.Generator) -> None:
        """Draw ``logits`` [N, K] of samples of the classes y [N]."""


class Soft(Classifier):
    """p(x) is Dirichlet over cells: y, the classes after it, and all others together, with equal parts of the last.

    Args:
        cells: [K, C], the parameters, a row for each class.
    """

    def __init__(self, cells: np.ndarray) -> None:
        classes, near = len(cells), cells.shape[1] - 1
        total = cells.sum(1)
        share, others = cells / total[:, None], classes - near
        mean = np.repeat(share[:, -1:] / others, classes, axis=1)
        of_class = np.arange(classes)
        for j in range(near):
            mean[of_class, (of_class + j) % classes] = share[:, j]
        # Entropy of a Dirichlet variable, and of the last cell's equal parts.
        within = share[:, -1] * math.log(others)
        super().__init__(mean, digamma(total + 1) - (share * digamma(cells + 1)).sum(1) + within)
        self.cells, self.near = cells, near

    def fill(self, logits: torch.Tensor, y: np.ndarray, random: np.random.Generator) -> None:
        gammas = torch.from_numpy(random.standard_gamma(self.cells[y]))
        cells = gammas.clamp_min(1e-300).log().float()
        logits.copy_(cells[:, -1:] - math.log(self.classes - self.near))
        beside = torch.from_numpy(y)[:, None] + torch.arange(self.near)
        logits.scatter_(1, beside % self.classes, cells[:, :-1])


class Sharp(Classifier):
    """y has the margin z over a single rival, every other class next to nothing: p_y = 1 / (1 + exp(-z)).

    z is normal. The rival is the next class in half of the cases, otherwise any other.

    Args:
        margin: [K], the mean of z, for each class.
        spread: its standard deviation.
    """

    def __init__(self, margin: np.ndarray, spread: float) -> None:
        nodes, weights = np.polynomial.hermite_e.hermegauss(201)
        weights = weights / weights.sum()
        z = margin[:, None] + spread * nodes
        certain, entropy = expit(z) @ weights, -(expit(z) * log_expit(z) + expit(-z) * log_expit(-z)) @ weights
        classes = len(margin)
        of_class, rivals = np.arange(classes), (1 - certain) / 2
        mean = np.repeat(rivals[:, None] / (classes - 1), classes, axis=1)
        mean[of_class, (of_class + 1) % classes] += rivals
        mean[of_class, of_class] = certain
        super().__init__(mean, entropy)
        self.margin, self.spread = margin, spread

    def fill(self, logits: torch.Tensor, y: np.ndarray, random: np.random.Generator) -> None:
        n = len(y)
        z = self.margin[y] + self.spread * random.standard_normal(n)
        any_other = random.integers(1, self.classes, n)
        rival = (y + np.where(random.random(n) < 0.5, 1, any_other)) % self.classes
        logits.fill_(LEFT_OUT)
        rows = torch.arange(n)
        logits[rows, torch.from_numpy(rival)] = 0
        logits[rows, torch.from_numpy(y)] = torch.from_numpy(z).float()
