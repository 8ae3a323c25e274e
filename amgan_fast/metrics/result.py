"""What :class:`amgan_fast.metrics.ScoreAccumulator` computes."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass


@dataclass(frozen=True)
class Scores:
    """Scores of N samples under a classifier: p(x) its class distribution on sample x, m = mean_x p(x). Nats.

    Sources: Salimans et al., arXiv 1606.03498 [IG]; Zhou et al., arXiv 1703.02000 [AM].
    """

    n: int
    """The number of samples N."""
    num_classes: int
    """The number of classes K."""
    inception_score: float
    """exp(H(m) - mean_x H(p(x))) over the whole set ([IG] section 4); 1 to K, higher is better."""
    entropy_of_mean: float
    """H(m): log K when the classes are balanced."""
    mean_entropy: float
    """mean_x H(p(x)): 0 when the classifier is certain of every sample."""
    kl_reference: float | None
    """KL(reference, m): 0 when the classes are as frequent as in the reference; None without a reference. Infinite
    where the reference has a class that every sample gives probability exactly 0."""
    am_score: float | None
    """kl_reference + mean_entropy ([AM] section 6.4); lower is better, at least 0; None without a reference."""
    split_mean: float | None
    """Mean of the Inception Scores of the splits; None while a split is incomplete."""
    split_std: float | None
    """Their standard deviation (ddof 0): the spread over splits, not the error of their mean. None as above."""
    splits: int
    """The number of splits."""
    splits_rule: str
    """``"round robin"`` (sample i in split i mod splits) or ``"contiguous"`` (split s starts at floor(s*N/splits))."""
    class_distribution: tuple[float, ...]
    """m itself, K numbers: what another set's AM Score takes as reference."""

    def to_dict(self) -> dict:
        return asdict(self)

    def to_json(self) -> str:
        """One JSON object; an infinite ``kl_reference`` is written ``Infinity``, as Python's json does."""
        return json.dumps(self.to_dict())

    def __str__(self) -> str:
        lines = [f"Scores of {self.n} samples, {self.num_classes} classes"]
        if self.am_score is not None and self.kl_reference is not None:
            lines += [
                f"  AM Score            {self.am_score:10.4f}   (lower is better)",
                f"    KL(reference, m)  {self.kl_reference:10.4f}",
                f"    mean entropy      {self.mean_entropy:10.4f}",
                f"  Inception Score     {self.inception_score:10.4f}   (higher is better)",
            ]
        else:
            lines += [
                f"  Inception Score     {self.inception_score:10.4f}   (higher is better)",
                f"    mean entropy      {self.mean_entropy:10.4f}",
            ]
        lines += [f"    entropy of mean   {self.entropy_of_mean:10.4f}"]
        if self.split_mean is not None and self.split_std is not None:
            rule = f"{self.splits} {self.splits_rule} splits, std is their spread"
            lines += [f"    over splits       {self.split_mean:10.4f} +- {self.split_std:.4f}   ({rule})"]
        return "\n".join(lines)
