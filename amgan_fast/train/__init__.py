"""Training: the step, the loop, and the pictures it leaves."""

from amgan_fast.train.classifier import cached_classifier, train_classifier, train_classifier_file
from amgan_fast.train.loop import Result, TrainingStopped, resume, train
from amgan_fast.train.observer import Observer
from amgan_fast.train.step import AdversarialStep, StepOptions

__all__ = [
    "AdversarialStep",
    "Observer",
    "Result",
    "StepOptions",
    "TrainingStopped",
    "cached_classifier",
    "resume",
    "train",
    "train_classifier",
    "train_classifier_file",
]
