"""Scores of a folder of image files under a classifier of your own, whose weights are in a safetensors file.

    python examples/folder_scores.py

trains a small classifier on the digits of scikit-learn, and writes ``digits.safetensors`` and two folders of PNG files:
half of the held-out digits, and the other half blurred. It scores both folders from Python, in some seconds, and prints
the scores and their difference with its interval. In the folder of ``--out`` are a page (``.html``) and all numbers
(``.json``) of each.

On the command line, in the folder above this one, the same is

    export DIGITS_WEIGHTS=runs/folder_scores/digits.safetensors
    amgan-fast evaluate --images runs/folder_scores/sharp --classifier examples.folder_scores:classifier \
        --reference runs/folder_scores/train.npz --report sharp.html --json sharp.json
    amgan-fast evaluate --images runs/folder_scores/blurred --classifier examples.folder_scores:classifier \
        --reference runs/folder_scores/train.npz --against sharp.json
"""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageFilter
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from amgan_fast.data import Dataset, load_dataset
from amgan_fast.evaluate import Evaluation, Request, evaluate_request, save_report
from amgan_fast.metrics import difference

WEIGHTS = "DIGITS_WEIGHTS"
"""The variable of the environment that names the file of weights."""


def make_network() -> nn.Module:
    """Images [N, 1, 8, 8] in [0, 1] -> logits [N, 10]."""
    return nn.Sequential(
        *(nn.Conv2d(1, 32, 3, padding=1), nn.BatchNorm2d(32), nn.ReLU()),
        *(nn.Conv2d(32, 64, 3, padding=1), nn.BatchNorm2d(64), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Flatten(), nn.Dropout(0.3), nn.Linear(64 * 16, 10)),
    )


def classifier() -> dict[str, object]:
    """What ``--classifier examples.folder_scores:classifier`` calls: the network, and what it was made for."""
    network = make_network()
    network.load_state_dict(load_file(os.environ[WEIGHTS]))
    return {"network": network, "input_size": 8, "input_range": "unit", "classes": [str(k) for k in range(10)]}


def train(digits: Dataset, epochs: int) -> nn.Module:
    network = make_network()
    step = torch.optim.Adam(network.parameters(), lr=1e-3)
    for _ in range(epochs):
        for batch in torch.randperm(len(digits.train_images)).split(100):
            loss = cross_entropy(network(digits.train_images[batch] / 255), digits.train_labels[batch])
            step.zero_grad()
            loss.backward()
            step.step()
    return network


def write_images(images: Tensor, labels: Tensor, folder: Path, blur: float) -> None:
    """A folder for each class, whose name is the label."""
    for i, (image, label) in enumerate(zip(images, labels.tolist(), strict=True)):
        place = folder / str(label)
        place.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image[0].numpy()).filter(ImageFilter.GaussianBlur(blur)).save(place / f"{i:03}.png")


def evaluate(folder: Path, reference: Path) -> Evaluation:
    """As the command does; a page and a JSON file beside the folder."""
    evaluation = evaluate_request(
        Request(images=folder, classifier="examples.folder_scores:classifier", reference=reference, device="cpu")
    )
    save_report(folder.with_suffix(".html"), evaluation)
    folder.with_suffix(".json").write_text(json.dumps(evaluation.to_dict(), indent=2))
    return evaluation


def main(arguments: Sequence[str] | None = None) -> dict[str, Evaluation]:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--epochs", type=int, default=20, help="of the classifier")
    parser.add_argument("--blur", type=float, default=0.7, help="standard deviation in pixels")
    parser.add_argument("--out", type=Path, default=Path("runs/folder_scores"))
    options = parser.parse_args(arguments)
    out: Path = options.out
    out.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(0)

    digits = load_dataset("digits")
    save_file(train(digits, options.epochs).state_dict(), out / "digits.safetensors")
    os.environ[WEIGHTS] = str(out / "digits.safetensors")
    # The training set, whose class distribution under the same classifier is the reference of the AM Score.
    images, labels = digits.train_images.permute(0, 2, 3, 1), digits.train_labels
    np.savez(out / "train.npz", arr_0=images.numpy(), arr_1=labels.numpy())

    found = {}
    # Other digits in each: of the same ones the difference would be better known than its interval says.
    for half, (name, blur) in enumerate((("sharp", 0.0), ("blurred", options.blur))):
        write_images(digits.test_images[half::2], digits.test_labels[half::2], out / name, blur)
        found[name] = evaluate(out / name, out / "train.npz")
        print(f"{name}: {found[name].generated.scores}")
        print(f"  labels that the classifier sees, too: {found[name].generated.label_accuracy:.1%}")
        print(f"  {out / name}.html, {out / name}.json")
    print(difference(found["blurred"].generated.scores, found["sharp"].generated.scores))
    return found


if __name__ == "__main__":
    main()
