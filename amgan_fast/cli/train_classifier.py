"""``amgan-fast train-classifier``"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from amgan_fast.cli.command import command
from amgan_fast.cli.dataset_option import Dataset
from amgan_fast.errors import InputError
from amgan_fast.option_declarations import DataDir, Device, Option, check_dataset


@command
def train_classifier(
    out: Annotated[Path, Option("file to write, .pt; its description goes beside it, .json")],
    dataset: Dataset = "digits",
    network: Annotated[
        Literal["cnn", "densenet-bc"], Option("a small CNN in minutes, or the paper's DenseNet")
    ] = "cnn",
    epochs: Annotated[int | None, Option("default: the network's recipe", lowest=1)] = None,
    depth: Annotated[int | None, Option("layers of densenet-bc; default: 40")] = None,
    growth: Annotated[int | None, Option("growth rate of densenet-bc; default: 40")] = None,
    seed: Annotated[int, Option("the same seed gives the same weights on a CPU", lowest=0)] = 0,
    data_dir: DataDir = None,
    skip_unreadable: Annotated[
        bool, Option("leave out images of image-folder that cannot be read, or are of another size")
    ] = False,
    device: Device = "auto",
    threads: Annotated[int, Option("CPU threads; 0: PyTorch's own choice", lowest=0)] = 0,
) -> None:
    """Train a classifier to score with, and leave its accuracy and entropies beside the weights."""
    check_dataset(dataset)
    sizes = {name: value for name, value in (("depth", depth), ("growth", growth)) if value is not None}
    if sizes and network != "densenet-bc":
        raise InputError(f"found --{next(iter(sizes))} with --network {network}, wanted --network densenet-bc")

    from rich.console import Console

    from amgan_fast.console import ProgressBar
    from amgan_fast.data import load_dataset
    from amgan_fast.device import cpu_threads, resolve_device
    from amgan_fast.train import train_classifier_file

    torch_device = resolve_device(device)
    with ProgressBar(Console()) as progress, cpu_threads(threads):
        images = load_dataset(dataset, data_dir, progress=progress.progress, skip_unreadable=skip_unreadable)
        train_classifier_file(
            images.to(torch_device), out=out, network=network, epochs=epochs, seed=seed, observer=progress, **sizes
        )
