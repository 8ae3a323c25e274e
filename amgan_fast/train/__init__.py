"""Training: the step, the loop, and the pictures it leaves."""

from amgan_fast.train.accuracy import DiscriminatorAccuracy, discriminator_accuracy
from amgan_fast.train.classifier import cached_classifier, train_classifier, train_classifier_file
from amgan_fast.train.loop import Result, TrainingStopped, resume, train
from amgan_fast.train.observer import Observer
from amgan_fast.train.step import AdversarialStep, StepOptions

__all__ = [
    "AdversarialStep",
    "DiscriminatorAccuracy",
    "Observer",
    "Result",
    "StepOptions",
    "TrainingStopped",
    "cached_classifier",
    "discriminator_accuracy",
    "resume",
    "train",
    "train_classifier",
    "train_classifier_file",
]
