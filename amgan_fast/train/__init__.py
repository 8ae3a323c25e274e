"""Training: the step, the loop, and the pictures it leaves."""

from amgan_fast.progress import Observer, Observers
from amgan_fast.train.accuracy import DiscriminatorAccuracy, discriminator_accuracy
from amgan_fast.train.classifier_training import cached_classifier, train_classifier, train_classifier_file
from amgan_fast.train.finish import Result
from amgan_fast.train.scored_step import ScoredStep
from amgan_fast.train.start import resume, train
from amgan_fast.train.step import AdversarialStep
from amgan_fast.train.stopping import TrainingStopped

__all__ = [
    "AdversarialStep",
    "DiscriminatorAccuracy",
    "Observer",
    "Observers",
    "Result",
    "ScoredStep",
    "TrainingStopped",
    "cached_classifier",
    "discriminator_accuracy",
    "resume",
    "train",
    "train_classifier",
    "train_classifier_file",
]
