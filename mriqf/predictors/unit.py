"""Units of scores: decibels of error for predictors of errors, JPEG quality for the others.

A predictor of errors scores `100 − 20·log2(NRMSE / 1 %)`: 100 at an error of 1 % or less, 20 points less for each
doubling of it (2 % → 80, 4 % → 60, 8 % → 40, 16 % → 20), 0 at 32 % or more. One point is 0.30 dB.
"""

from typing import TypeVar, overload

import numpy as np
import torch
from torch import Tensor

ERROR_UNIT = "100 - 20 log2(NRMSE / 1 %)"
"""Unit of the scores of predictors of errors, as tables name it."""
JPEG_UNIT = "JPEG quality"
"""Unit of the scores of predictors of JPEG quality."""
BEST = 0.01
"""Error at a score of 100."""
DOUBLING = 20.0
"""Points that a doubling of the error takes."""

Array = TypeVar("Array", Tensor, np.ndarray)


@overload
def score_of_error(error: float, *, clamp: bool = True) -> float: ...
@overload
def score_of_error(error: Array, *, clamp: bool = True) -> Array: ...
def score_of_error(error: float | Tensor | np.ndarray, *, clamp: bool = True) -> float | Tensor | np.ndarray:
    """Score of an error, 0–100, higher is better.

    Parameters
    ----------
    error
        Relative to the object's root mean square, above 0.
    clamp
        Stop at 0 and 100; otherwise the scale goes on beyond 32 % and 1 %, where it has a gradient.

    Examples
    --------
    >>> score_of_error(0.04), score_of_error(0.5), score_of_error(0.001)
    (60.0, 0.0, 100.0)
    """
    if isinstance(error, Tensor):
        score = 100 - DOUBLING * torch.log2(error / BEST)
        return score.clamp(0, 100) if clamp else score
    score = 100 - DOUBLING * np.log2(error / BEST)
    score = np.clip(score, 0, 100) if clamp else score
    return score if isinstance(error, np.ndarray) else float(score)


@overload
def error_of_score(score: float) -> float: ...
@overload
def error_of_score(score: Array) -> Array: ...
def error_of_score(score: float | Tensor | np.ndarray) -> float | Tensor | np.ndarray:
    """Error that a score stands for, relative to the object's root mean square: the inverse of `score_of_error`.

    Examples
    --------
    >>> error_of_score(60.0)
    0.04
    """
    return BEST * 2 ** ((100 - score) / DOUBLING)
