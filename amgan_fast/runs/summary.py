"""What a finished run came to: its summary.json."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from amgan_fast.files import contents_of, full_disk_is_said, read_json, write_json


@dataclass(frozen=True)
class TrainingFacts:
    """How a run was trained.

    >>> from amgan_fast.runs import TrainingFacts
    >>> TrainingFacts(seconds=60.0, images_per_second=4000.0, device="cpu", threads=1).processes
    1
    """

    seconds: float
    images_per_second: float
    device: str
    threads: int
    processes: int = 1


@dataclass(frozen=True)
class Summary:
    """The fields are the keys of the file, but that those of ``evaluation`` stand beside them.

    >>> from pathlib import Path
    >>> from amgan_fast.runs import Summary
    >>> Summary.load(Path("runs/digits/summary.json")).scores["num_classes"]
    10
    """

    config: dict[str, Any]
    """:meth:`Config.to_dict` of the run."""
    evaluation: dict[str, Any]
    """:meth:`amgan_fast.evaluate.Evaluation.to_dict`."""
    discriminator: dict[str, Any] | None
    """:meth:`amgan_fast.train.DiscriminatorAccuracy.to_dict`; None where it has no class outputs."""
    training: TrainingFacts
    build: dict[str, Any]
    """:func:`amgan_fast.build_info`."""

    @property
    def scores(self) -> dict[str, Any]:
        """Of the run's samples: the fields of :class:`amgan_fast.metrics.Scores`."""
        return self.evaluation["generated"]["scores"]

    @property
    def held_out_scores(self) -> dict[str, Any]:
        """Of the held-out images."""
        return self.evaluation["held_out"]["scores"]

    def to_dict(self) -> dict[str, Any]:
        """What the file has."""
        return {
            "config": self.config,
            **self.evaluation,
            "discriminator": self.discriminator,
            "training": asdict(self.training),
            "build": self.build,
        }

    def save(self, path: Path) -> None:
        """
        Raises:
            InputError: no space, or no permission.
        """
        with full_disk_is_said(path):
            write_json(path, self.to_dict())

    @staticmethod
    def load(path: Path) -> Summary:
        """
        Raises:
            InputError: no such file, or a damaged one.
        """
        values = read_json(path)
        with contents_of(path):
            summary = Summary(
                config=values.pop("config"),
                discriminator=values.pop("discriminator", None),
                training=TrainingFacts(**values.pop("training")),
                build=values.pop("build"),
                evaluation=values,
            )
            if not all(isinstance(scores, dict) for scores in (summary.scores, summary.held_out_scores)):
                raise TypeError("scores are no table")
            if not isinstance(summary.build, dict) or not isinstance(summary.discriminator, dict | None):
                raise TypeError("build or discriminator is no table")
            training = summary.training
            if not all(isinstance(number, int | float) for number in (training.seconds, training.images_per_second)):
                raise TypeError("times of training are no numbers")
        return summary
