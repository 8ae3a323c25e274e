"""Training: the step, the loop, and the pictures it leaves."""

from amgan_fast.train.classifier import cached_classifier, train_classifier, train_classifier_file
from amgan_fast.train.loop import Result, train
from amgan_fast.train.observer import Observer
from amgan_fast.train.step import AdversarialStep

__all__ = [
    "AdversarialStep",
    "Observer",
    "Result",
    "cached_classifier",
    "train",
    "train_classifier",
    "train_classifier_file",
]
