"""Any classifier, with what a score under it has to say of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from amgan_fast.data import Dataset
from amgan_fast.errors import InputError
from amgan_fast.evaluate.classifiers.inputs import Inputs
from amgan_fast.evaluate.full_precision import full_precision
from amgan_fast.user_code import users_errors

_LOGITS = (torch.float32, torch.float64, torch.bfloat16, torch.float16)


@dataclass(frozen=True, eq=False)
class ImageClassifier:
    """Images as they come -> logits, by a network that is frozen and in evaluation mode.

    >>> import torch
    >>> from amgan_fast.evaluate import ImageClassifier, Inputs
    >>> network = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(12, 10))
    >>> classifier = ImageClassifier("mine", network, Inputs(size=(2, 2), channels=3), torch.device("cpu"))
    >>> classifier.logits(torch.zeros(5, 3, 2, 2, dtype=torch.uint8)).shape
    torch.Size([5, 10])
    """

    name: str
    network: Callable[[Tensor], Tensor]
    """What :attr:`inputs` makes of images -> logits [N, K], floating point."""
    inputs: Inputs
    device: torch.device
    num_classes: int | None = None
    """K; None: what the network gives."""
    sha256: str | None = None
    """None: its weights are not known."""
    sha256_of: str = "its weights: the names and values of their tensors"
    """What that is the digest of: these, or the file they are from."""
    test_accuracy: float | None = None
    """The fraction of :attr:`tested_on` that it classifies correctly; None: not measured."""
    tested_on: str | None = None
    reference: Tensor | None = None
    """Its mean class distribution on its training set, float64 [K] on the CPU; None: not measured."""
    reference_counts: Tensor | None = None
    """How often each class is its likeliest there, int64 on the CPU: [K] of a training set drawn at random, [S, K] by
    label of another; None: not counted."""
    dataset: str | None = None
    """The name of the dataset it was trained on; None: not known."""
    fingerprint: str | None = None
    """SHA-256 of that dataset."""
    class_names: tuple[str, ...] | None = None
    """What each of its classes is called; None: not known, or by its number."""
    note: str | None = None
    """What else a reader of its scores should know."""
    is_users: bool = False
    """Whether it is the user's code: its logits are looked at more closely."""
    takes_any_size: bool = False
    """Of a network whose :attr:`inputs` have no size: whether that was said, or nothing was."""

    def is_of(self, dataset: Dataset) -> bool:
        """Whether it was trained on that dataset."""
        return self.fingerprint == dataset.fingerprint()

    @torch.no_grad()
    def logits(self, images: Tensor | Sequence[Tensor]) -> Tensor:
        """Logits [N, K] on :attr:`device`, of the network's floating point type; without TF32
        (:func:`amgan_fast.evaluate.full_precision.full_precision`).

        Args:
            images: as :class:`Inputs` takes them.

        Raises:
            InputError: images that do not fit, or a network that fails on them or gives no logits: probabilities, say,
                which on a GPU are for :meth:`refuse_probabilities` to find.
        """
        prepared = self.inputs(images, self.device)
        found = f"{self.name} fails on images {list(prepared.shape)} of {prepared.dtype}"
        with users_errors(found, "a classifier that takes them"), full_precision():
            logits = self.network(prepared)
            self._check(logits, len(prepared))
            if not logits.is_cuda:
                self.refuse_probabilities(logits)
        return logits

    def refuse_probabilities(self, logits: Tensor) -> None:
        """Of the user's code. A GPU is waited for: once, for its first logits.

        Raises:
            InputError: all rows are probabilities.
        """
        if self.is_users and _are_probabilities(logits):
            raise InputError(f"{self.name} gives probabilities (rows >= 0 that sum to 1), wanted logits: no softmax")

    def to_dict(self) -> dict[str, Any]:
        """All but the network and the reference, as plain values."""
        return {
            "name": self.name,
            "num_classes": self.num_classes,
            "sha256": self.sha256,
            "sha256_of": None if self.sha256 is None else self.sha256_of,
            "test_accuracy": self.test_accuracy,
            "tested_on": self.tested_on,
            "dataset": self.dataset,
            "fingerprint": self.fingerprint,
            "class_names": self.class_names and list(self.class_names),
            "inputs": self.inputs.to_dict(),
            "device": str(self.device),
            "note": self.note,
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> ImageClassifier:
        """What a :meth:`to_dict` tells of a classifier, which cannot classify any more.

        Raises:
            KeyError, TypeError, ValueError: it is of no :meth:`to_dict`.
        """
        known = {name: value for name, value in values.items() if value is not None}
        if names := known.get("class_names"):
            known["class_names"] = tuple(names)
        inputs, device = Inputs.from_dict(values["inputs"]), torch.device(values["device"])
        return cls(**known | {"network": _forgotten, "inputs": inputs, "device": device})

    def _check(self, logits: object, count: int) -> None:
        wanted = f"logits [{count}, {self.num_classes or 'K'}], floating point"
        if not isinstance(logits, Tensor):
            raise InputError(f"{self.name} gives a {type(logits).__name__}, wanted {wanted}")
        shape = (count, self.num_classes or logits.shape[-1] if logits.ndim else 0)
        if logits.shape != shape or logits.dtype not in _LOGITS:
            raise InputError(f"{self.name} gives {list(logits.shape)} of {logits.dtype}, wanted {wanted}")
        if logits.layout != torch.strided or logits.is_meta:
            found = "tensor without values (meta)" if logits.is_meta else f"tensor of layout {logits.layout}"
            raise InputError(f"{self.name} gives a {found}, wanted {wanted}")
        if logits.size(1) < 2:
            raise InputError(f"{self.name} gives {logits.size(1)} classes, wanted logits of at least 2")


def _forgotten(images: Tensor) -> Tensor:
    raise ValueError("the network of this classifier was not kept, wanted one that was opened")


def _are_probabilities(values: Tensor) -> bool:
    tolerance = 1e-4 if values.dtype in (torch.float32, torch.float64) else 1e-2
    return bool(((values >= 0).all(1) & ((values.float().sum(1) - 1).abs() < tolerance)).all())
