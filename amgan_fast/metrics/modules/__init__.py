"""Scores as torchmetrics metrics, with sums for a state instead of all samples."""

from amgan_fast.extras import said_of_missing

try:
    import torchmetrics  # noqa: F401
except ImportError as error:
    raise ImportError(f"amgan_fast.metrics.modules needs torchmetrics: {said_of_missing(error)}") from error

from amgan_fast.metrics.modules.corrected import CorrectedScores
from amgan_fast.metrics.modules.plain import AMScore, InceptionScore

__all__ = ["AMScore", "CorrectedScores", "InceptionScore"]
