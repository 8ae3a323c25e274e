"""Weights of another run to start from."""

from __future__ import annotations

from pathlib import Path

from torch import Tensor, nn

from amgan_fast.data import Dataset
from amgan_fast.errors import InputError, some_of
from amgan_fast.files import contents_of
from amgan_fast.runs import Checkpoint, Config, RunFolder
from amgan_fast.train.checkpoints import save_checkpoint
from amgan_fast.train.checks import build_on_meta
from amgan_fast.train.training import Training

_LEAST = 0.5  # with less a network would be another one, that has biases of this one, say


def start_from(training: Training, path: Path) -> None:
    """Give a run that has taken no step the weights of another one, and save it.

    Tensors go by their names. One that the other run does not have, or has with another shape, is as a new run has it,
    and is named: the last layer of a discriminator of other classes, say. Optimisers, averages of losses and the order
    of the images begin anew.

    Args:
        path: a run, or a file of one: its ``checkpoint.best.pt``, say.

    Raises:
        InputError: there is no such checkpoint, or it has less than half of the weights of one of the networks.
    """
    step, checkpoint = training.step, _read(path)
    for name in ("generator", "averaged", "discriminator"):
        network = getattr(step, name)
        fitting = _fitting(path, name, network, checkpoint)
        network.load_state_dict(fitting, strict=False)
        if name != "averaged":  # which has the same tensors as the generator
            new = [key for key in network.state_dict() if key not in fitting]
            kept = f", new: {some_of(new)}" if new else ""
            training.job.observer.message(f"init: {name} of {path}, step {checkpoint.steps:,}{kept}")
    save_checkpoint(training)  # the other run may be gone when this one goes on


def check_init(config: Config, dataset: Dataset) -> None:
    """Whether a run can start from what ``init`` names.

    Raises:
        InputError: as :func:`start_from`.
    """
    path = Path(config.init or "")
    checkpoint = _read(path)
    sampler, discriminator = build_on_meta(config, dataset, config.build_objective())
    _fitting(path, "generator", sampler.generator, checkpoint)
    _fitting(path, "discriminator", discriminator, checkpoint)


def _read(path: Path) -> Checkpoint:
    if path.is_file():
        return Checkpoint.load(path)
    folder = RunFolder(path)
    if not folder.has_checkpoint:
        raise InputError(f"init is {path}, wanted a run that has a {folder.checkpoint.name}, or such a file")
    return Checkpoint.load_last(folder.checkpoint)[0]


def _fitting(path: Path, name: str, network: nn.Module, checkpoint: Checkpoint) -> dict[str, Tensor]:
    """The tensors of a network of the checkpoint that the network here has, too."""
    own = network.state_dict()
    with contents_of(path):
        state = checkpoint.step[name]
        fitting = {key: value for key, value in state.items() if key in own and own[key].shape == value.shape}
    sizes = {key: parameter.numel() for key, parameter in network.named_parameters()}
    share = sum(size for key, size in sizes.items() if key in fitting) / sum(sizes.values())
    if share < _LEAST:
        found = f"{share:.0%} of the {name}'s weights are found in {path}, with the same names and shapes"
        raise InputError(f"init: {found}, wanted at least {_LEAST:.0%}: a run of the same networks")
    return fitting
