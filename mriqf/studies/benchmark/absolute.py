"""Claims 6 and 7: NRMSE and SSIM in absolute terms, with intervals.

The first weights speak by the calibration that comes with them, inside its domain; where there is none, and for every
other metric, isotonic maps are fitted to the training rows, and intervals by split-conformal prediction on every second
training subject.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from mriqf.calibration.isotonic import Isotonic
from mriqf.studies._frame.statistics import group_rows
from mriqf.studies._frame.table import Columns, where
from mriqf.studies.benchmark.bars import COVERAGE
from mriqf.studies.benchmark.evidence import (
    LEAST,
    UNKNOWN,
    Estimate,
    Finding,
    describe,
    groups_of,
    known_mean,
    label,
    metric_names,
    over,
    take,
    units,
    unseen_mean,
)  # fmt: skip

PARTS = ("degraded", "recon")
RANGE = (5, 95)
"""Percentiles that bound the range of the NRMSE."""


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


def predictions(table: Columns, rows: Columns | None = None) -> dict[str, Predicted]:
    """Predictions of every metric for rows, those of `error_rows` if not given.

    Without training rows, those of the shipped calibration alone.
    """
    rows, fitted = error_rows(table) if rows is None else rows, where(table, part=list(PARTS), split="train")
    first = metric_names(table)[0]
    predicted = {}
    for metric in metric_names(table):
        if metric == first and is_shipped(table):
            names = ("nrmse_expected", "ssim_expected", "nrmse_low", "nrmse_high")
            predicted[metric] = Predicted(*(rows[name].astype(float) for name in names))
        elif (known := np.isfinite(fitted[metric])).sum() > 1:
            predicted[metric] = _isotonic(take(fitted, known), rows, metric)
    return predicted


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
    findings = []
    for name, kind, part, inside in _sets(table, rows):
        data, unit = describe(part), units(part)
        selected = {
            m: Predicted(p.nrmse[inside], p.ssim[inside], p.low[inside], p.high[inside]) for m, p in expected.items()
        }
        errors = {m: over(unit, np.mean, np.abs(p.nrmse - part["nrmse"])) for m, p in selected.items()}
        measure = "other" if kind == "unseen" else f"nrmse {kind}"
        findings.append(Finding(6, measure, f"NRMSE, MAE, {name}", data, errors, rises=False, form=".4f"))
        errors = {m: over(unit, np.mean, np.abs(p.ssim - part["ssim"])) for m, p in selected.items()}
        findings.append(Finding(6, "ssim", f"SSIM, MAE, {name}", data, errors, rises=False, form=".3f"))
        slopes = {m: over(unit, slope, p.nrmse, part["nrmse"]) for m, p in selected.items()}
        findings.append(Finding(6, "slope", f"NRMSE, slope, {name}", data, slopes, form=".2f", target=1.0))
    unseen = [f for f in findings if f.what.startswith("NRMSE, MAE") and "(unseen)" in f.what]
    what = "NRMSE, MAE, mean of unseen sets"
    return findings + unseen_mean(6, "nrmse unseen mean", what, unseen, rises=False, form=".4f")


def slope(predicted: Float[np.ndarray, " n"], true: Float[np.ndarray, " n"]) -> float:
    """Slope of measured against predicted errors; NaN if all predictions are equal."""
    spread = predicted - predicted.mean()
    return float((spread * true).sum() / (spread**2).sum()) if np.ptp(predicted) > 0 else UNKNOWN


def intervals(table: Columns) -> list[Finding]:
    """Claim 7."""
    rows, expected = error_rows(table), predictions(table)
    if not len(rows["nrmse"]) or not expected:
        return []
    inside = {m: np.where(np.isfinite(p.low), (p.low <= rows["nrmse"]) & (rows["nrmse"] <= p.high), UNKNOWN)
              for m, p in expected.items()}  # fmt: skip
    findings = []
    for name, kind, part, selected in _sets(table, rows):
        shares = {m: over(units(part), np.mean, x[selected].astype(float)) for m, x in inside.items()}
        measure = {"all": "coverage", "seen": "coverage of a set", "unseen": "coverage of a set"}[kind]
        findings.append(Finding(7, measure, f"coverage, {name}", describe(part), shares, target=COVERAGE))
    subjects = group_rows([rows["dataset"], rows["subject"]])
    least = {m: Estimate(min((known_mean(x[g]) for g in subjects if np.isfinite(x[g]).any()), default=UNKNOWN))
             for m, x in inside.items()}  # fmt: skip
    findings.append(Finding(7, "other", "coverage, worst subject", describe(rows), least, target=COVERAGE))
    span = float(np.ptp(np.percentile(rows["nrmse"], RANGE)))
    widths = {m: over(units(rows), np.mean, (p.high - p.low) / max(span, 1e-9)) for m, p in expected.items()}
    findings.append(Finding(7, "width", "width over range, all", describe(rows), widths, rises=False, form=".2f"))
    first = metric_names(table)[0]
    if is_shipped(table):
        for name, _, part, _ in _sets(table, rows):
            share = {first: over(units(part), np.mean, 1 - part["in_domain"].astype(float))}
            findings.append(Finding(7, "refused", f"refused, {name}", describe(part), share, rises=False, form=".2f"))
    return findings


def _sets(table: Columns, rows: Columns) -> list[tuple[str, str, Columns, np.ndarray]]:
    """Groups as by `groups_of`, with the indices of their rows."""
    every = np.ones(len(rows["nrmse"]), bool)
    return [
        (name, kind, part, every if kind == "all" else rows["dataset"] == part["dataset"][0])
        for name, kind, part in groups_of(table, rows)
    ]


def remarks(table: Columns) -> list[str]:
    """Remarks on rows left out of claims 6 and 7."""
    rows, first = error_rows(table), metric_names(table)[0]
    if not is_shipped(table) or not len(rows["nrmse"]):
        return [f"{label(first)} has no calibration: its maps are fitted to the training rows, as everybody's."]
    lines = []
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
