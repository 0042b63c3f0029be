"""Monotone regression: what a score says of a figure, when all that is known is that one moves with the other."""

import numpy as np
from jaxtyping import Float


class Isotonic:
    """Monotone map from a score to a figure by isotonic regression, constant beyond what it was fitted on.

    Linear between `knots`, where it has `values`; rising or falling as told, or as fits better.

    References
    ----------
    Best and Chakravarti, Active set algorithms for isotonic regression, Math Program 1990, doi:10.1007/BF01580873.
    """

    def __init__(
        self, score: Float[np.ndarray, " n"], figure: Float[np.ndarray, " n"], *, increasing: bool | None = None
    ):
        from scipy.optimize import isotonic_regression

        order = np.argsort(score, kind="stable")
        knots, inverse = np.unique(score[order], return_inverse=True)
        count = np.bincount(inverse)
        mean = np.bincount(inverse, figure[order]) / count
        directions = (True, False) if increasing is None else (increasing,)
        fits = [isotonic_regression(mean, weights=count, increasing=rising).x for rising in directions]
        values = min(fits, key=lambda fit: float((count * (fit - mean) ** 2).sum()))
        # The inside of a flat stretch says nothing that its ends do not.
        same = np.diff(values) == 0
        kept = ~(np.append(False, same) & np.append(same, False))
        self.knots, self.values = knots[kept], values[kept]

    def __call__(self, score: Float[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
        """Figures for new scores."""
        return np.interp(score, self.knots, self.values)
