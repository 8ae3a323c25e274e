"""Which extra of the installation brings a package: for who lacks it."""

from __future__ import annotations

_EXTRA_OF = {
    "sklearn": "train",
    "tensorboard": "train",
    "tomli_w": "train",
    "torchvision": "train",
    "torch_fidelity": "torch-fidelity",
    "torchmetrics": "torchmetrics",
    "wandb": "wandb",
}


def said_of_missing(error: ModuleNotFoundError) -> str:
    """What is missing, and what to type if an extra brings it.

    >>> from amgan_fast.extras import said_of_missing
    >>> print(said_of_missing(ModuleNotFoundError(name="sklearn.datasets")))
    the package sklearn is not installed, wanted pip install 'amgan-fast[train]'
    """
    package = (error.name or "").partition(".")[0]
    extra = _EXTRA_OF.get(package, package)
    return f"the package {package} is not installed, wanted pip install 'amgan-fast[{extra}]'"


def is_of_extra(error: ModuleNotFoundError) -> bool:
    """Whether an extra brings what is missing."""
    return (error.name or "").partition(".")[0] in _EXTRA_OF
