"""Scores as torchmetrics metrics, with sums for a state instead of all samples."""

from amgan_fast.extras import said_of_missing

try:
    import torchmetrics  # noqa: F401
except ModuleNotFoundError as error:
    raise ModuleNotFoundError(said_of_missing(error), name=error.name) from error

from amgan_fast.metrics.modules.corrected import CorrectedScores
from amgan_fast.metrics.modules.plain import AMScore, InceptionScore

__all__ = ["AMScore", "CorrectedScores", "InceptionScore"]
