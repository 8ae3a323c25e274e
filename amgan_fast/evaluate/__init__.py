"""From a generator or images through a classifier to scores."""

from amgan_fast.evaluate.classifier import ScoringClassifier, load_classifier, measure_classifier
from amgan_fast.evaluate.interpolation import Interpolation, interpolate_latents, save_interpolation
from amgan_fast.evaluate.resolution import ResolutionAccuracy, measure_resolutions, save_resolutions
from amgan_fast.evaluate.run import Evaluation, evaluate_run
from amgan_fast.evaluate.scoring import generate, score_generator, score_images

__all__ = [
    "Evaluation",
    "Interpolation",
    "ResolutionAccuracy",
    "ScoringClassifier",
    "evaluate_run",
    "generate",
    "interpolate_latents",
    "load_classifier",
    "measure_classifier",
    "measure_resolutions",
    "save_interpolation",
    "save_resolutions",
    "score_generator",
    "score_images",
]
