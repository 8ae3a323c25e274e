"""Fashion-MNIST."""

from __future__ import annotations

from pathlib import Path

from amgan_fast.data import idx
from amgan_fast.data.dataset import Dataset
from amgan_fast.data.folders import find_folder
from amgan_fast.data.loader import Loader

DEBIAN_DIR = Path("/usr/share/datasets/fashion-mnist")
"""Where Debian's package dataset-fashion-mnist puts the files."""

_NAMES = (
    "T-shirt/top",
    "Trouser",
    "Pullover",
    "Dress",
    "Coat",
    "Sandal",
    "Shirt",
    "Sneaker",
    "Bag",
    "Ankle boot",
)
"""As published (arXiv 1708.07747, table 2, in the words of the authors' README)."""


def load_fashion_mnist(data_dir: Path | None = None, *, image_size: int | None = None) -> Dataset:
    """60,000 images of clothes of 28x28 pixels to train on and 10,000 held out (Xiao et al., arXiv 1708.07747).

    Args:
        data_dir: a folder with the idx files, gzipped or not, or the root of ``torchvision.datasets.FashionMNIST``;
            None: the files of Debian's package.
        image_size: as of :func:`amgan_fast.data.mnist.load_mnist`.

    Raises:
        InputError: as :func:`amgan_fast.data.mnist.load_mnist`.
    """
    candidates = [DEBIAN_DIR] if data_dir is None else [data_dir, data_dir / "FashionMNIST" / "raw"]
    advice = (
        "install Debian's package dataset-fashion-mnist, or give --data-dir the folder where "
        "torchvision.datasets.FashionMNIST keeps it"
    )
    folder = find_folder("Fashion-MNIST", candidates, idx.FIRST_FILES, advice)
    loaded = Dataset("fashion-mnist", 10, *idx.read_idx_set(folder), mirror_symmetric=True, class_names=_NAMES)
    return loaded.padded(image_size)


FASHION_MNIST = Loader(load_fashion_mnist, size=(28, 28))
