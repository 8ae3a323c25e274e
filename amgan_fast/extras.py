"""Which extra of the installation brings a package: for who lacks it."""

from __future__ import annotations

from amgan_fast.errors import in_one_line

_EXTRA_OF = {
    "sklearn": "train",
    "tensorboard": "train",
    "tomli_w": "train",
    "torchvision": "train",
    "torch_fidelity": "torch-fidelity",
    "torchmetrics": "torchmetrics",
    "wandb": "wandb",
}


def said_of_missing(error: ImportError) -> str:
    """What cannot be imported, and what to type if an extra brings it.

    >>> from amgan_fast.extras import said_of_missing
    >>> print(said_of_missing(ModuleNotFoundError(name="sklearn.datasets")))
    the package sklearn is not installed, wanted pip install 'amgan-fast[train]'
    >>> print(said_of_missing(ModuleNotFoundError(name="something")))
    the package something is not installed, wanted it
    """
    package = _package(error)
    if not package or not isinstance(error, ModuleNotFoundError):  # it is there, and broken
        return in_one_line(error)
    extra = _EXTRA_OF.get(package)
    wanted = "it" if extra is None else f"pip install 'amgan-fast[{extra}]'"
    return f"the package {package} is not installed, wanted {wanted}"


def is_of_extra(error: ModuleNotFoundError) -> bool:
    """Whether an extra brings what is missing."""
    return _package(error) in _EXTRA_OF


def _package(error: ImportError) -> str:
    return (error.name or "").partition(".")[0]
