"""Scores as torchmetrics metrics, with sums for a state instead of all samples."""

try:
    import torchmetrics  # noqa: F401
except ImportError as error:
    raise ImportError("amgan_fast.metrics.modules needs torchmetrics: pip install torchmetrics") from error

from amgan_fast.metrics.modules.corrected import CorrectedScores
from amgan_fast.metrics.modules.plain import AMScore, InceptionScore

__all__ = ["AMScore", "CorrectedScores", "InceptionScore"]
