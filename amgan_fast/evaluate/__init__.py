"""From a generator or images through a classifier to scores."""

from amgan_fast.evaluate.against import OtherEvaluation, read_evaluation
from amgan_fast.evaluate.class_tests import ClassificationAccuracy
from amgan_fast.evaluate.classifiers.by_name import open_classifier
from amgan_fast.evaluate.classifiers.extractors import open_extractor
from amgan_fast.evaluate.classifiers.feature_extractor import FeatureExtractor
from amgan_fast.evaluate.classifiers.image_classifier import ImageClassifier, Outputs
from amgan_fast.evaluate.classifiers.inputs import Inputs
from amgan_fast.evaluate.classifiers.trained import (
    TrainedClassifier,
    load_classifier,
    measure_classifier,
    read_classifier,
)
from amgan_fast.evaluate.evaluation import Evaluation, EvaluationError, EvaluationInterrupted, evaluate
from amgan_fast.evaluate.feature_scores import FeatureScores
from amgan_fast.evaluate.gallery import class_sheet, sheet_names
from amgan_fast.evaluate.interpolation import Interpolation, interpolate_latents, save_interpolation
from amgan_fast.evaluate.measurements import Measurements
from amgan_fast.evaluate.merging import merge_states
from amgan_fast.evaluate.recorded import recorded_evaluation
from amgan_fast.evaluate.report import save_report
from amgan_fast.evaluate.request import evaluate_request
from amgan_fast.evaluate.run import OpenRun, evaluate_generator, open_run
from amgan_fast.evaluate.sample_files.saving import save_samples
from amgan_fast.evaluate.scoring import score_generator, score_images
from amgan_fast.evaluate.table import ClassTable, provenance, score_rows
from amgan_fast.evaluation_request import OutputFiles, Request, Settings, check_report

__all__ = [
    "ClassTable",
    "ClassificationAccuracy",
    "Evaluation",
    "EvaluationError",
    "EvaluationInterrupted",
    "FeatureExtractor",
    "FeatureScores",
    "ImageClassifier",
    "Inputs",
    "Interpolation",
    "Measurements",
    "OpenRun",
    "OtherEvaluation",
    "OutputFiles",
    "Outputs",
    "Request",
    "Settings",
    "TrainedClassifier",
    "check_report",
    "class_sheet",
    "evaluate",
    "evaluate_generator",
    "evaluate_request",
    "interpolate_latents",
    "load_classifier",
    "measure_classifier",
    "merge_states",
    "open_classifier",
    "open_extractor",
    "open_run",
    "provenance",
    "read_classifier",
    "read_evaluation",
    "recorded_evaluation",
    "save_interpolation",
    "save_report",
    "save_samples",
    "score_generator",
    "score_images",
    "score_rows",
    "sheet_names",
]
