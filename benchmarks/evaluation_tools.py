"""The Inception Score of a folder of images, by the programs that users of each tool write: a process of its own each.

    python -m benchmarks.evaluation_tools TOOL FOLDER NETWORK [--size 224]

NETWORK is module:function. The last line of the output is what :func:`main` makes: the score, and the seconds from when
the tool was imported.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import io
import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

BATCH = 64  # torch-fidelity's default


def ours(options: argparse.Namespace) -> Callable[[], float]:
    import torch  # noqa: F401

    from amgan_fast.cli import main

    def score() -> float:
        arguments = ["evaluate", "--images", options.folder, "--classifier", options.network, "--json"]
        resized = ["--input-size", str(options.size), "--resize", "bilinear"] if options.size else []
        sys.argv = ["amgan-fast", *arguments, *resized]
        output = io.StringIO()
        with contextlib.redirect_stdout(output), contextlib.suppress(SystemExit):
            main()
        return json.loads(output.getvalue())["generated"]["scores"]["inception_score"]

    return score


def torch_fidelity(options: argparse.Namespace) -> Callable[[], float]:
    import torch_fidelity
    from torch_fidelity.feature_extractor_base import FeatureExtractorBase

    class Extractor(FeatureExtractorBase):
        def __init__(self, name: str, features: Any, **_: Any) -> None:
            super().__init__(name, features)
            self.network = prepared(options)

        get_provided_features_list = staticmethod(lambda: ("logits",))
        get_default_feature_layer_for_metric = staticmethod(lambda metric: "logits")
        can_be_compiled = staticmethod(lambda: False)

        def forward(self, images: Any) -> tuple[Any]:
            return (self.network(images),)

    torch_fidelity.register_feature_extractor("own", Extractor)

    def score() -> float:
        found = torch_fidelity.calculate_metrics(
            input1=options.folder,
            isc=True,
            isc_splits=1,
            feature_extractor="own",
            batch_size=BATCH,
            cuda=False,
            verbose=False,
        )
        return found["inception_score_mean"]

    return score


def torchmetrics(options: argparse.Namespace) -> Callable[[], float]:
    from torchmetrics.image.inception import InceptionScore

    def score() -> float:
        metric = InceptionScore(feature=prepared(options), splits=1)
        for images in batches(options.folder):
            metric.update(images)
        return float(metric.compute()[0])

    return score


def ignite(options: argparse.Namespace) -> Callable[[], float]:
    from ignite.metrics import InceptionScore
    from torch import nn

    def score() -> float:
        network = nn.Sequential(prepared(options), nn.Softmax(1)).eval()
        metric = InceptionScore(num_features=options.classes, feature_extractor=network)
        for images in batches(options.folder):
            metric.update(images)
        return float(metric.compute())

    return score


TOOLS = {"ours": ours, "torch-fidelity": torch_fidelity, "torchmetrics": torchmetrics, "ignite": ignite}
MODULES = {"ours": "amgan_fast", "torch-fidelity": "torch_fidelity", "torchmetrics": "torchmetrics", "ignite": "ignite"}


def prepared(options: argparse.Namespace) -> Any:
    """The network as a module that takes pixels, as :class:`amgan_fast.evaluate.Inputs` brings them to ours."""
    from torch import nn
    from torch.nn.functional import interpolate

    class Prepared(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            module, _, function = options.network.partition(":")
            self.network = getattr(importlib.import_module(module), function)()

        def forward(self, images: Any) -> Any:
            pixels = images.float()
            if options.size:
                pixels = interpolate(pixels, (options.size, options.size), mode="bilinear", antialias=True)
            return self.network(pixels / 127.5 - 1)

    return Prepared().eval().requires_grad_(False)


def batches(folder: str) -> Iterator[Any]:
    """The loop that people write: a dataset that Pillow reads, and a DataLoader with a worker a CPU."""
    import torch
    from PIL import Image
    from torch.utils.data import DataLoader, Dataset
    from torchvision.transforms.functional import pil_to_tensor

    class Images(Dataset):
        def __init__(self) -> None:
            self.paths = sorted(Path(folder).iterdir())

        def __len__(self) -> int:
            return len(self.paths)

        def __getitem__(self, index: int) -> Any:
            return pil_to_tensor(Image.open(self.paths[index]).convert("RGB"))

    with torch.no_grad():
        yield from DataLoader(Images(), batch_size=BATCH, num_workers=os.cpu_count() or 1)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("tool", choices=TOOLS)
    parser.add_argument("folder")
    parser.add_argument("network")
    parser.add_argument("--size", type=int)
    parser.add_argument("--classes", type=int, default=10)
    options = parser.parse_args()
    score = TOOLS[options.tool](options)
    start = time.perf_counter()
    found = score()
    print(json.dumps({"score": found, "seconds": time.perf_counter() - start}))


if __name__ == "__main__":
    main()
