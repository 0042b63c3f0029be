"""Reference-free quality of MRI reconstructions: a score, a quality map and how far to trust them.

>>> import mriqf
>>> score = mriqf.score("recon.nii.gz")  # a volume, a path or an array  # doctest: +SKIP
>>> score.value, score.per_slice, score.map  # doctest: +SKIP
>>> mriqf.quality(images)  # tensors (b, 1, h, w), one number each  # doctest: +SKIP
"""

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mriqf import degrade, io, jpeg, metrics, restore
    from mriqf.calibration import Calibration, Expected
    from mriqf.io import ReadError, Volume, read, write_map, write_overlay
    from mriqf.loss import QFLoss, qf_loss
    from mriqf.models import list_models, load
    from mriqf.predictors.qf import QFConfig, QFPredictor
    from mriqf.scoring.quality import Quality, quality
    from mriqf.scoring.result import Score, SliceScore
    from mriqf.scoring.scorer import Scorer, score

__version__ = "0.1.0"

__all__ = [
    "Calibration",
    "Expected",
    "QFConfig",
    "QFLoss",
    "QFPredictor",
    "Quality",
    "ReadError",
    "Score",
    "Scorer",
    "SliceScore",
    "Volume",
    "degrade",
    "io",
    "jpeg",
    "list_models",
    "load",
    "metrics",
    "qf_loss",
    "quality",
    "read",
    "restore",
    "score",
    "write_map",
    "write_overlay",
]

_MODULES = ("degrade", "io", "jpeg", "metrics", "restore")
_HOME = {
    **dict.fromkeys(("Calibration", "Expected"), "mriqf.calibration"),
    **dict.fromkeys(("ReadError", "Volume", "read", "write_map", "write_overlay"), "mriqf.io"),
    **dict.fromkeys(("QFLoss", "qf_loss"), "mriqf.loss"),
    **dict.fromkeys(("list_models", "load"), "mriqf.models"),
    **dict.fromkeys(("QFConfig", "QFPredictor"), "mriqf.predictors.qf"),
    **dict.fromkeys(("Quality", "quality"), "mriqf.scoring.quality"),
    **dict.fromkeys(("Score", "SliceScore"), "mriqf.scoring.result"),
    **dict.fromkeys(("Scorer", "score"), "mriqf.scoring.scorer"),
}


def __getattr__(name: str):
    """Load a public name when it is first used: the command line's help needs none of torch."""
    if name in _MODULES:
        return importlib.import_module(f"mriqf.{name}")
    if name in _HOME:
        return getattr(importlib.import_module(_HOME[name]), name)
    raise AttributeError(f"module 'mriqf' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
