"""Statistics of tables of studies: intervals over subjects, ridge regression."""

from collections.abc import Callable, Sequence

import numpy as np
from jaxtyping import Float, Shaped


def by_group(
    statistic: Callable[..., float], groups: Sequence[Shaped[np.ndarray, " n"]], *values: Shaped[np.ndarray, " n"]
) -> Float[np.ndarray, " g"]:
    """Statistic of the rows of each group, such as the correlation within each slice.

    Parameters
    ----------
    statistic
        Takes the values of one group.
    groups
        Columns whose combinations are the groups.
    values
        Columns that the statistic takes.
    """
    return np.array([statistic(*(v[rows] for v in values)) for rows in group_rows(groups)])


def group_rows(groups: Sequence[Shaped[np.ndarray, " n"]]) -> list[np.ndarray]:
    """Indices of the rows of each group, groups in the order of their first row."""
    rows_by_key: dict[tuple, list[int]] = {}
    for row, key in enumerate(zip(*(g.tolist() for g in groups), strict=True)):
        rows_by_key.setdefault(key, []).append(row)
    return [np.array(rows) for rows in rows_by_key.values()]


def bootstrap(
    statistic: Callable[..., float],
    subject: Shaped[np.ndarray, " n"],
    *values: Shaped[np.ndarray, " n"],
    n: int = 500,
    seed: int = 0,
    coverage: float = 0.95,
) -> tuple[float, float]:
    """Percentile interval of a statistic when subjects, with all their rows, are drawn with replacement.

    Both ends are NaN with fewer than three subjects: two say nothing about others.

    References
    ----------
    Efron, Bootstrap methods: another look at the jackknife, Ann Statist 1979, doi:10.1214/aos/1176344552.
    """
    rows = group_rows([subject])
    if len(rows) < 3:
        return float("nan"), float("nan")
    rng = np.random.default_rng(seed)
    resampled = []
    for _ in range(n):
        drawn = np.concatenate([rows[k] for k in rng.integers(len(rows), size=len(rows))])
        resampled.append(statistic(*(v[drawn] for v in values)))
    tail = 50 * (1 - coverage)
    known = np.array(resampled)[np.isfinite(resampled)]
    if not known.size:
        return float("nan"), float("nan")
    low, high = np.percentile(known, (tail, 100 - tail))
    return float(low), float(high)


class Ridge:
    """Linear map from several features, each brought to mean 0 and sd 1, to a figure.

    References
    ----------
    Hoerl and Kennard, Ridge regression, Technometrics 1970, doi:10.1080/00401706.1970.10488634.
    """

    def __init__(self, features: Float[np.ndarray, "n k"], figure: Float[np.ndarray, " n"], lam: float = 1.0):
        self.mean, self.sd = features.mean(0), features.std(0)
        self.sd[self.sd == 0] = 1
        x = (features - self.mean) / self.sd
        self.offset = float(figure.mean())
        self.slope = np.linalg.solve(x.T @ x + lam * np.eye(x.shape[1]), x.T @ (figure - self.offset))

    def __call__(self, features: Float[np.ndarray, "n k"]) -> Float[np.ndarray, " n"]:
        """Figures for new features."""
        return (features - self.mean) / self.sd @ self.slope + self.offset
