"""A source through a classifier to everything that is measured, beside real held-out samples."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from torch import Tensor

from amgan_fast.errors import InputError
from amgan_fast.evaluate.against import Against, OtherEvaluation
from amgan_fast.evaluate.class_tests import ClassificationAccuracy
from amgan_fast.evaluate.classifiers.image_classifier import ImageClassifier
from amgan_fast.evaluate.feature_comparison import FeatureComparison
from amgan_fast.evaluate.measurements import Measurements
from amgan_fast.evaluate.passes import Pass, Passed
from amgan_fast.evaluate.sources import Source
from amgan_fast.evaluate.state import save_state
from amgan_fast.evaluate.training_distribution import TrainingDistribution
from amgan_fast.evaluation_request import OutputFiles, Settings
from amgan_fast.metrics import Sampling, finite
from amgan_fast.processes import Share
from amgan_fast.progress import Progress, to_no_one


@dataclass(frozen=True, eq=False)
class Evaluation:
    """A set of samples, and real images it was not made from, measured alike."""

    source: str
    """What was scored."""
    generated: Measurements
    held_out: Measurements | None
    held_out_source: str | None
    classifier: ImageClassifier | None
    """None for logits and probabilities."""
    settings: Settings
    partial: str | None = None
    """Why there are fewer samples than were to come; None: it is complete."""
    skipped: tuple[str, ...] = ()
    """Samples left out because they could not be read, by name and reason."""
    held_out_skipped: tuple[str, ...] = ()
    reference_origin: str | None = None
    """Where the reference is from; None where there is none."""
    reference_sampling: Sampling | None = None
    """How the samples of the reference were drawn, where its own error is in the AM Score's; None: it is exact."""
    reference_sampling_reason: str | None = None
    """Why that is taken to be so."""
    reference_warnings: tuple[str, ...] = ()
    """What makes the reference doubtful."""
    classifier_warnings: tuple[str, ...] = ()
    """What makes all scores of the classifier doubtful: the size or the scale of its images."""
    chosen_batch_size: bool = False
    """Whether the settings left it open how many samples are gone through at a time."""
    against: Against | None = None
    """Another evaluation, and the difference to it."""
    features: FeatureComparison | None = None
    """By which features samples were compared with which real images; None: by none."""
    classification_accuracy: ClassificationAccuracy | None = None
    """Of a classifier trained on the samples; None: no one asked."""

    @property
    def warnings(self) -> tuple[str, ...]:
        """What makes the scores doubtful."""
        held_out = () if self.held_out is None else self.held_out.warnings
        return (
            *self.classifier_warnings,
            *self.generated.warnings,
            *(f"held-out: {text}" for text in held_out),
            *(f"reference: {text}" for text in self.reference_warnings),
            *(() if self.against is None else self.against.warnings),
        )

    def to_dict(self) -> dict[str, Any]:
        """All but the pictures; what is infinite or undefined is None, since JSON has no number for it."""
        return finite(
            {
                "source": self.source,
                "generated": self.generated.to_dict(),
                "held_out": self.held_out and self.held_out.to_dict(),
                "held_out_source": self.held_out_source,
                "difference": self.against and self.against.to_dict(),
                "features": self.features and self.features.to_dict(),
                "classification_accuracy": self.classification_accuracy and self.classification_accuracy.to_dict(),
                "reference": self._reference(),
                "classifier": self.classifier and self.classifier.to_dict(),
                "settings": asdict(self.settings) | {"blocks": self.settings.blocks},
                "partial": self.partial,
                "skipped": list(self.skipped),
                "held_out_skipped": list(self.held_out_skipped),
                "warnings": list(self.warnings),
            }
        )

    def _reference(self) -> dict[str, Any] | None:
        """What names it; its probabilities are in the scores."""
        sha256 = self.generated.scores.reference_sha256
        if sha256 is None:
            return None
        return {
            "sha256": sha256,
            "origin": self.reference_origin,
            "sampling": self.reference_sampling,
            "sampling_reason": self.reference_sampling_reason,
        }


