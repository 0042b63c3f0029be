"""Reference-free quality of MRI reconstructions: a score, a quality map and how far to trust them.

>>> import mriqf
>>> score = mriqf.score(mriqf.read("recon.nii.gz"))  # doctest: +SKIP
>>> score.value, score.per_slice  # doctest: +SKIP
"""

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mriqf import jpeg
    from mriqf.calibration import Calibration, Expected
    from mriqf.io import ReadError, Volume, read, write_map, write_overlay
    from mriqf.loss import QFLoss, qf_loss
    from mriqf.predictors.qf import QFConfig, QFPredictor
    from mriqf.scoring.result import Score, SliceScore
    from mriqf.scoring.scorer import score
    from mriqf.weights import load

__version__ = "0.1.0"

__all__ = [
    "Calibration",
    "Expected",
    "QFConfig",
    "QFLoss",
    "QFPredictor",
    "ReadError",
    "Score",
    "SliceScore",
    "Volume",
    "jpeg",
    "load",
    "qf_loss",
    "read",
    "score",
    "write_map",
    "write_overlay",
]

_HOME = {
    **dict.fromkeys(("Calibration", "Expected"), "mriqf.calibration"),
    **dict.fromkeys(("ReadError", "Volume", "read", "write_map", "write_overlay"), "mriqf.io"),
    **dict.fromkeys(("QFConfig", "QFPredictor"), "mriqf.predictors.qf"),
    **dict.fromkeys(("QFLoss", "qf_loss"), "mriqf.loss"),
    **dict.fromkeys(("Score", "SliceScore"), "mriqf.scoring.result"),
    "score": "mriqf.scoring.scorer",
    "load": "mriqf.weights",
}


def __getattr__(name: str):
    """Load a public name when it is first used: the command line's help needs none of torch."""
    if name == "jpeg":
        return importlib.import_module("mriqf.jpeg")
    if name in _HOME:
        return getattr(importlib.import_module(_HOME[name]), name)
    raise AttributeError(f"module 'mriqf' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
