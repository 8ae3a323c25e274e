"""Training: the step, the loop, and the pictures it leaves."""

from amgan_fast.progress import Observer, Observers
from amgan_fast.train.accuracy import DiscriminatorAccuracy, discriminator_accuracy
from amgan_fast.train.classifier_training import cached_classifier, train_classifier, train_classifier_file
from amgan_fast.train.csv_log import CsvLog
from amgan_fast.train.dry_run import Estimate, dry_run
from amgan_fast.train.finish import Result
from amgan_fast.train.observers import observers_named
from amgan_fast.train.scored_step import ScoredStep
from amgan_fast.train.start import resume, train
from amgan_fast.train.step import AdversarialStep
from amgan_fast.train.stopping import TrainingStopped
from amgan_fast.train.wandb_log import WandbLog

__all__ = [
    "AdversarialStep",
    "CsvLog",
    "DiscriminatorAccuracy",
    "Estimate",
    "Observer",
    "Observers",
    "Result",
    "ScoredStep",
    "TrainingStopped",
    "WandbLog",
    "cached_classifier",
    "discriminator_accuracy",
    "dry_run",
    "observers_named",
    "resume",
    "train",
    "train_classifier",
    "train_classifier_file",
]
