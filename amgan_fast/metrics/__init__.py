"""Scores of generative models from the class distribution of a classifier on their samples."""

from amgan_fast.metrics.accumulator import ScoreAccumulator
from amgan_fast.metrics.scores import Scores

__all__ = ["ScoreAccumulator", "Scores"]
