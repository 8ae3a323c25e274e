"""What a request names, opened and scored."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

import torch

from amgan_fast.data import DATASETS, Dataset, load_dataset
from amgan_fast.data.registry import image_size_for
from amgan_fast.device import cpu_threads, resolve_device
from amgan_fast.errors import InputError
from amgan_fast.evaluate.against import OtherEvaluation, read_evaluation
from amgan_fast.evaluate.class_tests import ClassTest, Trainer
from amgan_fast.evaluate.classifiers.by_name import INCEPTION_2015, open_classifier
from amgan_fast.evaluate.classifiers.extractors import open_extractor
from amgan_fast.evaluate.classifiers.image_classifier import ImageClassifier
from amgan_fast.evaluate.evaluation import Evaluation, EvaluationError, EvaluationInterrupted, evaluate
from amgan_fast.evaluate.feature_comparison import FeatureComparison, measure_real_features
from amgan_fast.evaluate.feature_extraction import FeatureExtraction
from amgan_fast.evaluate.feature_files import holds_features_alone, read_feature_reference
from amgan_fast.evaluate.run import OpenRun, open_run
from amgan_fast.evaluate.sources import ImageFolderSource, LogitsSource, NpzSource, Source, TensorSource, open_source
from amgan_fast.evaluate.sources.opening import refuse_another_kind
from amgan_fast.evaluate.training_distribution import (
    TrainingDistribution,
    measure_training_distribution,
    read_training_distribution,
)
from amgan_fast.evaluation_request import Request
from amgan_fast.processes import Share, local_device
from amgan_fast.progress import Progress, to_no_one
from amgan_fast.user_code import module_names

_SAMPLES = 50_000
OWN_FEATURES = "classifier"
"""The extractor that is the classifier itself."""


def evaluate_request(
    request: Request,
    progress: Progress | None = None,
    share: Share | None = None,
    state: Path | None = None,
    *,
    trainer: Trainer | None = None,
) -> Evaluation:
    """What ``amgan-fast evaluate`` does: open everything that is named, then score it.

    Args:
        request: what to score, and how.
        progress: told of what is gone through.
        share: as of :func:`amgan_fast.evaluate.evaluate`; ``shard`` of the request is that of the share.
        state: as of that.
        trainer: of the classifier of ``cas``: :func:`amgan_fast.train.train_classifier`.

    Raises:
        InputError: options that do not go together, or a file that cannot be used; nothing was scored.
        EvaluationError, EvaluationInterrupted: as :func:`amgan_fast.evaluate.evaluate`.

    >>> import tempfile
    >>> from pathlib import Path
    >>> import numpy as np
    >>> from amgan_fast.evaluate import Request, evaluate_request
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     file = Path(folder) / "logits.npy"
    ...     np.save(file, 9 * np.eye(4, dtype=np.float32).repeat(25, axis=0))
    ...     evaluation = evaluate_request(Request(logits=file))
    >>> round(evaluation.generated.scores.inception_score, 3)
    3.985
    """
    request.check()
    shard, shards = request.parsed_shard
    share = replace(share or Share(), shard=shard, shards=shards)
    request.saved_outputs.check(share.ranks)  # before a training set is gone through
    if request.cas and trainer is None:
        raise InputError("found cas without trainer, wanted one: amgan_fast.train.train_classifier")
    if request.cas and not share.is_whole:
        raise InputError("found --cas for a part of the samples, wanted it in one process, without --shard")
    return _Opened(request, progress or to_no_one, share).evaluate(state, trainer)


class _Opened:
    """Each thing that a request names, opened once, when something first needs it."""

    def __init__(self, request: Request, progress: Progress, share: Share) -> None:
        self._request = request
        self._kind, self._path = request.scored
        self._settings = request.settings
        self._progress = progress
        self._share = share
        self._device = local_device(resolve_device(request.device))

    def evaluate(self, state: Path | None, trainer: Trainer | None) -> Evaluation:
        refuse_another_kind(f"--{self._kind}", self._path)
        request, against = self._request, self.against
        with nullcontext() if self.run is None else cpu_threads(self.run.config.threads):
            if against is not None:
                against.require_classifier(self.classifier)  # before a training set is gone through
            test = self._class_test if request.cas else None
            evaluation = evaluate(
                self.source,
                self.classifier,
                reference=self.reference,
                held_out=self.held_out,
                against=against,
                settings=self._settings,
                progress=self._progress,
                share=self._share,
                state=state,
                save=request.saved_outputs,
                features=self.features,
            )
            return evaluation if test is None or trainer is None else self._with(test, trainer, evaluation)

    def _with(self, test: ClassTest, trainer: Trainer, evaluation: Evaluation) -> Evaluation:
        """The evaluation with what a classifier has learnt of the samples.

        Raises:
            EvaluationError, EvaluationInterrupted: with the evaluation as it is.
        """
        try:
            return replace(evaluation, classification_accuracy=test.run(trainer, self._progress))
        except KeyboardInterrupt as error:
            raise EvaluationInterrupted(replace(evaluation, partial="GAN-train: interrupted")) from error
        except (InputError, ArithmeticError, RuntimeError) as error:
            message = f"GAN-train: {error}"
            raise EvaluationError(message, replace(evaluation, partial=message)) from error

    @property
    def _class_test(self) -> ClassTest:
        if self.dataset is None or self.classifier is None:
            raise InputError("found --cas without real images to test on, wanted --dataset")
        return ClassTest(self.source, self.classifier, self.dataset)

    @cached_property
    def against(self) -> OtherEvaluation | None:
        return None if self._request.against is None else read_evaluation(self._request.against)

    @cached_property
    def run(self) -> OpenRun | None:
        if self._kind != "run":
            return None
        allowed = module_names(self._request.allow_code)
        return open_run(self._path, self._device, self._progress, allow_code=allowed)

    @cached_property
    def source(self) -> Source:
        kind, path, labels = self._kind, self._path, self._request.labels
        if self.run is not None:
            return self.run.source(self._request.samples or _SAMPLES)
        if kind == "images":
            return ImageFolderSource(path, labels=labels, **self._folder_options)
        if kind == "npz":
            return NpzSource(path, labels=labels)
        return LogitsSource(path, labels=labels, probabilities=kind == "probabilities")

    @cached_property
    def classifier(self) -> ImageClassifier | None:
        """None for logits and probabilities."""
        judge, dataset = self._judge, self.dataset
        if judge is None or dataset is None or not judge.is_of(dataset):
            return judge
        return replace(judge, class_names=dataset.class_names)  # files of earlier versions keep no names

    @cached_property
    def dataset(self) -> Dataset | None:
        """The real images: those asked for, of the run, or those the classifier knows, if they are here."""
        request = self._request
        if request.dataset is not None:
            skip = request.skip_unreadable and request.dataset == "image-folder"
            return self._loaded(request.dataset, skip_unreadable=skip).to_if_it_fits(self._device)
        if self.run is not None:
            return self.run.dataset
        judge = self._judge
        if judge is None or judge.dataset not in DATASETS or request.held_out is not None:
            return None
        try:
            found = self._loaded(judge.dataset)
        except InputError:  # its files may be elsewhere, and nobody asked for them
            return None
        return found.to_if_it_fits(self._device) if judge.is_of(found) else None

    @cached_property
    def reference(self) -> TrainingDistribution | None:
        """Of the training set."""
        path, classifier, dataset = self._request.reference, self.classifier, self.dataset
        if path is not None and not self._is_for_features(path):
            return read_training_distribution(path) or self._measured(self._real(path))
        if classifier is None:
            return None
        asked_for_another = self._request.dataset is not None and not (dataset and classifier.is_of(dataset))
        if not asked_for_another and (known := TrainingDistribution.of_classifier(classifier)):
            return known
        return None if dataset is None else self._measured(TensorSource.training(dataset))

    @cached_property
    def held_out(self) -> Source | None:
        if self._request.held_out is not None:
            return self._real(self._request.held_out)
        return None if self.dataset is None or self.classifier is None else TensorSource.held_out(self.dataset)

    @cached_property
    def features(self) -> FeatureComparison | None:
        """What makes features, and those of real images."""
        request, extraction = self._request, self._extraction
        if extraction is None:
            return None
        path = self._feature_path
        if path is None and self.reference is not None and self.reference.passed is not None:
            return FeatureComparison.of_passed(extraction, self.reference.passed)
        if path is None and request.reference is not None:
            raise InputError(
                f"--reference is {request.reference}, of which there are no features, wanted --feature-reference, too"
            )
        if path is not None:
            if (given := read_feature_reference(path, extraction, self.classifier)) is not None:
                return FeatureComparison(extraction, given)
            source = self._real(path)
        elif self.dataset is not None:
            source = TensorSource.training(self.dataset)
        else:
            raise InputError("found --features without real images, wanted --feature-reference or --dataset")
        return measure_real_features(source, self.classifier, extraction, self._settings, self._share, self._progress)

    @cached_property
    def _feature_path(self) -> Path | None:
        """What has the real images of features; None: the images that scores compare with."""
        request = self._request
        if request.feature_reference is not None or request.features is None or request.reference is None:
            return request.feature_reference
        return request.reference if self._is_for_features(request.reference) else None

    def _is_for_features(self, reference: Path) -> bool:
        """Whether what --reference names says nothing of classes."""
        return self._request.features is not None and holds_features_alone(reference)

    @cached_property
    def _extraction(self) -> FeatureExtraction | None:
        request = self._request
        if request.features is None:
            return None
        if request.features == OWN_FEATURES:
            if request.feature_weights is not None:
                raise InputError(f"found --feature-weights with --features {OWN_FEATURES}, wanted another extractor")
            return FeatureExtraction(None, request.feature_samples)
        extractor = open_extractor(
            request.features,
            device=self._device,
            resize=None if request.features == INCEPTION_2015 else request.resize,  # which resizes by itself
            dtype=getattr(torch, request.dtype),
            weights=request.feature_weights,
        )
        return FeatureExtraction(extractor, request.feature_samples)

    @cached_property
    def _judge(self) -> ImageClassifier | None:
        """The classifier, with the class names that it carries itself."""
        request = self._request
        if request.classifier is not None:
            return open_classifier(
                request.classifier,
                device=self._device,
                resize=request.resize,
                value_range=request.input_range,
                size=None if request.input_size is None else (request.input_size, request.input_size),
                dtype=getattr(torch, request.dtype),
                weights=request.weights,
                last_bias=request.last_bias,
            )
        if self.run is None:
            return None
        return self.run.classifier.for_images(resize=request.resize or "none", dtype=getattr(torch, request.dtype))

    @cached_property
    def _folder_options(self) -> dict[str, Any]:
        request, judge = self._request, self._judge
        return {
            "channels": None if judge is None else judge.inputs.channels,
            "mixed_sizes": judge is not None and judge.takes_mixed_sizes,
            "skip_unreadable": request.skip_unreadable,
            "allow_empty": request.allow_empty,
            "workers": request.workers,
            "progress": self._progress,
        }

    def _loaded(self, name: str, *, skip_unreadable: bool = False) -> Dataset:
        """As the classifier has seen it where it was trained on such images: brought to its size."""
        judge, folder = self._judge, self._request.data_dir
        image_size = None
        if judge is not None and judge.dataset == name and judge.inputs.size and judge.inputs.resize == "none":
            image_size = image_size_for(name, folder, judge.inputs.size)
        return load_dataset(
            name, folder, image_size=image_size, progress=self._progress, skip_unreadable=skip_unreadable
        )

    def _real(self, path: Path) -> Source:
        """Real samples."""
        return open_source(path, probabilities=self._kind == "probabilities", **self._folder_options)

    def _measured(self, source: Source) -> TrainingDistribution:
        here = self._extraction if self._feature_path is None else None
        return measure_training_distribution(
            source, self.classifier, self._settings, self._share, self._progress, features=here
        )
