"""Scores of generative models from the class distribution of a classifier on their samples."""

from amgan_fast.metrics.accumulator import ScoreAccumulator, scores
from amgan_fast.metrics.balance import LabelBalance, LabelCounts, label_balance, save_label_balance
from amgan_fast.metrics.class_ms_ssim import ClassMsSsim, class_ms_ssim, save_class_ms_ssim
from amgan_fast.metrics.class_sums import ClassSums
from amgan_fast.metrics.compat import MeanAndStd, inception_score
from amgan_fast.metrics.entropies import EntropyCounts, EntropyHistogram, entropy_histogram, save_entropy_histogram
from amgan_fast.metrics.first_rows import ScoreWarning
from amgan_fast.metrics.mode_drop import Curve, ModeDrop, mode_drop, save_mode_drop, synthetic_mode_drop
from amgan_fast.metrics.ms_ssim import ms_ssim
from amgan_fast.metrics.neighbours import (
    NearestNeighbours,
    nearest_neighbours,
    save_neighbour_distances,
    save_neighbours,
)
from amgan_fast.metrics.result import Scores

__all__ = [
    "ClassMsSsim",
    "ClassSums",
    "Curve",
    "EntropyCounts",
    "EntropyHistogram",
    "LabelBalance",
    "LabelCounts",
    "MeanAndStd",
    "ModeDrop",
    "NearestNeighbours",
    "ScoreAccumulator",
    "ScoreWarning",
    "Scores",
    "class_ms_ssim",
    "entropy_histogram",
    "inception_score",
    "label_balance",
    "mode_drop",
    "ms_ssim",
    "nearest_neighbours",
    "save_class_ms_ssim",
    "save_entropy_histogram",
    "save_label_balance",
    "save_mode_drop",
    "save_neighbour_distances",
    "save_neighbours",
    "scores",
    "synthetic_mode_drop",
]
