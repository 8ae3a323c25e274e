"""Any classifier, with what a score under it has to say of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from amgan_fast.data import Dataset
from amgan_fast.errors import InputError
from amgan_fast.evaluate.classifiers.features import LinearInputs
from amgan_fast.evaluate.classifiers.image_network import ImageNetwork

if TYPE_CHECKING:
    from typing_extensions import Self  # typing has it from Python 3.11 on


@dataclass(frozen=True, eq=False)
class Outputs:
    """What a network makes of N images."""

    logits: Tensor
    """[N, K], floating point."""
    features: Tensor | None = None
    """[N, D], floating point, of the same call; None: not asked for, or the network shows none."""


@dataclass(frozen=True, eq=False)
class ImageClassifier(ImageNetwork):
    """Images as they come -> logits, by a network that is frozen and in evaluation mode.

    Its network makes of what :attr:`inputs` gives either logits [N, K], floating point, or a mapping of these as
    ``"logits"`` and of features [N, D] as ``"features"``.

    >>> import torch
    >>> from amgan_fast.evaluate import ImageClassifier, Inputs
    >>> network = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(12, 10))
    >>> classifier = ImageClassifier("mine", network, Inputs(size=(2, 2), channels=3), torch.device("cpu"))
    >>> classifier.logits(torch.zeros(5, 3, 2, 2, dtype=torch.uint8)).shape
    torch.Size([5, 10])
    """

    num_classes: int | None = None
    """K; None: what the network gives."""
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

    def is_of(self, dataset: Dataset) -> bool:
        """Whether it was trained on that dataset."""
        return self.fingerprint == dataset.fingerprint()

    def logits(self, images: Tensor | Sequence[Tensor]) -> Tensor:
        """Logits [N, K] on :attr:`device`, of the network's floating point type; without TF32
        (:func:`amgan_fast.evaluate.full_precision.full_precision`).

        Args:
            images: as :class:`Inputs` takes them.

        Raises:
            InputError: images that do not fit, or a network that fails on them or gives no logits: probabilities, say,
                which on a GPU are for :meth:`refuse_probabilities` to find.
        """
        return self.outputs(images, features=False).logits

    def outputs(self, images: Tensor | Sequence[Tensor], *, features: bool = True) -> Outputs:
        """Logits as of :meth:`logits`, and features of the same call: those that the network itself gives, else what
        the linear layer takes (:class:`torch.nn.Linear`, [N, D] -> [N, K]) whose output the logits are.

        Args:
            images: as :class:`Inputs` takes them.
            features: False: logits alone.

        Raises:
            InputError: as :meth:`logits`, or features that are no ordinary floating point tensor [N, D].

        >>> import torch
        >>> from amgan_fast.evaluate import ImageClassifier, Inputs
        >>> network = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(12, 7), torch.nn.Linear(7, 10))
        >>> classifier = ImageClassifier("mine", network, Inputs(size=(2, 2), channels=3), torch.device("cpu"))
        >>> outputs = classifier.outputs(torch.zeros(5, 3, 2, 2, dtype=torch.uint8))
        >>> outputs.logits.shape, outputs.features.shape
        (torch.Size([5, 10]), torch.Size([5, 7]))
        """

        def call(prepared: Tensor) -> list[Tensor]:
            with LinearInputs(self.network if features else None) as taken:
                given = self.network(prepared)
            return self._outputs(given, len(prepared), taken if features else None)

        return Outputs(*self._run(images, call, "a classifier"))

    def refuse_probabilities(self, logits: Tensor) -> None:
        """Of the user's code. A GPU is waited for: once, for its first logits.

        Raises:
            InputError: all rows are probabilities.
        """
        if self.is_users and _are_probabilities(logits):
            raise InputError(f"{self.name} gives probabilities (rows >= 0 that sum to 1), wanted logits: no softmax")

    def to_dict(self) -> dict[str, Any]:
        """All but the network and the reference, as plain values."""
        about = super().to_dict()
        return {
            "name": about.pop("name"),
            "num_classes": self.num_classes,
            "test_accuracy": self.test_accuracy,
            "tested_on": self.tested_on,
            "dataset": self.dataset,
            "fingerprint": self.fingerprint,
            "class_names": self.class_names and list(self.class_names),
            **about,
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """What a :meth:`to_dict` tells of a classifier, which cannot classify any more.

        Raises:
            KeyError, TypeError, ValueError: it is of no :meth:`to_dict`.
        """
        names = values.get("class_names")
        return super().from_dict({**values, "class_names": names and tuple(names)})

    def _outputs(self, given: Any, count: int, taken: LinearInputs | None) -> list[Tensor]:
        """Logits, and features if there are any.

        Args:
            given: by the network.
            taken: by its layers; None: features are not asked for.
        """
        wanted = f"logits [{count}, {self.num_classes or 'K'}], floating point"
        own = None
        if isinstance(given, Mapping):
            if "logits" not in given:
                raise InputError(f"{self.name} gives a dict without 'logits', wanted {wanted} there")
            given, own = given["logits"], given.get("features")
        logits = self._rows(given, count, self.num_classes, wanted)
        if logits.size(1) < 2:
            raise InputError(f"{self.name} gives {logits.size(1)} classes, wanted logits of at least 2")
        if not logits.is_cuda:
            self.refuse_probabilities(logits)
        if taken is None:
            return [logits]
        found = taken.of(logits) if own is None else own
        return [logits] if found is None else [logits, self._features(found, count)]


def _are_probabilities(values: Tensor) -> bool:
    tolerance = 1e-4 if values.dtype in (torch.float32, torch.float64) else 1e-2
    return bool(((values >= 0).all(1) & ((values.float().sum(1) - 1).abs() < tolerance)).all())
