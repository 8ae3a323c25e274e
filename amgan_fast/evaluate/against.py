"""Another evaluation, as its JSON tells of it, and the difference to it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import Tensor

from amgan_fast.errors import InputError, as_input_error
from amgan_fast.evaluate.classifiers.image_classifier import ImageClassifier
from amgan_fast.evaluate.feature_comparison import FeatureComparison
from amgan_fast.evaluate.feature_scores import FEATURE_SCORES, FeatureScores, feature_differences
from amgan_fast.evaluate.measurements import Measurements
from amgan_fast.evaluate.printed import contents_of_printed, read_printed
from amgan_fast.metrics import Difference, EstimatedDifference, Scores, difference
from amgan_fast.metrics.difference import require_comparable


@dataclass(frozen=True, eq=False)
class OtherEvaluation:
    """What scores are compared with."""

    path: Path
    source: str
    """What was scored."""
    scores: Scores
    judge: Mapping[str, Any] | None
    """What scores of one classifier have in common (:func:`_facts`); None for logits and probabilities."""
    warnings: tuple[str, ...]
    """What makes its scores doubtful."""
    features: FeatureScores | None = None
    compared: Mapping[str, Any] | None = None
    """By which features, with which real images (:func:`_comparison_facts`); None: by none."""

    def require_classifier(self, classifier: ImageClassifier | None, *, as_in: str = "here") -> None:
        """
        Args:
            as_in: what messages call the evaluation that this one is to be like.

        Raises:
            InputError: it is another one, or is given its images in another way. Of logits and probabilities nothing
                is known.
        """
        if self.judge is None or classifier is None:
            return
        for name, value in _facts(classifier.to_dict()).items():
            other = self.judge[name]
            if other != value:
                raise InputError(f"{self.path} is of a classifier with {name} {other}, wanted {value} as {as_in}")

    def require_comparable(
        self, classifier: ImageClassifier | None, num_classes: int, reference: Tensor | None, *, as_in: str = "here"
    ) -> None:
        """
        Args:
            as_in: as above.

        Raises:
            InputError: as above, or another number of classes or another reference, by both numbers or SHA-256.
        """
        self.require_classifier(classifier, as_in=as_in)
        vector = None if reference is None else reference.tolist()
        with as_input_error():
            require_comparable(self.scores, num_classes, vector, name=str(self.path), as_in=as_in)


@dataclass(frozen=True, eq=False)
class Against:
    """What an evaluation is compared with, and how it differs."""

    other: OtherEvaluation
    difference: Difference
    """The evaluation's scores less the other's."""
    features: Mapping[str, EstimatedDifference] = field(default_factory=dict)
    """Of the scores of features, by their names; empty where one has none, or others than the other one."""
    note: str | None = None
    """What is not known of whether they can be compared."""

    @property
    def warnings(self) -> tuple[str, ...]:
        """What makes the difference doubtful."""
        return self.difference.warnings + tuple(f"{self.other.path}: {text}" for text in self.other.warnings)

    @classmethod
    def of(
        cls,
        classifier: ImageClassifier | None,
        measured: Measurements,
        other: OtherEvaluation,
        compared: FeatureComparison | None,
    ) -> Against:
        """Of scores that can be compared.

        Args:
            compared: by which features, with which real images.
        """
        scores, features, notes = measured.scores, {}, [_note(classifier, other)]
        if measured.features is not None and other.features is not None and compared is not None:
            if _comparison_facts(compared.to_dict()) == other.compared:
                features = feature_differences(measured.features, other.features)
                if measured.features.even != other.features.even:
                    notes.append("precision and the like are of other numbers of samples, and not compared")
            else:
                notes.append("of other features, or beside other real images: scores of features are not compared")
        note = "; ".join(text for text in notes if text) or None
        return cls(other, difference(scores, other.scores), features, note)

    def rows(self) -> list[tuple[str, list[str]]]:
        """(name, cells under :attr:`Difference.COLUMNS`) of all that are known."""
        of_features = [(FEATURE_SCORES[name], one.texts()) for name, one in self.features.items()]
        return self.difference.rows() + of_features

    @property
    def title(self) -> str:
        """Of a table of differences."""
        return f"generated less {self.other.path.name}"

    def provenance(self) -> list[tuple[str, str]]:
        """(name, value): what was compared, and how."""
        other = self.other
        lines = [("against", f"{other.path}: {other.source}; {other.scores.n:,} samples")]
        how = "Welch's t of corrected scores; samples taken as independent, the reference as exact"
        lines.append(("", how))
        return lines + ([("", self.note)] if self.note else [])

    def to_dict(self) -> dict[str, Any]:
        """The difference, and to what."""
        about = {"against": str(self.other.path), "source": self.other.source, "note": self.note}
        return (
            about | self.difference.to_dict() | {"features": {name: x.to_dict() for name, x in self.features.items()}}
        )


def read_evaluation(path: Path) -> OtherEvaluation:
    """From the .json that ``amgan-fast evaluate --json`` printed, or the summary of a run.

    Raises:
        InputError: there is no such file, or it holds something else, or is of an earlier version.

    >>> from pathlib import Path
    >>> from amgan_fast.evaluate import read_evaluation
    >>> read_evaluation(Path("runs/digits/summary.json")).scores.num_classes
    10
    """
    printed = read_printed(path)
    with contents_of_printed(path):
        classifier, partial = printed["classifier"], printed["partial"]
        doubts = [f"partial: {partial}"] if partial else []
        features, compared = printed["generated"].get("features"), printed.get("features")  # none of earlier versions
        return OtherEvaluation(
            path=path,
            source=str(printed["source"]),
            scores=Scores.from_dict(printed["generated"]["scores"]),
            judge=classifier and _facts(classifier),
            warnings=tuple(doubts + [str(text) for text in printed["generated"]["warnings"]]),
            features=features and FeatureScores.from_dict(features),
            compared=compared and _comparison_facts(compared),
        )


def _facts(classifier: Mapping[str, Any]) -> dict[str, Any]:
    """What scores under one classifier have in common, of :meth:`ImageClassifier.to_dict`. The note tells of the last
    bias of Inception v3. The same weights may have several names."""
    sha256 = classifier["sha256"]
    return {
        "SHA-256": sha256,
        "name": None if sha256 else classifier["name"],
        "note": classifier["note"],
        **{name: classifier["inputs"][name] for name in ("size", "channels", "resize", "value_range", "dtype")},
    }


def _comparison_facts(compared: Mapping[str, Any]) -> dict[str, Any]:
    """What scores of features have in common, of :meth:`FeatureComparison.to_dict`; where the features are the
    classifier's own, that is known to be the same."""
    extractor = compared["extractor"]
    named = extractor and {"SHA-256": extractor["sha256"] or extractor["name"], "inputs": extractor["inputs"]}
    reference = {name: compared["reference"][name] for name in ("sha256", "exact", "samples")}
    return {"extractor": named, "reference": reference}


def _note(classifier: ImageClassifier | None, other: OtherEvaluation) -> str | None:
    if classifier is None or other.judge is None:
        return "that both are of one classifier is not known: logits or probabilities do not tell"
    if not classifier.sha256:
        return "that both are of one classifier is known by its name alone: it has no weights to hash"
    return None
