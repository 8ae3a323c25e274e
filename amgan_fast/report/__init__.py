"""What finished runs have come to, on one page: of what they wrote, without their networks."""

from amgan_fast.report.page import is_run_report, save_run_report
from amgan_fast.report.recorded_run import RecordedRun, read_run
from amgan_fast.report.side_by_side import SideBySide, judged_alike, side_by_side

__all__ = ["RecordedRun", "SideBySide", "is_run_report", "judged_alike", "read_run", "save_run_report", "side_by_side"]
