"""Metrics, sets and intervals common to all claims, computed from the table.

Predictors are held to their sign: a score that rises with the error counts against them. A classical measure gets the
sign that suits it best on the very rows that it is judged on, and so looks better here than it could in use.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float, Shaped

from mriqf.metrics.correlation import srcc
from mriqf.metrics.reference_free import BASELINES
from mriqf.studies._frame.statistics import Ridge, bootstrap, group_rows
from mriqf.studies._frame.table import Columns, where
from mriqf.studies.benchmark.bars import Bar, claim
from mriqf.studies.jpeg_report.acceleration.answer import CURVE, curves

RIDGE = "ridge"
SLICE = ("dataset", "subject", "slice")
DRAWS = 200
"""Samples of the bootstrap."""
UNKNOWN = float("nan")
LATER = ("noise",)
"""Columns that tables of earlier versions do not have."""
LEAST = 1e-3  # floor of the NRMSE in logarithms


@dataclass(frozen=True)
class Estimate:
    """Figure with its 95 % interval; no interval for fewer than three units of the bootstrap."""

    value: float
    low: float = UNKNOWN
    high: float = UNKNOWN

    def text(self, form: str = ".3f") -> str:
        """Text for a table."""
        if np.isnan(self.value):
            return "—"
        return f"{self.value:{form}}" + ("" if np.isnan(self.low) else f" [{self.low:{form}}, {self.high:{form}}]")


@dataclass(frozen=True)
class Finding:
    """Figure of a claim for all metrics."""

    claim: int
    measure: str
    """Name of the claim's bar that it must pass."""
    what: str
    data: str
    """Numbers of images and subjects."""
    estimates: dict[str, Estimate]
    """Values by column of the metric."""
    rises: bool = True
    """True if larger figures are better."""
    form: str = ".3f"
    target: float | None = None
    """Best value of the figure, if neither extreme is best."""

    @property
    def bar(self) -> Bar | None:
        """Bar of its measure."""
        return claim(self.claim).bars[self.measure]

    def verdict(self, metric: str) -> str:
        """Verdict on a metric against the bar; empty where there is none."""
        value = self.estimates[metric].value if metric in self.estimates else UNKNOWN
        return "" if self.bar is None else self.bar.verdict(value)

    def best_baseline(self) -> str | None:
        """The classical measure, or ridge on all, with the best figure."""
        known = [n for n in (*BASELINES, RIDGE) if n in self.estimates and not np.isnan(self.estimates[n].value)]
        return max(known, key=lambda n: self._merit(self.estimates[n].value), default=None)

    def _merit(self, value: float) -> float:
        if self.target is not None:
            return -abs(value - self.target)
        return value if self.rises else -value

    def separated(self, metric: str) -> bool | None:
        """True if the metric's interval lies on the good side of the best classical measure's; None without both."""
        best = self.best_baseline()
        if best is None or metric not in self.estimates or self.target is not None:
            return None
        tested, other = self.estimates[metric], self.estimates[best]
        if np.isnan([tested.low, other.low]).any():
            return None
        return bool(tested.low > other.high if self.rises else tested.high < other.low)


def prepare(table: Columns) -> Columns:
    """The table with one more metric: ridge on the classical measures, fitted to log NRMSE of the training rows.

    Columns that an earlier version did not write are empty.
    """
    table = {**{name: np.full(len(table["part"]), UNKNOWN) for name in LATER if name not in table}, **table}
    features = np.stack([table[name].astype(float) for name in BASELINES], 1)
    known = np.asarray(np.isfinite(features).any(1))
    train = known & np.isin(table["part"], ("degraded", "recon")) & (table["split"] == "train")
    ridge = np.full(len(features), UNKNOWN)
    if train.any():
        mean = np.array([known_mean(column) for column in features[train].T])
        filled = np.where(np.isfinite(features), features, np.nan_to_num(mean))
        fitted = Ridge(filled[train], np.log10(np.maximum(table["nrmse"][train], LEAST)))
        ridge[known] = -fitted(filled[known])
    return {**table, RIDGE: ridge}


def known_mean(values: Shaped[np.ndarray, " n"]) -> float:
    """Mean without NaN; NaN if all are NaN."""
    known = values[np.isfinite(values)]
    return float(known.mean()) if known.size else UNKNOWN


def metric_names(table: Columns) -> list[str]:
    """Columns of all metrics of every image: predictors, controls, classical measures, ridge; the first is on trial."""
    names = [name for name in table if name.startswith(("score ", "control "))]
    return [*names, *BASELINES, RIDGE]


