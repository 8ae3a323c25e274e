"""What a comparison keeps of a run, and of real images."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from amgan_fast.compare.cells import Cell
from amgan_fast.compare.differences import model_differences
from amgan_fast.data import Dataset
from amgan_fast.device import cpu_threads
from amgan_fast.evaluate import open_run
from amgan_fast.files import contents_of, read_json, write_json
from amgan_fast.metrics import SCORE, class_ms_ssim
from amgan_fast.runs import Config, RunFolder, Summary
from amgan_fast.seeds import Purpose, random_stream

_PAIRS = 100  # a class, as Odena et al.
_IMAGES_A_CLASS = 2 * _PAIRS  # so that no two pairs share an image


@dataclass(frozen=True)
class MaxMsSsim:
    """The largest of the classes' mean MS-SSIM; see :class:`amgan_fast.metrics.ClassMsSsim`.

    >>> from amgan_fast.compare import MaxMsSsim
    >>> MaxMsSsim(plain=0.888, corrected=0.881, ci95=(0.859, 0.903)).corrected
    0.881
    """

    plain: float | None
    """None where no class had two images."""
    corrected: float | None
    """None where no class has images enough for an error."""
    ci95: tuple[float, float] | None
    """Of the corrected one."""

    @classmethod
    def of(cls, measured: Mapping[str, Any]) -> MaxMsSsim:
        """From the dict of a ClassMsSsim."""
        if measured["maximum"] is None:
            return cls(None, None, None)
        interval = measured["maximum_ci95"]
        return cls(measured["maximum"], measured["maximum_corrected"], interval and tuple(interval))


@dataclass(frozen=True)
class RealResult:
    """Scores of held-out images; MS-SSIM of training images, of which there are more, where they are in memory.

    >>> from amgan_fast.compare import MaxMsSsim, RealResult
    >>> RealResult({"am_score": 0.03}, MaxMsSsim(plain=0.888, corrected=0.881, ci95=(0.859, 0.903))).ms_ssim.plain
    0.888
    """

    scores: dict[str, Any]
    ms_ssim: MaxMsSsim


@dataclass(frozen=True)
class CellResult:
    """A finished run.

    >>> from amgan_fast.compare import CellResult, MaxMsSsim
    >>> CellResult("gan", "dynamic", 0, {"am_score": 0.1}, MaxMsSsim(0.9, 0.89, (0.87, 0.91)), seconds=60.0).seed
    0
    """

    model: str
    labels: str
    seed: int
    scores: dict[str, Any]
    """Fields of :class:`amgan_fast.metrics.Scores`."""
    ms_ssim: MaxMsSsim
    seconds: float
    """Of training."""
    discriminator_accuracy: float | None = None
    """On held-out images; None where the discriminator has no class outputs."""
    discriminator_accuracy_ci95: tuple[float, float] | None = None
    classifier_sha256: str | None = None
    """Of what judged it."""


@dataclass(frozen=True)
class Comparison:
    """All results, real images first.

    >>> from amgan_fast.compare import Comparison, MaxMsSsim, RealResult
    >>> real = RealResult({"am_score": 0.03}, MaxMsSsim(plain=0.888, corrected=0.881, ci95=(0.859, 0.903)))
    >>> Comparison("digits", {"steps": 4000}, real, cells=()).to_dict()["real"]["ms_ssim"]["corrected"]
    0.881
    """

    dataset: str
    settings: dict[str, Any]
    real: RealResult
    cells: tuple[CellResult, ...]

    def to_dict(self) -> dict[str, Any]:
        return asdict(self) | {"differences": [found.to_dict() for found in model_differences(self.cells)]}


def result_of(cell: Cell, root: Path) -> CellResult:
    """Of a finished run; MS-SSIM is measured once and kept beside its summary."""
    run = cell.run(root)
    summary = Summary.load(run.summary)
    similar = _kept_ms_ssim(run.path, cell.config)
    with contents_of(run.summary):
        discriminator = summary.discriminator or {"accuracy": None, "ci95": None}
        return CellResult(
            model=cell.config.model,
            labels=cell.config.labels,
            seed=cell.config.seed,
            scores={name: summary.scores[name] for name in SCORE} | {"estimates": summary.scores.get("estimates")},
            ms_ssim=similar,
            seconds=summary.training.seconds,
            discriminator_accuracy=discriminator["accuracy"],
            discriminator_accuracy_ci95=discriminator["ci95"] and tuple(discriminator["ci95"]),
            classifier_sha256=summary.evaluation["classifier"]["sha256"],
        )


def real_result(run: RunFolder, dataset: Dataset) -> RealResult:
    """From any finished run of the dataset, which all share their classifier."""
    summary = Summary.load(run.summary)
    with contents_of(run.summary):
        scores = {name: summary.held_out_scores[name] for name in SCORE}
    images, labels = dataset.train_images, dataset.train_labels
    if not isinstance(images, torch.Tensor):  # in files
        images, labels = dataset.test_images, dataset.test_labels
    return RealResult(scores, MaxMsSsim.of(class_ms_ssim(images, labels, pairs=_PAIRS, data_range=255).to_dict()))


def _kept_ms_ssim(folder: Path, config: Config) -> MaxMsSsim:
    kept = folder / "ms_ssim.json"
    if not kept.exists() or _is_plain(kept):
        write_json(kept, _ms_ssim(folder, config))
    with contents_of(kept):
        return MaxMsSsim.of(read_json(kept))


def _is_plain(kept: Path) -> bool:
    """Whether an earlier version wrote it, which knew no correction."""
    with contents_of(kept):
        values = read_json(kept)
        return values["maximum"] is not None and "maximum_corrected" not in values


def _ms_ssim(folder: Path, config: Config) -> dict[str, Any]:
    """Of samples by the class they were asked for, or with dynamic labels by the class the classifier gives them."""
    run = open_run(folder, "cpu", allow_code=config.modules())
    count = 2 * _IMAGES_A_CLASS * run.dataset.num_classes
    images, labels = run.samples(count, random_stream(run.config.seed, Purpose.MS_SSIM))
    with cpu_threads(run.config.threads):
        try:
            measured = class_ms_ssim(images, labels, pairs=_PAIRS)
        except ValueError:  # no class of two samples
            return {"maximum": None}
    return measured.to_dict()
