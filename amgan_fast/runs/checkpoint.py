"""Where a run stands: its last checkpoint, and the one before."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import MISSING, dataclass, fields
from pathlib import Path
from typing import Any, TypeVar

from torch import Tensor

from amgan_fast.errors import InputError
from amgan_fast.files import contents_of, rename
from amgan_fast.runs.folder import previous_checkpoint
from amgan_fast.tensor_files import load_mapped, load_tensors, save_tensors

_Read = TypeVar("_Read")


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """All that a run goes on from, and that its generator is made of again. The fields are the keys of the file.

    >>> from pathlib import Path
    >>> from amgan_fast.runs import Checkpoint
    >>> Checkpoint.load(Path("runs/digits/checkpoint.pt")).image_shape
    [1, 8, 8]
    """

    config: dict[str, Any]
    """:meth:`Config.to_dict` of the run."""
    image_shape: list[int]
    """[C, H, W] of its images."""
    class_frequencies: Tensor | None
    """p(c), [K], of predefined labels; None with dynamic ones."""
    step: dict[str, Any]
    """:meth:`amgan_fast.train.AdversarialStep.state_dict`: networks, optimisers, and how many steps there were."""
    batches: dict[str, Any]
    """Where the order of the labelled images stands: :meth:`amgan_fast.data.Batches.state_dict`."""
    random: list[dict[str, Any]]
    """The random numbers of every process, in their order."""
    seconds: float
    """Of training until now."""
    unlabelled: dict[str, Any] | None = None
    """Where the order of all images stands; None where all are labelled."""

    @property
    def steps(self) -> int:
        return self.step["steps"]

    @property
    def averaged(self) -> dict[str, Tensor]:
        """The weights of the averaged generator."""
        return self.step["averaged"]

    def save(self, path: Path, *, keeps_previous: bool = True) -> None:
        """Write it to ``path``; the one that is there stays as :func:`previous_checkpoint`, or is gone.

        Raises:
            InputError: no space, or no permission; what was there is as it was.
        """
        state = {one.name: getattr(self, one.name) for one in fields(self)}
        save_tensors(path, state, previous=previous_checkpoint(path) if keeps_previous else None)

    @staticmethod
    def load(path: Path) -> Checkpoint:
        """Read to the CPU.

        Raises:
            InputError: no such file, a damaged one, or one of something else.
        """
        state = load_tensors(path)
        with contents_of(path):
            checkpoint = Checkpoint(
                **{
                    one.name: state[one.name]
                    for one in fields(Checkpoint)
                    if one.default is MISSING or one.name in state
                }
            )
            if not isinstance(checkpoint.config, dict) or not isinstance(checkpoint.steps, int):
                raise TypeError("config is no table, or steps no number")
        return checkpoint

    @staticmethod
    def load_last(path: Path) -> tuple[Checkpoint, str | None]:
        """The checkpoint at ``path``, or the one before where that is missing or damaged: then, also what is wrong.

        Raises:
            InputError: neither can be read.
        """
        return _of_last(path, Checkpoint.load)

    @staticmethod
    def last_steps(path: Path) -> int:
        """:attr:`steps` of :meth:`load_last`, without reading tensors; 0: there is no checkpoint yet. That a tensor is
        damaged is not seen.

        Raises:
            InputError: neither can be read.
        """

        def steps(one: Path) -> int:
            with contents_of(one):
                return int(load_mapped(one)["step"]["steps"])

        there = any(one.exists() for one in (path, previous_checkpoint(path)))
        return _of_last(path, steps)[0] if there else 0


def _of_last(path: Path, read: Callable[[Path], _Read]) -> tuple[_Read, str | None]:
    """What can be read of the checkpoint at ``path``, or else of the one before; then, also what is wrong."""
    try:
        return read(path), None
    except InputError as error:
        previous = previous_checkpoint(path)
        if not previous.exists():
            raise
        try:
            return read(previous), f"{error}: going on from {previous.name}"
        except InputError as second:
            raise InputError(f"{error}; {second}") from None


def put_previous_in_place(path: Path) -> None:
    """Give the one before the name of the checkpoint, so that the next :meth:`Checkpoint.save` keeps it; a damaged
    file that is there stays as NAME.damaged.pt. At every moment :meth:`Checkpoint.load_last` finds the one before.

    >>> from pathlib import Path
    >>> from amgan_fast.runs import previous_checkpoint, put_previous_in_place
    >>> checkpoint = Path("checkpoint.pt")
    >>> checkpoint.write_text("damaged"), previous_checkpoint(checkpoint).write_text("the one before")
    (7, 14)
    >>> put_previous_in_place(checkpoint)
    >>> checkpoint.read_text()
    'the one before'
    """
    if path.exists():
        rename(path, path.with_name(f"{path.stem}.damaged{path.suffix}"))
    rename(previous_checkpoint(path), path)
