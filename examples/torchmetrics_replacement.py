"""torchmetrics' Inception Score out, the library's in: what stays, what differs and by how much, on the same logits.

    pip install torchmetrics
    python examples/torchmetrics_replacement.py

scores 500 images and 50,000 of the same kind, in some seconds: handwritten digits with noise, as many as one likes.
Where both tools must agree the script asserts it. Where they do not, the larger set tells what is right.
"""

from __future__ import annotations

import argparse
import math
import warnings
from collections.abc import Sequence

import torch
from torch import Tensor

from amgan_fast.data import load_dataset, to_float
from amgan_fast.evaluate import TrainedClassifier
from amgan_fast.metrics import inception_score
from amgan_fast.train import Observer, cached_classifier

try:
    from torchmetrics import Metric, MetricCollection
    from torchmetrics.image import InceptionScore as Theirs

    from amgan_fast.metrics.modules import AMScore, CorrectedScores, InceptionScore
except ImportError as error:
    raise SystemExit(f"{error}; this example needs: pip install torchmetrics") from error

CLASSES, BATCH = 10, 500
NOISE = 0.5  # standard deviation, where black is -1 and white 1


def noisy_digits(digits: Tensor, count: int, seed: int) -> Tensor:
    """So many images drawn at random, each with noise of its own."""
    random = torch.Generator().manual_seed(seed)
    images = digits[torch.randint(len(digits), (count,), generator=random)]
    return images + NOISE * torch.randn(images.shape, generator=random)


def show_interface(judge: TrainedClassifier, images: Tensor) -> None:
    """Another import, and nothing else: arguments, update, compute and reset are the same."""
    for metric in (Theirs(feature=judge.network), InceptionScore(feature=judge.network)):
        for batch in images.split(BATCH):
            metric.update(batch)
        mean, std = metric.compute()
        print(f"  {type(metric).__module__.split('.')[0]:<14}{mean:.3f} ± {std:.3f}, keeps {kept_by(metric):,} bytes")
        metric.reset()


def kept_by(metric: Metric) -> int:
    """Bytes: torchmetrics keeps a list of all logits, the library sums of each split."""
    states = metric.metric_state.values()
    return sum(x.nbytes for state in states for x in (state if isinstance(state, list) else [state]))


def assert_agreement(logits: Tensor) -> None:
    """Of one split both give the score of all samples. Of ten, torchmetrics deals the samples out at random, from the
    global generator: ``compat`` does as it does."""
    theirs, ours = Theirs(feature=torch.nn.Identity(), splits=1), InceptionScore(feature=None, splits=1)
    for metric in (theirs, ours):
        metric.update(logits)
    assert math.isclose(theirs.compute()[0], ours.compute()[0], rel_tol=1e-5)  # float32 there, float64 here

    theirs = Theirs(feature=torch.nn.Identity())
    theirs.update(logits)
    torch.manual_seed(0)
    mean, std = theirs.compute()
    torch.manual_seed(0)
    same = inception_score(logits, compat="torchmetrics")
    assert math.isclose(mean, same.mean, rel_tol=1e-5)
    assert math.isclose(std, same.std or 0, rel_tol=1e-3)


def compare(judge: TrainedClassifier, logits: Tensor) -> dict[str, float]:
    """torchmetrics' score, and a collection of the library's metrics in one pass over the same logits."""
    theirs = Theirs(feature=torch.nn.Identity())
    ours = MetricCollection(
        {
            "ten splits": InceptionScore(feature=None),  # in turn: nothing is drawn at random
            "whole set": InceptionScore(feature=None, splits=1),
            "AM Score": AMScore(judge.reference),
            "corrected": CorrectedScores(CLASSES, judge.reference),  # several names
        }
    )
    for batch in logits.split(BATCH):
        theirs.update(batch)
        ours.update(batch)
    torch.manual_seed(0)
    found = {"torchmetrics": theirs.compute()[0]}
    for name, value in ours.compute().items():
        found[name] = value[0] if isinstance(value, tuple) else value  # without the standard deviation over splits
    return {name: float(value) for name, value in found.items()}


def main(arguments: Sequence[str] | None = None) -> dict[int, dict[str, float]]:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--few", type=int, default=500)
    parser.add_argument("--many", type=int, default=50_000)
    options = parser.parse_args(arguments)
    warnings.filterwarnings("ignore", "Metric `InceptionScore` will save all extracted features")  # torchmetrics'
    warnings.filterwarnings("ignore", r"std\(\): degrees of freedom")  # likewise, of one split

    digits = load_dataset("digits")
    judge = cached_classifier(digits, Observer())
    found = {}
    for seed, count in enumerate((options.few, options.many)):
        images = noisy_digits(to_float(digits.train_images), count, seed)
        logits = torch.cat([judge.network(batch) for batch in images.split(BATCH)])
        print(f"{count:,} images, ten splits")
        show_interface(judge, images)
        assert_agreement(logits)
        found[count] = compare(judge, logits)

    few, many = found.values()
    print(f"{'Images':<40}{options.few:>10,}{options.many:>10,}")
    for name, meaning in (
        ("torchmetrics", "Inception Score, splits dealt at random"),
        ("ten splits", "  splits filled in turn"),
        ("whole set", "  whole set"),
        ("inception_score", "  less its bias"),
        ("inception_score_low", "  95% interval, from"),
        ("inception_score_high", "  to"),
        ("AM Score", "AM Score, whole set"),
        ("am_score", "  less its bias"),
        ("am_score_low", "  95% interval, from"),
        ("am_score_high", "  to"),
    ):
        print(f"{meaning:<40}{few[name]:>10.3f}{many[name]:>10.3f}")
    return found


if __name__ == "__main__":
    main()
