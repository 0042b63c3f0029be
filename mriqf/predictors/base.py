"""Any network that scores, and its weights by name or path."""

from pathlib import Path

import torch

from mriqf.predictors.error import ErrorPredictor
from mriqf.predictors.nrmse import NRMSEPredictor
from mriqf.predictors.qairn import QAIRNPredictor
from mriqf.predictors.qf import QFPredictor
from mriqf.restore.qairn import QAIRN
from mriqf.weights import load

ErrorModel = ErrorPredictor | NRMSEPredictor
"""Networks that read errors: their unit is `mriqf.predictors.unit.ERROR_UNIT`, and they have `read` and `log_error`."""
Predictor = QFPredictor | ErrorModel | QAIRNPredictor


def load_predictor(name: str | Path = "qf-mri", device: str | torch.device = "cpu") -> Predictor:
    """As `load`, for weights that must be those of a network that scores: a QF or an error predictor, or a QAIRN.

    Raises
    ------
    ValueError
        If they are another network's.
    """
    model = load(name, device)
    if isinstance(model, QAIRN):
        return QAIRNPredictor(model).eval()
    if not isinstance(model, Predictor):
        raise ValueError(f"weights {str(name)!r} are a {type(model).__name__}'s, which scores nothing: choose qf-mri")
    return model
