"""Everything that decides what a training run does."""

from __future__ import annotations

import dataclasses
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tomli_w

from amgan_fast.data import DATASETS
from amgan_fast.errors import InputError
from amgan_fast.nn import NETWORKS
from amgan_fast.objectives import MODELS

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

LABELS = ("dynamic", "predefined")
DEVICES = ("auto", "cpu", "cuda")


@dataclass(frozen=True)
class Config:
    """The configuration of a run, written to its config.toml. The defaults are the recipe for digits.

    Raises:
        InputError: a value of the wrong type or out of its range.
    """

    model: str = "amgan"
    """A name of :data:`amgan_fast.objectives.MODELS`."""
    labels: str = "dynamic"
    """``"dynamic"``: a sample's class is the likeliest; ``"predefined"``: it is drawn and given to the generator."""
    dataset: str = "digits"
    """A name of :data:`amgan_fast.data.DATASETS`."""
    data_dir: str | None = None
    """Where the dataset's files are; None: their usual place."""
    network: str = "mlp"
    """A name of :data:`amgan_fast.nn.NETWORKS`."""
    latent_size: int = 32
    """The length of z."""
    steps: int = 4000
    """Steps of each player."""
    batch_size: int = 100
    generator_lr: float = 2e-3
    """Adam's learning rate, with the authors' betas (0.5, 0.999)."""
    discriminator_lr: float = 2e-3
    ema_decay: float = 0.998
    """Decay a step of the averaged generator weights, which samples and scores are made with."""
    seed: int = 0
    device: str = "auto"
    """``"auto"``: CUDA where there is a GPU and this build has kernels for it."""
    threads: int = 1
    """CPU threads, 0 for PyTorch's own choice. The layers for digits are too small to share out."""
    log_every: int = 20
    """Steps between two rows of losses in metrics.jsonl."""
    score_every: int = 200
    """Steps between two scores on the way, each of ``score_samples`` samples; a multiple of ``log_every``."""
    score_samples: int = 2000
    final_samples: int = 50_000
    """Samples that the finished run is scored with."""

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            _check_type(field.name, getattr(self, field.name), str(field.type))
        for name, known in (
            ("model", MODELS),
            ("labels", LABELS),
            ("dataset", DATASETS),
            ("network", NETWORKS),
            ("device", DEVICES),
        ):
            if getattr(self, name) not in known:
                raise InputError(f"{name} is {getattr(self, name)!r}, wanted one of {', '.join(known)}")
        for name in ("latent_size", "steps", "log_every", "score_every", "score_samples", "final_samples"):
            self._require(name, getattr(self, name) >= 1, "at least 1")
        self._require("threads", self.threads >= 0, "at least 0")
        self._require("batch_size", self.batch_size >= 2, "at least 2, for batch normalisation")
        multiple = self.score_every % self.log_every == 0
        self._require("score_every", multiple, f"a multiple of log_every = {self.log_every}")
        for name in ("generator_lr", "discriminator_lr"):
            self._require(name, getattr(self, name) > 0, "a positive number")
        self._require("ema_decay", 0 <= self.ema_decay < 1, "a number in [0, 1)")
        self._require("seed", 0 <= self.seed < 2**63, "0 to 2^63 - 1")

    @staticmethod
    def for_dataset(dataset: str, **overrides: Any) -> Config:
        """The recipe for a dataset, with what ``overrides`` gives."""
        return Config(**{"dataset": dataset, **_RECIPES.get(dataset, {}), **overrides})

    @staticmethod
    def load(path: Path) -> Config:
        """Read a config.toml.

        Raises:
            InputError: no such file, no TOML, an unknown key or a bad value.
        """
        try:
            values = tomllib.loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise InputError(f"{path} does not exist, wanted the config.toml of a run") from None
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise InputError(f"{path} is no TOML file: {error}") from None
        known = {field.name for field in dataclasses.fields(Config)}
        if unknown := sorted(values.keys() - known):
            raise InputError(f"{path} has unknown keys {', '.join(unknown)}, wanted some of {', '.join(sorted(known))}")
        return Config(**values)

    def to_dict(self) -> dict[str, Any]:
        """Without what is None, which TOML cannot say."""
        return {name: value for name, value in dataclasses.asdict(self).items() if value is not None}

    def save(self, path: Path) -> None:
        path.write_text(tomli_w.dumps(self.to_dict()), encoding="utf-8")

    def _require(self, name: str, holds: bool, wanted: str) -> None:
        if not holds:
            raise InputError(f"{name} is {getattr(self, name)}, wanted {wanted}")


_RECIPES: dict[str, dict[str, Any]] = {
    "fashion-mnist": {
        "network": "conv",
        "latent_size": 64,
        "generator_lr": 4e-4,
        "discriminator_lr": 4e-4,
        "threads": 0,
        "final_samples": 10_000,
    },
}

_TYPES: dict[str, tuple[type, ...]] = {
    "str": (str,),
    "str | None": (str, type(None)),
    "int": (int,),
    "float": (float, int),
}


def _check_type(name: str, value: object, wanted: str) -> None:
    # bool is a kind of int, and NaN a float, but neither is a setting.
    if not isinstance(value, _TYPES[wanted]) or isinstance(value, bool) or value != value:
        raise InputError(f"{name} is {value!r}, wanted {wanted}")