class EvaluationError(InputError):
    """A sample cannot be scored; ``evaluation`` is of those before it, None where there were none.

    >>> import tempfile
    >>> from pathlib import Path
    >>> import numpy as np
    >>> from amgan_fast.evaluate import EvaluationError, Settings, evaluate
    >>> from amgan_fast.evaluate.sources import LogitsSource
    >>> logits = np.zeros((100, 3), np.float32)
    >>> logits[60] = np.nan
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     np.save(Path(folder) / "logits.npy", logits)
    ...     try:
    ...         evaluate(LogitsSource(Path(folder) / "logits.npy"), None, settings=Settings(batch_size=50))
    ...     except EvaluationError as error:
    ...         print(error.evaluation.generated.scores.n)
    50
    """

    def __init__(self, message: str, evaluation: Evaluation | None) -> None:
        super().__init__(message)
        self.evaluation = evaluation


class EvaluationInterrupted(KeyboardInterrupt):
    """Ctrl-C; ``evaluation`` is of the samples before it, None where there were none."""

    def __init__(self, evaluation: Evaluation | None) -> None:
        super().__init__()
        self.evaluation = evaluation


def evaluate(
    source: Source,
    classifier: ImageClassifier | None,
    *,
    reference: Tensor | TrainingDistribution | None = None,
    held_out: Source | None = None,
    against: OtherEvaluation | None = None,
    settings: Settings | None = None,
    progress: Progress | None = None,
    share: Share | None = None,
    state: Path | None = None,
    save: OutputFiles | None = None,
    features: FeatureComparison | None = None,
) -> Evaluation:
    """Measure a source and real samples beside it.

    Args:
        source: the samples.
        classifier: their judge; None for a source of logits or probabilities.
        reference: the class distribution of the training set, [K], float64; None: that of the classifier, if it has
            one. Without any there is no AM Score.
        held_out: real samples the source was not made from.
        against: what the scores are compared with (:func:`read_evaluation`): under the same classifier, with the same
            reference.
        settings: how; None: the defaults.
        progress: told how far it has come.
        share: this process's part of the samples, whose sums are then added up over the default process group; every
            process gets the same scores. None: all of them. Of a shard the evaluation is marked as partial.
        state: where all sums are written once they are complete, for :func:`amgan_fast.evaluate.merge_states`.
        save: where the logits of the samples, their features and classes are written in the same pass; they are there
            once all samples are scored. It is for one process.
        features: what makes features of the images, and the real ones that they are compared with; None: they are not.

    Raises:
        InputError: a source that does not fit the classifier, settings that do not fit the source, or an evaluation
            that cannot be compared with.
        EvaluationError: a sample that cannot be scored, by name or place, or ``state`` cannot be written.
        EvaluationInterrupted: Ctrl-C.

    >>> import torch
    >>> from amgan_fast.evaluate import ImageClassifier, Inputs, evaluate
    >>> from amgan_fast.evaluate.sources import TensorSource
    >>> images = torch.randint(256, (60, 1, 2, 2), dtype=torch.uint8)
    >>> source = TensorSource(images, torch.zeros(60, dtype=torch.int64), "60 images of noise")
    >>> classifier = ImageClassifier("pixels", torch.nn.Flatten(), Inputs(), torch.device("cpu"))
    >>> evaluation = evaluate(source, classifier)
    >>> evaluation.source, evaluation.generated.scores.n, len(evaluation.generated.scores.class_distribution)
    ('60 images of noise', 60, 4)
    """
    settings, share = settings or Settings(), share or Share()
    if reference is None and classifier is not None:
        reference = TrainingDistribution.of_classifier(classifier)
    known = TrainingDistribution(reference) if isinstance(reference, Tensor) else reference
    if save is not None:
        save.check(share.ranks)
    sets: list[tuple[Source, Settings, OutputFiles | None]] = [(source, settings, save)]
    if held_out is not None:
        sets.append((held_out, replace(settings, sampling="auto"), None))
    wanted = None if known is None else known.reference
    counts = None if known is None else known.class_counts
    passes = [
        Pass(
            one,
            classifier,
            wanted,
            how,
            share,
            progress,
            class_shares=None if known is None else known.shares_for(one),
            reference_counts=counts,
            save=saved,
            features=None if features is None else features.extraction,
        )
        for one, how, saved in sets
    ]
    passed = [one.passed for one in passes]
    if len({one.num_classes for one in passed}) > 1:
        found = " and ".join(str(one.num_classes) for one in passed)
        raise InputError(f"held_out and source have logits of {found} classes, wanted as many")
    if features is not None:
        features.require_fitting(passed)
    if against is not None:
        vector = None if known is None else known.probabilities
        against.require_comparable(classifier, passed[0].num_classes, vector)
    done: list[Measurements] = []

    def stopped(error: InputError | KeyboardInterrupt, where: object) -> EvaluationError | EvaluationInterrupted:
        """With what there is by now."""
        interrupted = isinstance(error, KeyboardInterrupt)
        reason = f"{where}: {'interrupted' if interrupted else error}"
        partial = evaluation_of(passed, done, known, reason, against) if done else None
        return EvaluationInterrupted(partial) if interrupted else EvaluationError(str(error), partial)

    for one in passes:
        try:
            done.append(one.run())
        except (InputError, KeyboardInterrupt) as error:
            done += one.so_far()
            raise stopped(error, one) from error
    if state is not None and share.rank == 0:
        try:
            save_state(state, passed, known, share, features)
        except InputError as error:
            raise stopped(error, "sums") from error
    part = _of_a_shard(passes[0], share)
    if features is not None and part is None:
        try:
            done = features.scores_of(passed, done, progress or to_no_one)
        except (InputError, KeyboardInterrupt) as error:
            raise stopped(error, "scores of features") from error
    return evaluation_of(passed, done, known, part, against, features)


