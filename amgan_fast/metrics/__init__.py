"""Scores of generative models from the class distribution of a classifier on their samples."""

from amgan_fast.metrics.accumulator import ScoreAccumulator, scores
from amgan_fast.metrics.arrays import Array, batches_of
from amgan_fast.metrics.balance import LabelBalance, LabelCounts, label_balance, save_label_balance
from amgan_fast.metrics.class_frechet import ClassFeatureMoments, ClassFrechetDistance, class_frechet_distance
from amgan_fast.metrics.class_ms_ssim import ClassMsSsim, class_ms_ssim, save_class_ms_ssim
from amgan_fast.metrics.class_sums import ClassSums
from amgan_fast.metrics.compat import MeanAndStd, inception_score
from amgan_fast.metrics.compat_rules import COMPAT_TOOLS
from amgan_fast.metrics.compat_sums import CompatScore, CompatSums
from amgan_fast.metrics.copies import Copies, CopyCounts, count_copies
from amgan_fast.metrics.difference import Difference, difference
from amgan_fast.metrics.distribution import as_distribution
from amgan_fast.metrics.diversity import Diversity, DiversitySums, suggested_bandwidth
from amgan_fast.metrics.entropies import EntropyCounts, EntropyHistogram, entropy_histogram, save_entropy_histogram
from amgan_fast.metrics.estimate import Estimate, EstimatedDifference, score_estimate, welch
from amgan_fast.metrics.feature_moments import FeatureMoments
from amgan_fast.metrics.feature_sample import FeatureSample
from amgan_fast.metrics.first_rows import PROBABILITIES_FOR_LOGITS, ScoreWarning, without_score_warnings
from amgan_fast.metrics.frechet import FrechetDistance, frechet_distance
from amgan_fast.metrics.gaussian_moments import GaussianMoments
from amgan_fast.metrics.infinity import inception_score_infinity
from amgan_fast.metrics.kernel_distance import (
    KernelDistance,
    KernelDistanceInSubsets,
    kernel_distance,
    kernel_distance_in_subsets,
)
from amgan_fast.metrics.memorisation import Memorisation, memorisation
from amgan_fast.metrics.mode_drop import Curve, ModeDrop, mode_drop, save_mode_drop, synthetic_mode_drop
from amgan_fast.metrics.ms_ssim import ms_ssim
from amgan_fast.metrics.nearest_distances import NearestDistances
from amgan_fast.metrics.neighbours import (
    NearestNeighbours,
    nearest_neighbours,
    save_neighbour_distances,
    save_neighbours,
)
from amgan_fast.metrics.numbers import Numbers, finite
from amgan_fast.metrics.per_class import ClassRow, LabelSums, PerClass
from amgan_fast.metrics.precision_recall import PrecisionRecall, precision_recall
from amgan_fast.metrics.resolution import ResolutionAccuracy, measure_resolutions, save_resolutions
from amgan_fast.metrics.result import Scores
from amgan_fast.metrics.row_hashes import row_hashes
from amgan_fast.metrics.row_terms import RowTerms
from amgan_fast.metrics.sampling import Sampling, sampling_of_counts
from amgan_fast.metrics.score_names import SCORE, SCORES, ScoreName, score_lines
from amgan_fast.metrics.share_interval import share_interval
from amgan_fast.metrics.stratum_sums import StratumSums

__all__ = [
    "COMPAT_TOOLS",
    "PROBABILITIES_FOR_LOGITS",
    "SCORE",
    "SCORES",
    "Array",
    "ClassFeatureMoments",
    "ClassFrechetDistance",
    "ClassMsSsim",
    "ClassRow",
    "ClassSums",
    "CompatScore",
    "CompatSums",
    "Copies",
    "CopyCounts",
    "Curve",
    "Difference",
    "Diversity",
    "DiversitySums",
    "EntropyCounts",
    "EntropyHistogram",
    "Estimate",
    "EstimatedDifference",
    "FeatureMoments",
    "FeatureSample",
    "FrechetDistance",
    "GaussianMoments",
    "KernelDistance",
    "KernelDistanceInSubsets",
    "LabelBalance",
    "LabelCounts",
    "LabelSums",
    "MeanAndStd",
    "Memorisation",
    "ModeDrop",
    "NearestDistances",
    "NearestNeighbours",
    "Numbers",
    "PerClass",
    "PrecisionRecall",
    "ResolutionAccuracy",
    "RowTerms",
    "Sampling",
    "ScoreAccumulator",
    "ScoreName",
    "ScoreWarning",
    "Scores",
    "StratumSums",
    "as_distribution",
    "batches_of",
    "class_frechet_distance",
    "class_ms_ssim",
    "count_copies",
    "difference",
    "entropy_histogram",
    "finite",
    "frechet_distance",
    "inception_score",
    "inception_score_infinity",
    "kernel_distance",
    "kernel_distance_in_subsets",
    "label_balance",
    "measure_resolutions",
    "memorisation",
    "mode_drop",
    "ms_ssim",
    "nearest_neighbours",
    "precision_recall",
    "row_hashes",
    "sampling_of_counts",
    "save_class_ms_ssim",
    "save_entropy_histogram",
    "save_label_balance",
    "save_mode_drop",
    "save_neighbour_distances",
    "save_neighbours",
    "save_resolutions",
    "score_estimate",
    "score_lines",
    "scores",
    "share_interval",
    "suggested_bandwidth",
    "synthetic_mode_drop",
    "welch",
    "without_score_warnings",
]
