"""Curves with intervals that hold for whatever the errors are distributed as: isotonic, split-conformal."""

import math
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Shaped

from mriqf.calibration.isotonic import Isotonic
from mriqf.predictors.unit import error_of_score

SMALLEST = 1e-3
"""A figure below a thousandth counts as a thousandth, which has a logarithm."""
LEAST_SPREAD = 0.25  # of the mean spread: a few images that agree by chance promise nothing
GRID = 33
AS_READ = (-60.0, 166.0)
"""Scores, not cut off, between which an error that is taken as read follows the unit: of errors of 256 and 0.1 %."""


@dataclass(frozen=True)
class Band:
    """A figure that falls as the score rises, with the interval in which an image's figure lies.

    All in the figure's logarithm; linear between knots, constant beyond.
    """

    knots: tuple[float, ...]
    values: tuple[float, ...]
    grid: tuple[float, ...]
    """Scores that `spread` is known at; empty where each image has a spread of its own."""
    spread: tuple[float, ...]
    """Typical distance of an image from the curve."""
    low: float
    """Lower end, in units of the spread, 0 or less."""
    high: float
    """Upper end, 0 or more."""

    def __call__(
        self, score: float, width: tuple[float, float] | None = None, wider: float = 1.0
    ) -> tuple[float, float, float]:
        """The figure, and the ends of its interval.

        Parameters
        ----------
        score
            Score of an image.
        width
            The image's own spread below and above, which a band without a spread needs.
        wider
            Factor on the interval, in the figure's logarithm.

        Raises
        ------
        ValueError
            If the band needs a width, and there is none.
        """
        centre = float(np.interp(score, self.knots, self.values))
        if self.grid:
            spread = float(np.interp(score, self.grid, self.spread))
            below, above = spread, spread
        elif width is not None:
            below, above = width
        else:
            raise ValueError("calibration is of a predictor with intervals of its own: give their width")
        ends = (wider * self.low * below, wider * self.high * above)
        return math.exp(centre), math.exp(centre + ends[0]), math.exp(centre + ends[1])


def halves(subject: Shaped[np.ndarray, " n"]) -> tuple[Bool[np.ndarray, " n"], str]:
    """Rows to fit on, the others being held out, and what that split is in words.

    Subjects are whole, and shared out from the one with most images to the half with fewer; of a single subject every
    other image is held out.
    """
    names, count = np.unique(subject, return_counts=True)
    if len(names) < 2:
        return np.arange(len(subject)) % 2 == 0, "images of one subject"
    sides: tuple[list, list] = ([], [])
    total = [0, 0]
    for k in np.argsort(-count, kind="stable"):
        side = int(total[1] < total[0])
        sides[side].append(names[k])
        total[side] += int(count[k])
    return np.isin(subject, sides[0]), f"subjects: {len(sides[0])} fitted, {len(sides[1])} held out"


def least(coverage: float) -> int:
    """Held-out images without which an end of the interval is infinite."""
    return math.ceil(2 / (1 - coverage) - 1 - 1e-9)


def fit_band(
    score: Float[np.ndarray, " n"],
    figure: Float[np.ndarray, " n"],
    first: Bool[np.ndarray, " n"],
    coverage: float,
    width: Float[np.ndarray, "n 2"] | None = None,
    *,
    as_read: bool = False,
) -> Band:
    """Curve and spread of the logarithm of a positive figure from the `first` images, interval from the others.

    The curve is isotonic, or, `as_read`, the error that a score stands for by its unit. The interval's ends are the
    finite-sample quantiles of the residuals over the spread, or over each image's own `width` below and above, each
    tail with half of what may lie outside; there must be `least(coverage)` other images.

    References
    ----------
    Romano et al., Conformalized quantile regression, NeurIPS 2019, arXiv:1905.03222.
    """
    value = np.log(np.maximum(figure, SMALLEST))
    if as_read:
        knots = np.array(AS_READ)
        values = np.log(error_of_score(knots))
        residual = value - np.interp(score, knots, values)
    else:
        curve = Isotonic(score[first], value[first], increasing=False)
        knots, values = curve.knots, curve.values
        residual = value - curve(score)
    if width is None:
        grid = np.unique(np.quantile(score[first], np.linspace(0, 1, GRID)))
        spread = _smooth(score[first], np.abs(residual[first]), grid)
        scaled = np.sort(residual[~first] / np.interp(score[~first], grid, spread))
    else:
        grid = spread = np.empty(0)
        scaled = np.sort(residual[~first] / np.where(residual[~first] < 0, *width[~first].T))
    n, tail = len(scaled), (1 - coverage) / 2
    # The quantiles of n + 1 values, of which the unknown one is any; 1e-9 against 0.05 * 20 < 1.
    low, high = math.floor((n + 1) * tail + 1e-9), math.ceil((n + 1) * (1 - tail) - 1e-9)
    return Band(
        tuple(knots.tolist()), tuple(values.tolist()), tuple(grid.tolist()), tuple(spread.tolist()),
        # An interval holds its own middle, should the held-out subjects lie to one side.
        min(float(scaled[low - 1]), 0.0), max(float(scaled[high - 1]), 0.0),
    )  # fmt: skip


def _smooth(
    score: Float[np.ndarray, " n"], distance: Float[np.ndarray, " n"], grid: Float[np.ndarray, " k"]
) -> Float[np.ndarray, " k"]:
    """Mean distance about each score of the grid, by a Gaussian kernel, Nadaraya doi:10.1137/1109020."""
    width = max(float(score.std()) * len(score) ** -0.2, 1e-6)
    kernel = np.exp(-0.5 * ((grid[:, None] - score) / width) ** 2)
    floor = max(LEAST_SPREAD * float(distance.mean()), 1e-6)
    return np.maximum(kernel @ distance / np.maximum(kernel.sum(1), 1e-300), floor)
