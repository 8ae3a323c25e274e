"""Mode dropping: the paper's synthetic study, and held-out digits.

    python -m benchmarks.mode_drop_study

Leaves build/mode_drop.json and the pictures build/mode_drop.png and build/mode_drop_digits.png, in half a minute on one
core: most of it trains the classifier of the digits.
"""

from __future__ import annotations

from pathlib import Path

import torch

from amgan_fast.data import load_dataset, to_float
from amgan_fast.metrics import ClassSums, ModeDrop, mode_drop, save_mode_drop, synthetic_mode_drop
from amgan_fast.train import train_classifier
from benchmarks.reports import write_json

FOLDER = Path("build")


def synthetic() -> dict[str, ModeDrop]:
    return {
        "uniform": synthetic_mode_drop("uniform"),  # all orders are alike
        "gaussian, densest kept": synthetic_mode_drop("gaussian", "sorted"),
        "gaussian, 1000 random orders": synthetic_mode_drop("gaussian", "random", orders=1000),
    }


def held_out_digits() -> dict[str, ModeDrop]:
    dataset = load_dataset("digits")
    classifier = train_classifier(dataset)
    sums = ClassSums(dataset.num_classes)
    with torch.no_grad():
        sums.update(classifier.network(to_float(dataset.test_images)), dataset.test_labels)
    return {"360 held-out digits": mode_drop(sums, reference=classifier.reference)}


def main() -> None:
    torch.set_num_threads(1)  # the layers for digits are too small to share out
    studies = {"mode_drop": synthetic(), "mode_drop_digits": held_out_digits()}
    results = {name: result for study in studies.values() for name, result in study.items()}
    write_json(FOLDER / "mode_drop.json", {name: result.to_dict() for name, result in results.items()})
    for name, study in studies.items():
        save_mode_drop(FOLDER / f"{name}.png", study)
    for name, result in results.items():
        print(name, result, sep=": ")


if __name__ == "__main__":
    main()
