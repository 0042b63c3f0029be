"""Correlations between scores and opinions: of ranks, and linear after a logistic fit.

Pairs with a value that is not finite are left out; fewer than three pairs give NaN, a constant side, which tells
nothing, 0.

References
----------
Video Quality Experts Group, Final report on the validation of objective models of video quality assessment, phase I
(2000), annex on the logistic of four parameters.
Sheikh, Sabir, Bovik, A statistical evaluation of recent full reference image quality assessment algorithms, IEEE Trans
Image Process 2006, doi:10.1109/TIP.2006.881959 (five parameters).
"""

from collections.abc import Callable
from typing import Any, Literal, NamedTuple

import numpy as np
from jaxtyping import Float, Shaped

Numbers = Shaped[np.ndarray, " n"]


def pcc(x: Numbers, y: Numbers) -> float:
    """Pearson's linear correlation."""
    return _finite(_linear, x, y)


def srcc(x: Numbers, y: Numbers) -> float:
    """Spearman's rank correlation; ties share their mean rank."""
    from scipy.stats import rankdata

    return _finite(lambda a, b: _linear(rankdata(a), rankdata(b)), x, y)


def kcc(x: Numbers, y: Numbers) -> float:
    """Kendall's rank correlation τ-b, which allows for ties."""
    from scipy.stats import kendalltau

    return _finite(lambda a, b: kendalltau(a, b)[0], x, y)


class Fit(NamedTuple):
    """Opinions predicted from scores by a fitted curve."""

    opinions: Float[np.ndarray, " n"]
    logistic: bool
    """The curve is the logistic; otherwise a straight line, since the logistic would not converge."""


def logistic_fit(scores: Numbers, opinions: Numbers, parameters: Literal[4, 5] = 4) -> Fit:
    """Least-squares curve from scores to opinions, evaluated at the scores.

    Parameters
    ----------
    scores
        Scores of a metric, in any unit and direction, finite.
    opinions
        Mean opinion scores or their differences, finite.
    parameters
        4: the monotone logistic of VQEG, between two levels; 5: Sheikh's, a logistic plus a line.
    """
    from scipy.optimize import least_squares
    from scipy.special import expit

    x, y = np.asarray(scores, float), np.asarray(opinions, float)
    if len(x) <= parameters or np.ptp(x) == 0 or np.ptp(y) == 0:
        return Fit(_line(x, y), False)
    unit, height, middle = (x - x.mean()) / x.std(), y.std(), y.mean()
    target = (y - middle) / height

    def curve(p: np.ndarray) -> np.ndarray:
        return p[0] + p[1] * expit(p[2] * (unit - p[3])) + (p[4] * unit if parameters == 5 else 0)

    rising = 1.0 if pcc(x, y) >= 0 else -1.0
    low, high = (target.min(), target.max())[:: int(rising)]
    start = np.array([low, high - low, 1.0, 0.0, 0.0][:parameters])
    try:
        solution = least_squares(lambda p: curve(p) - target, start, max_nfev=2000)
    except (ValueError, np.linalg.LinAlgError):  # numbers overflow
        return Fit(_line(x, y), False)
    fitted = curve(solution.x) * height + middle
    line = _line(x, y)
    # A curve worse than the line has not converged.
    better = solution.success and np.square(fitted - y).sum() <= np.square(line - y).sum()
    return Fit(fitted, True) if better else Fit(line, False)


def agreement(scores: Numbers, opinions: Numbers, parameters: Literal[4, 5] = 4) -> dict[str, float | bool]:
    """Correlations of scores with opinions as tables of image quality print them.

    Returns
    -------
    ``pcc`` after the logistic fit, so that it tells nothing of the direction; ``srcc`` and ``kcc`` of the scores as
    they are; ``logistic``, whether that fit is a logistic or, for want of one, a line.
    """
    known = np.isfinite(scores) & np.isfinite(opinions)
    fit = logistic_fit(scores[known], opinions[known], parameters)
    return {
        "pcc": pcc(fit.opinions, opinions[known]),
        "srcc": srcc(scores, opinions),
        "kcc": kcc(scores, opinions),
        "logistic": fit.logistic,
    }


def _finite(correlation: Callable[[np.ndarray, np.ndarray], Any], x: Numbers, y: Numbers) -> float:
    known = np.isfinite(x) & np.isfinite(y)
    x, y = x[known], y[known]
    if len(x) < 3:
        return float("nan")
    return 0.0 if np.ptp(x) == 0 or np.ptp(y) == 0 else float(correlation(x, y))


def _linear(x: np.ndarray, y: np.ndarray) -> float:
    return np.corrcoef(x, y)[0, 1]


def _line(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    if not len(x) or np.ptp(x) == 0:
        return np.full(len(x), y.mean() if len(y) else 0.0)
    unit = (x - x.mean()) / x.std()
    return y.mean() + (unit * y).mean() * unit
