"""What finished runs have come to, on one page: of what they wrote, without their networks."""

from amgan_fast.report.page import save_run_report
from amgan_fast.report.recorded_run import RecordedRun, read_run
from amgan_fast.report.side_by_side import SideBySide, side_by_side

__all__ = ["RecordedRun", "SideBySide", "read_run", "save_run_report", "side_by_side"]
