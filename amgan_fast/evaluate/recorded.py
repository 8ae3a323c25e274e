"""An evaluation as its dict tells of it: what a run's summary.json and ``amgan-fast evaluate --json`` hold."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

import torch

from amgan_fast.evaluate.classifiers.image_classifier import ImageClassifier
from amgan_fast.evaluate.evaluation import Evaluation
from amgan_fast.evaluate.feature_scores import FeatureScores
from amgan_fast.evaluate.measurements import Measurements
from amgan_fast.evaluation_request import Settings
from amgan_fast.metrics import (
    CompatScore,
    Copies,
    EntropyHistogram,
    LabelBalance,
    ModeDrop,
    PerClass,
    Scores,
)


def recorded_evaluation(told: Mapping[str, Any]) -> Evaluation:
    """What :meth:`Evaluation.to_dict` gave, also after it was written as JSON and read again. Pictures of samples are
    not in it, nor is what features were compared with, a difference or a classifier's test. Nothing is computed.

    Raises:
        AttributeError, LookupError, TypeError, ValueError: it is something else, or of an earlier version.

    >>> from pathlib import Path
    >>> from amgan_fast.evaluate import recorded_evaluation
    >>> from amgan_fast.files import read_json
    >>> evaluation = recorded_evaluation(read_json(Path("runs/digits/summary.json")))
    >>> evaluation.generated.gallery is None, evaluation.held_out.scores.num_classes
    (True, 10)
    """
    reference, settings = told.get("reference") or {}, told["settings"]
    generated = _measured(told["generated"])
    held_out = told["held_out"] and _measured(told["held_out"])
    of_sets = {*generated.warnings, *(f"held-out: {text}" for text in (held_out.warnings if held_out else ()))}
    return Evaluation(
        source=str(told["source"]),
        generated=generated,
        held_out=held_out,
        held_out_source=told["held_out_source"],
        classifier=told["classifier"] and ImageClassifier.from_dict(told["classifier"]),
        settings=Settings(**{field.name: settings[field.name] for field in fields(Settings)}),
        partial=told["partial"],
        skipped=tuple(told["skipped"]),
        held_out_skipped=tuple(told["held_out_skipped"]),
        reference_origin=reference.get("origin"),
        reference_sampling=reference.get("sampling"),
        reference_sampling_reason=reference.get("sampling_reason"),
        classifier_warnings=tuple(str(text) for text in told["warnings"] if text not in of_sets),
    )


def _measured(told: Mapping[str, Any]) -> Measurements:
    counts, compat = told.get("class_counts"), told.get("compat")
    return Measurements(
        scores=Scores.from_dict(told["scores"]),
        entropy=EntropyHistogram.from_dict(told["entropy"]),
        balance=told["balance"] and LabelBalance.from_dict(told["balance"]),
        label_accuracy=told["label_accuracy"],
        modes=told["modes"] and ModeDrop.from_dict(told["modes"]),
        gallery=None,
        label_note=told["label_note"],
        classes=told["classes"] and PerClass.from_dict(told["classes"]),
        sampling_reason=told["sampling_reason"],
        compat=compat and {name: CompatScore.from_dict(score) for name, score in compat.items()},
        copies=told["copies"] and Copies.from_dict(told["copies"]),
        class_counts=None if counts is None else torch.tensor(counts),
        features=told["features"] and FeatureScores.from_dict(told["features"]),
    )