def evaluation_of(
    passes: Sequence[Passed],
    done: Sequence[Measurements],
    reference: TrainingDistribution | None,
    partial: str | None = None,
    against: OtherEvaluation | None = None,
    features: FeatureComparison | None = None,
) -> Evaluation:
    """
    Args:
        passes: over the samples, and over held-out ones if there are any.
        done: what was measured, of the first at least.
        partial: why some are missing.
        against: what can be compared with.
        features: by which samples were compared with real images.
    """
    first, held_out = passes[0], passes[1] if len(passes) > 1 else None
    return Evaluation(
        source=first.source.description,
        generated=done[0],
        held_out=done[1] if len(done) > 1 else None,
        held_out_source=None if held_out is None else held_out.source.description,
        classifier=first.classifier,
        settings=replace(first.settings, batch_size=first.batch_size),
        chosen_batch_size=first.settings.batch_size is None,
        classifier_warnings=tuple(dict.fromkeys(text for one in passes for text in (one.doubt, one.dark) if text)),
        partial=partial,
        skipped=tuple(first.source.skipped),
        held_out_skipped=() if held_out is None else tuple(held_out.source.skipped),
        reference_origin=None if reference is None else reference.origin,
        reference_sampling=None if reference is None else reference.sampling,
        reference_sampling_reason=None if reference is None else reference.sampling_reason,
        reference_warnings=() if reference is None else reference.warnings,
        against=None if against is None else Against.of(first.classifier, done[0], against, features),
        features=features,
    )


def _of_a_shard(one: Pass, share: Share) -> str | None:
    if share.shards == 1:
        return None
    return f"shard {share.shard + 1} of {share.shards}: {one}; amgan-fast merge makes one evaluation of all"
