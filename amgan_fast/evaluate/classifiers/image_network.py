"""What classifiers and feature extractors have in common: images as they come, through a network."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from amgan_fast.errors import InputError
from amgan_fast.evaluate.classifiers.inputs import Inputs
from amgan_fast.evaluate.full_precision import full_precision
from amgan_fast.memory import to_device
from amgan_fast.user_code import users_errors

if TYPE_CHECKING:
    from typing_extensions import Self  # typing has it from Python 3.11 on

_FLOATS = (torch.float32, torch.float64, torch.bfloat16, torch.float16)


@dataclass(frozen=True, eq=False)
class ImageNetwork:
    """A network that is frozen and in evaluation mode, what it is given, and what to say of it beside its scores."""

    name: str
    network: Callable[[Tensor], Any]
    """Is called with what :attr:`inputs` makes of images."""
    inputs: Inputs
    device: torch.device
    _: KW_ONLY
    sha256: str | None = None
    """None: its weights are not known."""
    sha256_of: str = "its weights: the names and values of their tensors"
    """What that is the digest of: these, or the file they are from."""
    note: str | None = None
    """What else a reader of its scores should know."""
    is_users: bool = False
    """Whether it is the user's code: what it gives is looked at more closely."""
    takes_any_size: bool = False
    """Of a network whose :attr:`inputs` have no size: whether that was said, or nothing was."""

    @property
    def takes_mixed_sizes(self) -> bool:
        """Whether images of several sizes can come together: they are brought to one, or go to the network one size
        after the other."""
        return self.inputs.resize != "none" or self._is_called_by_size

    def to_dict(self) -> dict[str, Any]:
        """All but the network, as plain values."""
        return {
            "name": self.name,
            "sha256": self.sha256,
            "sha256_of": None if self.sha256 is None else self.sha256_of,
            "inputs": self.inputs.to_dict(),
            "device": str(self.device),
            "note": self.note,
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """What a :meth:`to_dict` tells of a network, which cannot be called any more.

        Raises:
            KeyError, TypeError, ValueError: it is of no :meth:`to_dict`.
        """
        known = {name: value for name, value in values.items() if value is not None}
        inputs, device = Inputs.from_dict(values["inputs"]), torch.device(values["device"])
        return cls(**known | {"network": _forgotten, "inputs": inputs, "device": device})

    @torch.no_grad()
    def _run(self, images: Tensor | Sequence[Tensor], use: Callable[[Tensor], list[Tensor]], kind: str) -> list[Tensor]:
        """
        Args:
            images: N of them, as :class:`Inputs` takes them.
            use: calls the network with what these become, and looks at what it gives, tensors [N, ...].
            kind: what the network is: a classifier, say.

        Raises:
            InputError: images that do not fit, or what ``use`` raises, of any kind.
        """
        if isinstance(images, Tensor) or not self._is_called_by_size:
            return self._run_at_once(images, use, kind)
        places: dict[torch.Size, list[int]] = {}
        for i, image in enumerate(images):
            places.setdefault(image.shape[1:], []).append(i)
        if len(places) <= 1:
            return self._run_at_once(images, use, kind)
        parts = [self._run_at_once([images[i] for i in alike], use, kind) for alike in places.values()]
        order = torch.tensor([i for alike in places.values() for i in alike]).argsort()
        return [torch.cat(values)[to_device(order, self.device)] for values in zip(*parts, strict=True)]

    def _run_at_once(
        self, images: Tensor | Sequence[Tensor], use: Callable[[Tensor], list[Tensor]], kind: str
    ) -> list[Tensor]:
        prepared = self.inputs(images, self.device)
        found = f"{self.name} fails on images {list(prepared.shape)} of {prepared.dtype}"
        with users_errors(found, f"{kind} that takes them"), full_precision():
            return use(prepared)

    @property
    def _is_called_by_size(self) -> bool:
        return self.takes_any_size and self.inputs.size is None

    def _rows(self, values: object, count: int, columns: int | None, wanted: str) -> Tensor:
        """
        Args:
            values: that the network gives.
            count: of images.
            columns: None: any number.
            wanted: what the values should be.

        Raises:
            InputError: they are no ordinary floating point tensor [count, columns].
        """
        if not isinstance(values, Tensor):
            raise InputError(f"{self.name} gives a {type(values).__name__}, wanted {wanted}")
        shape = (count, columns or values.shape[-1] if values.ndim else 0)
        if values.shape != shape or values.dtype not in _FLOATS:
            raise InputError(f"{self.name} gives {list(values.shape)} of {values.dtype}, wanted {wanted}")
        if values.layout != torch.strided or values.is_meta:
            found = "tensor without values (meta)" if values.is_meta else f"tensor of layout {values.layout}"
            raise InputError(f"{self.name} gives a {found}, wanted {wanted}")
        return values

    def _features(self, values: object, count: int, dim: int | None = None) -> Tensor:
        """As :meth:`_rows`: [count, dim], at least one column."""
        wanted = f"features [{count}, {dim or 'D'}], floating point"
        features = self._rows(values, count, dim, wanted)
        if not features.size(1):
            raise InputError(f"{self.name} gives features of no columns, wanted {wanted}")
        return features


def _forgotten(images: Tensor) -> Tensor:
    raise ValueError("this network was not kept, wanted one that was opened")
