"""R from the score of one image: calibrated on other subjects, and on other families of masks.

Each estimator sees nothing but one reconstruction's score, or its classical features; errors are those of subjects it
was not fitted on. With a family left out, it was not fitted on that family either.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float

from mriqf.calibration.isotonic import Isotonic
from mriqf.metrics.reference_free import BASELINES
from mriqf.studies._frame.statistics import Ridge, bootstrap
from mriqf.studies._frame.table import Columns
from mriqf.studies.jpeg_report.acceleration.measure import FULL

NEEDS_SUBJECTS = "R from one image is tried on subjects that nothing was fitted on: give two or more."
Fit = Callable[[Columns, Bool[np.ndarray, " n"]], Callable[[Columns], Float[np.ndarray, " n"]]]


@dataclass(frozen=True)
class Prediction:
    """Errors of an estimator on subjects that it was not fitted on."""

    estimator: str
    top1: float
    """Share of reconstructions whose nearest R of the study is the true one."""
    mae: float
    """Mean absolute error of R."""
    mae_inverse: float
    """Mean absolute error of 1/R, the share of k-space that was sampled."""
    top1_interval: tuple[float, float]
    """95 %, over subjects."""
    mae_interval: tuple[float, float]
    predicted: Float[np.ndarray, " n"]
    true: Float[np.ndarray, " n"]


def enough_subjects(rows: Columns) -> bool:
    """True if one subject can be left out."""
    return len(np.unique(rows["subject"])) > 1


def estimators(scores: Sequence[str]) -> dict[str, Fit]:
    """Isotonic on each score, ridge on the classical features, ridge on both, and the best constant.

    Parameters
    ----------
    scores
        Columns that hold scores.
    """
    fits: dict[str, Fit] = {f"isotonic on {name}": _isotonic(name) for name in scores}
    fits |= {f"isotonic on {name}": _isotonic(name) for name in BASELINES}
    fits["ridge on classical features"] = ridge_on(list(BASELINES))
    fits["ridge on classical features and scores"] = ridge_on([*BASELINES, *scores])
    fits["constant (median R)"] = _constant
    return fits


def predict(rows: Columns, fit: Fit, name: str, *, leave_family: bool = False) -> Prediction:
    """Leave-one-subject-out errors; with `leave_family`, of families that were not fitted on either.

    Parameters
    ----------
    rows
        Rows of one method, or of several, fitted together.

    Raises
    ------
    ValueError
        If there are not two subjects, or not two families to leave one out.
    """
    subject, family, true = rows["subject"], rows["family"], rows["acceleration"]
    subjects, families = np.unique(subject), [f for f in np.unique(family) if f != FULL]
    if not enough_subjects(rows):
        raise ValueError(NEEDS_SUBJECTS)
    if leave_family and len(families) < 2:
        raise ValueError("one family of masks cannot be left out of one: measure several")
    predicted = np.full(len(true), np.nan)
    for s in subjects:
        for left in families if leave_family else [None]:
            # The fully sampled images belong to every family; they are counted for the first one.
            selected = (subject == s) & (
                True if left is None else (family == left) | ((family == FULL) & (left == families[0]))
            )
            others = (subject != s) & (family != left)
            predicted[selected] = fit(rows, others)({k: v[selected] for k, v in rows.items()})
    grid = np.unique(true)
    predicted = predicted.clip(grid[0], grid[-1])  # linear fits extrapolate beyond the R of the study
    correct = (grid[np.abs(predicted[:, None] - grid).argmin(1)] == true).astype(float)
    error, inverse = np.abs(predicted - true), np.abs(1 / np.maximum(predicted, 1) - 1 / true)
    return Prediction(
        name, float(correct.mean()), float(error.mean()), float(inverse.mean()),
        bootstrap(np.mean, subject, correct), bootstrap(np.mean, subject, error), predicted, true,
    )  # fmt: skip


def settings(table: Columns) -> Mapping[str, Columns]:
    """Rows of each method, and of all together."""
    methods = list(dict.fromkeys(table["method"].tolist()))
    by_method = {m: {k: v[table["method"] == m] for k, v in table.items()} for m in methods}
    return by_method | {"all methods": table} if len(methods) > 1 else by_method


def _isotonic(name: str) -> Fit:
    def fit(rows: Columns, others: Bool[np.ndarray, " n"]):
        known = others & np.isfinite(rows[name])
        calibrated = Isotonic(rows[name][known], rows["acceleration"][known])
        # An image without a value, such as one without background, gets the mean.
        mean = float(rows["acceleration"][known].mean())
        return lambda new: np.where(np.isfinite(new[name]), calibrated(np.nan_to_num(new[name])), mean)

    return fit


def ridge_on(names: list[str]) -> Fit:
    """Ridge regression on columns; missing values are replaced by the mean of the training rows."""

    def fit(rows: Columns, others: Bool[np.ndarray, " n"]):
        features = np.stack([rows[n] for n in names], 1)
        mean = np.nanmean(features[others], 0)

        def filled(x: Float[np.ndarray, "n k"]) -> Float[np.ndarray, "n k"]:
            return np.where(np.isfinite(x), x, mean)

        model = Ridge(filled(features[others]), rows["acceleration"][others])
        return lambda new: model(filled(np.stack([new[n] for n in names], 1)))

    return fit


def _constant(rows: Columns, others: Bool[np.ndarray, " n"]):
    median = float(np.median(rows["acceleration"][others]))
    return lambda new: np.full(len(new["acceleration"]), median)
