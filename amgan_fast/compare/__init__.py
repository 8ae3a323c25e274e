"""The paper's tables for a dataset: every model with both labellings and several seeds."""

from amgan_fast.compare.cells import COMPARED, Cell, plan
from amgan_fast.compare.comparison import compare
from amgan_fast.compare.differences import ModelDifference, model_differences
from amgan_fast.compare.dry_run import ComparisonEstimate, dry_run
from amgan_fast.compare.results import CellResult, Comparison, MaxMsSsim, RealResult

__all__ = [
    "COMPARED",
    "Cell",
    "CellResult",
    "Comparison",
    "ComparisonEstimate",
    "MaxMsSsim",
    "ModelDifference",
    "RealResult",
    "compare",
    "dry_run",
    "model_differences",
    "plan",
]
