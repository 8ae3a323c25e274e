"""From a generator or images through a classifier to scores."""

from amgan_fast.evaluate.classifier import ScoringClassifier, load_classifier, measure_classifier
from amgan_fast.evaluate.run import Evaluation, evaluate_run
from amgan_fast.evaluate.scoring import generate, score_generator, score_images

__all__ = [
    "Evaluation",
    "ScoringClassifier",
    "evaluate_run",
    "generate",
    "load_classifier",
    "measure_classifier",
    "score_generator",
    "score_images",
]