def label(metric: str) -> str:
    """Name of a metric in reports."""
    return metric.removeprefix("score ").replace("_", " ")


def held_out(table: Columns, part: str) -> Columns:
    """Held-out rows of a part."""
    rows = where(table, part=part)
    return take(rows, rows["split"] != "train")


def take(rows: Columns, chosen: Shaped[np.ndarray, " n"]) -> Columns:
    """Select rows of the columns."""
    return {name: column[chosen] for name, column in rows.items()}


def units(rows: Columns) -> Shaped[np.ndarray, " n"]:
    """Units of the bootstrap: subjects, or slices where a data set has fewer than three subjects."""
    names = np.array([f"{d}/{s}" for d, s in zip(rows["dataset"], rows["subject"], strict=True)], dtype=object)
    for dataset in np.unique(rows["dataset"]):
        selected = rows["dataset"] == dataset
        if len(np.unique(names[selected])) < 3:
            names[selected] = [f"{u}/{i:g}" for u, i in zip(names[selected], rows["slice"][selected], strict=True)]
    return names.astype(str)


def goodness(rows: Columns, metric: str) -> Float[np.ndarray, " n"]:
    """Score of a metric, larger for better images: classical measures get the sign that suits them best."""
    values = rows[metric].astype(float)
    if metric not in BASELINES:
        return values
    return -values if srcc(values, rows["nrmse"]) > 0 else values


def describe(rows: Columns, what: str = "images") -> str:
    """Counts of images, slices and subjects."""
    slices, subjects = (len(group_rows([rows[k] for k in SLICE[:n]])) for n in (3, 2))
    return f"{len(rows['subject'])} {what}, {slices} slices, {subjects} subject{'' if subjects == 1 else 's'}"


def over(
    unit: Shaped[np.ndarray, " n"], statistic: Callable[..., float], *values: Shaped[np.ndarray, " n"]
) -> Estimate:
    """Statistic of values with its interval over units; rows without a value are omitted."""
    known = np.all([np.isfinite(v) for v in values], 0)
    if not known.any():
        return Estimate(UNKNOWN)
    kept = [v[known] for v in values]
    return Estimate(float(statistic(*kept)), *bootstrap(statistic, unit[known], *kept, n=DRAWS))


def pooled(rows: Columns, metric: str) -> Estimate:
    """Minus Spearman's correlation of score and NRMSE over all rows: 1 is perfect."""
    return over(units(rows), lambda s, e: -srcc(s, e), goodness(rows, metric), rows["nrmse"])


def groups_of(table: Columns, rows: Columns) -> Iterator[tuple[str, str, Columns]]:
    """Name, kind and rows: of all sets together, and of each; `seen` if its other subjects are in the training part."""
    yield "all", "all", rows
    trained = set(where(table, split="train")["dataset"].tolist())
    for dataset in dict.fromkeys(rows["dataset"].tolist()):
        kind = "seen" if dataset in trained else "unseen"
        name = f"{dataset} ({'other subjects train' if kind == 'seen' else 'unseen'})"
        yield name, kind, where(rows, dataset=dataset)


Figures = dict[str, Estimate]
"""Figure of all metrics."""


def mean_of_sets(figures: Sequence[Figures]) -> Figures:
    """Mean of every metric's figures over sets, with its interval over sets."""
    means = {}
    for metric in dict.fromkeys(name for figure in figures for name in figure):
        values = np.array([figure[metric].value for figure in figures if metric in figure], float)
        means[metric] = over(np.arange(len(values)).astype(str), np.mean, values)
    return means


def unseen_mean(number: int, measure: str, what: str, findings: Sequence[Finding], **options: Any) -> list[Finding]:
    """Mean over the sets that nothing was trained on, of findings that are each of one; none without any."""
    if not findings:
        return []
    data = f"{len(findings)} set{'' if len(findings) == 1 else 's'}"
    return [Finding(number, measure, what, data, mean_of_sets([f.estimates for f in findings]), **options)]


def curves_of(rows: Columns) -> Columns:
    """Reconstructions over R, the fully sampled images with each family of masks that their slice has."""
    repeated = curves(rows)
    groups = group_rows([repeated[name] for name in ("dataset", *CURVE, "method")])
    return take(repeated, np.sort(np.concatenate([g for g in groups if len(g) > 1] or [np.array([], int)])))
