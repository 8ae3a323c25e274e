"""A generator in a file of its own: its weights, and all that it is made of again."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Collection
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from amgan_fast.errors import InputError
from amgan_fast.files import contents_of
from amgan_fast.nn import LatentSource, NetworkOptions, OwnGenerator, Sampler, build_generator
from amgan_fast.option_checks import LARGEST_INT, check_range
from amgan_fast.runs.checkpoint import Checkpoint
from amgan_fast.runs.config import Config
from amgan_fast.tensor_files import load_safetensors, save_safetensors
from amgan_fast.user_code import check_allowed

_GENERATOR = "amgan_fast generator"
_VERSION = 1
_WANTED = "wanted a generator that amgan-fast export wrote as .safetensors"


@dataclass(frozen=True, eq=False)
class GeneratorFile:
    """What an exported generator is made of. All but ``weights`` is JSON in the metadata of the file, and nothing in it
    is executed but what is allowed.

    >>> from pathlib import Path
    >>> from amgan_fast.runs import Checkpoint, Config, GeneratorFile
    >>> run = Path("runs/digits")
    >>> exported = GeneratorFile.of(Config.load(run / "config.toml"), Checkpoint.load(run / "checkpoint.pt"))
    >>> exported.save(Path("generator.safetensors"))
    >>> GeneratorFile.load(Path("generator.safetensors")).image_shape
    [1, 8, 8]
    """

    network: str
    """A name of :data:`amgan_fast.nn.NETWORKS`."""
    options: dict[str, Any]
    """All of :class:`amgan_fast.nn.NetworkOptions`."""
    image_shape: list[int]
    """[C, H, W]."""
    latent_size: int
    class_frequencies: list[float] | None
    """p(c), [K], of predefined labels; None with dynamic ones."""
    about: dict[str, Any]
    """For people: the run's model, dataset, seed and number of steps."""
    weights: dict[str, Tensor]
    """The state of the generator."""
    own: str | None = None
    """``module:function`` that makes the network; None: it is of ``network`` and ``options``."""
    own_options: dict[str, Any] = field(default_factory=dict)
    """What that is called with beside what all are."""

    @classmethod
    def of(cls, config: Config, checkpoint: Checkpoint) -> GeneratorFile:
        """Of a run's averaged generator."""
        frequencies = checkpoint.class_frequencies
        return cls(
            network=config.network,
            options=dataclasses.asdict(config.build_network_options()),
            image_shape=list(checkpoint.image_shape),
            latent_size=config.latent_size,
            class_frequencies=None if frequencies is None else frequencies.tolist(),
            about={
                "model": config.model,
                "dataset": config.dataset,
                "seed": config.seed,
                "steps": checkpoint.steps,
            },
            weights=checkpoint.averaged,
            own=config.generator,
            own_options=config.generator_options,
        )

    def save(self, path: Path) -> None:
        """
        Raises:
            InputError: the file cannot be written; what was there is as it was.
        """
        try:
            save_safetensors(path, _GENERATOR, json.dumps(self.description()), self.weights)
        except OSError as error:
            raise InputError(f"{path} cannot be written ({error.strerror}), wanted a place for --out") from None

    @classmethod
    def load(cls, path: Path, *, allow_code: Collection[str] = ()) -> GeneratorFile:
        """
        Args:
            allow_code: modules that it may name code of: an own generator.

        Raises:
            InputError: no such file, a damaged one, or one of something else, or one that names other code.
        """
        text, weights = load_safetensors(path, _GENERATOR, wanted=_WANTED)
        with contents_of(path):
            values = json.loads(text)
            if (version := values.pop("version")) != _VERSION:
                raise ValueError(f"version {version}, wanted {_VERSION}")
            loaded = cls(**values, weights=weights)
        check_allowed(path, {"generator": loaded.own}, allow_code)
        return loaded

    def description(self) -> dict[str, Any]:
        """All but the weights, as plain values."""
        names = [one.name for one in dataclasses.fields(self) if one.name != "weights"]
        return {"version": _VERSION} | {name: getattr(self, name) for name in names}

    def sampler(self) -> Sampler:
        """The generator, on the CPU, in evaluation mode and frozen, with what it is fed with.

        Raises:
            AttributeError, LookupError, RuntimeError, TypeError, ValueError: the fields fit no network, or the weights
                not this one.
        """
        check_range("latent_size", self.latent_size, 1, LARGEST_INT)
        frequencies = None
        if self.class_frequencies is not None:
            frequencies = torch.tensor(self.class_frequencies, dtype=torch.float64)
            if frequencies.ndim != 1 or not (frequencies >= 0).all() or not 0 < frequencies.sum() < torch.inf:
                raise ValueError("class_frequencies are no distribution")
        latent = LatentSource(self.latent_size, frequencies)
        if self.own is None:
            with torch.device("meta"):  # sizes that the weights do not have are not allocated
                _check_weights(self._build(latent), self.weights)
        with torch.random.fork_rng([]):  # the weights it starts with are thrown away
            generator = self._build(latent)
        generator.load_state_dict(self.weights)
        return Sampler(generator.eval().requires_grad_(False), latent)

    def _build(self, latent: LatentSource) -> nn.Module:
        channels, height, width = self.image_shape
        shape, classes = (channels, height, width), latent.num_labels or 0
        own = None if self.own is None else OwnGenerator(self.own, self.own_options)
        options = NetworkOptions(**self.options)
        return build_generator(self.network, latent.width, shape, options, classes=classes, own=own)


def _check_weights(generator: nn.Module, weights: dict[str, Tensor]) -> None:
    """Of a reference batch, which a new generator has none of, the network sees to itself."""
    for name, wanted in generator.state_dict().items():
        if name not in weights:
            raise ValueError(f"no weights {name}")
        if weights[name].shape != wanted.shape or weights[name].dtype != wanted.dtype:
            raise ValueError(f"weights {name} are {list(weights[name].shape)} of {weights[name].dtype}")
