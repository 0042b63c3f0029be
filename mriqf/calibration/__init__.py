"""Calibration: from a score to the error to be expected, with an interval, or the reason why there is none."""

from mriqf.calibration.calibration import (
    LIMIT,
    Calibration,
    Check,
    CutOff,
    Expected,
    Scored,
    fit,
    leave_one_out,
)

__all__ = ["LIMIT", "Calibration", "Check", "CutOff", "Expected", "Scored", "fit", "leave_one_out"]
