"""What the labelled digits of a semi-supervised run give alone: scikit-learn's SVC() on their pixels.

    python -m benchmarks.labelled_only

Prints its accuracy on held-out digits in a few seconds: mean and standard deviation (n - 1) over the labelled images
that seeds 0 to 2 of ``amgan-fast train --set labelled_per_class=N`` draw.
"""

from __future__ import annotations

import statistics

import torch
from sklearn.svm import SVC

from amgan_fast.data import Dataset, load_dataset
from amgan_fast.seeds import Purpose, derive_seed

SEEDS = 3


def accuracy(labelled: Dataset) -> float:
    pixels = labelled.train_images[torch.arange(len(labelled.train_images))]  # however they are kept
    classifier = SVC().fit(pixels.flatten(1).numpy(), labelled.train_labels.numpy())
    return float(classifier.score(labelled.test_images.flatten(1).numpy(), labelled.test_labels.numpy()))


def main() -> None:
    digits = load_dataset("digits")
    for per_class in (5, 10, 20, 50):
        labelled = [
            digits.labelled_subset(per_class, seed=derive_seed(seed, Purpose.LABELLED)) for seed in range(SEEDS)
        ]
        found = [100 * accuracy(one) for one in labelled]
        print(f"{per_class} labels a class: {statistics.mean(found):.1f} ± {statistics.stdev(found):.1f} %")
    print(f"all labels: {100 * accuracy(digits):.1f} %")


if __name__ == "__main__":
    main()
