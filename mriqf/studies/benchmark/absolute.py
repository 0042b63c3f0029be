"""Claims 6 and 7: NRMSE and SSIM in absolute terms, with intervals.

The first weights speak by the calibration that comes with them, inside its domain; where there is none, and for every
other metric, isotonic maps are fitted to the training rows, and intervals by split-conformal prediction on every second
training subject.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from mriqf.calibration.isotonic import Isotonic
from mriqf.studies._frame.table import Columns, where
from mriqf.studies.benchmark.bars import COVERAGE
from mriqf.studies.benchmark.evidence import (
    LEAST,
    UNKNOWN,
    Estimate,
    Finding,
    describe,
    groups_of,
    label,
    metric_names,
    over,
    take,
    units,
)  # fmt: skip

PARTS = ("degraded", "recon")
RANGE = (5, 95)
"""Percentiles of NRMSE that its range lies between."""


@dataclass(frozen=True)
class Predicted:
    """NRMSE predicted for each row by a metric; NaN where it gives none."""

    nrmse: Float[np.ndarray, " n"]
    ssim: Float[np.ndarray, " n"]
    low: Float[np.ndarray, " n"]
    high: Float[np.ndarray, " n"]


def error_rows(table: Columns) -> Columns:
    """Held-out rows with known errors."""
    rows = where(table, part=list(PARTS))
    return take(rows, rows["split"] != "train")


def predictions(table: Columns) -> dict[str, Predicted]:
    """Predictions of every metric for `error_rows`; without training rows, of the shipped calibration alone."""
    rows, fitted = error_rows(table), where(table, part=list(PARTS), split="train")
    first = metric_names(table)[0]
    found = {}
    for metric in metric_names(table):
        if metric == first and is_shipped(table):
            names = ("nrmse_expected", "ssim_expected", "nrmse_low", "nrmse_high")
            found[metric] = Predicted(*(rows[name].astype(float) for name in names))
        elif (known := np.isfinite(fitted[metric])).sum() > 1:
            found[metric] = _isotonic(take(fitted, known), rows, metric)
    return found


def is_shipped(table: Columns) -> bool:
    """True if the first weights have a calibration."""
    return bool(np.isfinite(table["in_domain"].astype(float)).any())


def _isotonic(fitted: Columns, rows: Columns, metric: str) -> Predicted:
    score, new = fitted[metric].astype(float), rows[metric].astype(float)
    error = np.log10(np.maximum(fitted["nrmse"], LEAST))
    known = np.isfinite(new)

    def mapped(x: np.ndarray, y: np.ndarray, at: np.ndarray) -> np.ndarray:
        return np.where(np.isfinite(at), Isotonic(x, y)(np.nan_to_num(at)), UNKNOWN)

    subjects = np.unique([f"{d}/{s}" for d, s in zip(fitted["dataset"], fitted["subject"], strict=True)])
    names = np.array([f"{d}/{s}" for d, s in zip(fitted["dataset"], fitted["subject"], strict=True)])
    second = np.isin(names, subjects[1::2])
    low = high = np.full(len(new), UNKNOWN)
    if second.any() and not second.all():
        curve = Isotonic(score[~second], error[~second])
        residual = np.sort(np.abs(error[second] - curve(score[second])))
        rank = min(int(np.ceil((len(residual) + 1) * COVERAGE)), len(residual))
        centre, width = curve(np.nan_to_num(new)), residual[rank - 1]
        low, high = (np.where(known, 10 ** (centre + side * width), UNKNOWN) for side in (-1, 1))
    return Predicted(10 ** mapped(score, error, new), mapped(score, fitted["ssim"], new), low, high)


def absolute(table: Columns) -> list[Finding]:
    """Claim 6."""
    rows, expected = error_rows(table), predictions(table)
    if not len(rows["nrmse"]) or not expected:
        return []
    found = []
    for name, kind, part, inside in _sets(table, rows):
        data, unit = describe(part), units(part)
        mine = {
            j: Predicted(p.nrmse[inside], p.ssim[inside], p.low[inside], p.high[inside]) for j, p in expected.items()
        }
        errors = {j: over(unit, np.mean, np.abs(p.nrmse - part["nrmse"])) for j, p in mine.items()}
        found.append(Finding(6, f"nrmse {kind}", f"NRMSE, MAE, {name}", data, errors, rises=False, form=".4f"))
        errors = {j: over(unit, np.mean, np.abs(p.ssim - part["ssim"])) for j, p in mine.items()}
        found.append(Finding(6, "ssim", f"SSIM, MAE, {name}", data, errors, rises=False, form=".3f"))
        slopes = {j: over(unit, slope, p.nrmse, part["nrmse"]) for j, p in mine.items()}
        found.append(Finding(6, "slope", f"NRMSE, slope, {name}", data, slopes, form=".2f", target=1.0))
    return found


def slope(predicted: Float[np.ndarray, " n"], true: Float[np.ndarray, " n"]) -> float:
    """Slope of measured against predicted errors; NaN if all predictions are equal."""
    spread = predicted - predicted.mean()
    return float((spread * true).sum() / (spread**2).sum()) if np.ptp(predicted) > 0 else UNKNOWN


def intervals(table: Columns) -> list[Finding]:
    """Claim 7."""
    rows, expected = error_rows(table), predictions(table)
    if not len(rows["nrmse"]) or not expected:
        return []
    inside = {j: np.where(np.isfinite(p.low), (p.low <= rows["nrmse"]) & (rows["nrmse"] <= p.high), UNKNOWN)
              for j, p in expected.items()}  # fmt: skip
    sets = [("all subjects", np.ones(len(rows["nrmse"]), bool))]
    keys = list(dict.fromkeys(zip(rows["dataset"].tolist(), rows["subject"].tolist(), strict=True)))
    sets += [(f"{s} of {d}", (rows["dataset"] == d) & (rows["subject"] == s)) for d, s in keys]
    found = []
    for name, mine in sets:
        part = take(rows, mine)
        # The slices of one subject are all there is to draw from.
        unit = units(part) if name == "all subjects" else np.array([f"{i:g}" for i in part["slice"]])
        shares = {j: over(unit, np.mean, x[mine].astype(float)) for j, x in inside.items()}
        found.append(Finding(7, "coverage", f"coverage, {name}", describe(part), shares, target=COVERAGE))
    for name, _, part, mine in _sets(table, rows):
        span = float(np.ptp(np.percentile(part["nrmse"], RANGE)))
        unit = units(part)
        widths = {j: over(unit, np.mean, (p.high - p.low)[mine] / max(span, 1e-9)) for j, p in expected.items()}
        found.append(Finding(7, "width", f"width over range, {name}", describe(part), widths, rises=False, form=".2f"))
    return found


def _sets(table: Columns, rows: Columns) -> list[tuple[str, str, Columns, np.ndarray]]:
    """As `groups_of`, with which rows they are."""
    found = []
    for name, kind, part in groups_of(table, rows):
        inside = np.ones(len(rows["nrmse"]), bool) if kind == "all" else rows["dataset"] == part["dataset"][0]
        found.append((name, kind, part, inside))
    return found


def remarks(table: Columns) -> list[str]:
    """Remarks on rows left out of claims 6 and 7."""
    rows, first = error_rows(table), metric_names(table)[0]
    if not is_shipped(table) or not len(rows["nrmse"]):
        return [f"{label(first)} has no calibration: its maps are fitted to the training rows, as everybody's."]
    lines = []
    for name, _, part, _ in _sets(table, rows):
        asked = np.isfinite(part["in_domain"].astype(float))
        refused = 1 - part["in_domain"][asked].mean() if asked.any() else UNKNOWN
        lines.append(
            f"{label(first)} gives no number for {100 * refused:.1f} % of {len(part['nrmse'])} images: {name}."
        )
    fitted = where(table, part=list(PARTS), split="train")
    known = np.isfinite(fitted[first])
    if known.sum() > 1:
        own = _isotonic(take(fitted, known), rows, first)
        mae = Estimate(float(np.nanmean(np.abs(own.nrmse - rows["nrmse"]))))
        lines.append(
            f"By an isotonic map to the training rows instead, as the classical measures have it, all images: NRMSE "
            f"MAE {mae.text('.4f')}, SSIM MAE {np.nanmean(np.abs(own.ssim - rows['ssim'])):.3f}."
        )
    return lines
