"""Claims 8 to 12: false alarms, localisation, R, JPEG, speed."""

import numpy as np

from mriqf.metrics.reference_free import BASELINES
from mriqf.studies._frame.statistics import group_rows
from mriqf.studies._frame.table import Columns, where
from mriqf.studies.benchmark.absolute import predictions
from mriqf.studies.benchmark.bars import ALARM, LEAST_ERROR
from mriqf.studies.benchmark.cases import CHANGES, FLAWS, UNCHANGED
from mriqf.studies.benchmark.evidence import (
    RIDGE,
    SLICE,
    UNKNOWN,
    Estimate,
    Finding,
    describe,
    goodness,
    groups_of,
    held_out,
    metric_names,
    over,
    take,
    units,
    unseen_mean,
)  # fmt: skip
from mriqf.studies.benchmark.metrics import PLAIN_MAPS
from mriqf.studies.benchmark.probes import GRIDS, RANGES
from mriqf.studies.jpeg_report.acceleration.prediction import estimators, predict, ridge_on, settings

POINTS = 100.0
"""Range of a predictor's score."""
BARRED = ("blur", "aliasing")
"""Local degradations that maps should show; missing and invented lesions leave no trace in the image."""
ALL = "ridge on all that is said"
CONSTANT = "constant (median R)"
HEADS = ("nrmse_expected", "nrmse_low", "nrmse_high", "ssim_expected", "acceleration_expected", "distance")
"""Columns of the first weights beside the score."""
CORRECT = 2
"""Tolerance of a correct quality in points."""


def false_alarms(table: Columns) -> list[Finding]:
    """Claim 8."""
    rows, clean = held_out(table, "clean"), where(table, part="clean", split="train")
    if not len(rows["subject"]) or not len(clean["subject"]):
        return []
    degraded = held_out(table, "degraded")
    reference = {tuple(key): k for k, key in enumerate(zip(*(rows[n] for n in SLICE), strict=True))
                 if rows["family"][k] == "as is"}  # fmt: skip
    before = np.array([reference[tuple(key)] for key in zip(*(rows[n] for n in SLICE), strict=True)])
    alarm, below, moved = _above_noise(table, rows), {}, {}
    for metric in metric_names(table):
        sign = _sign(degraded, metric)
        score, known = sign * rows[metric].astype(float), sign * clean[metric].astype(float)
        known = known[np.isfinite(known)]
        threshold = np.quantile(known, ALARM) if known.size else UNKNOWN
        below[metric] = np.where(np.isfinite(score), (score < threshold).astype(float), UNKNOWN)
        moved[metric] = np.abs(score - score[before]) / _span(degraded, metric)
    every = np.ones(len(before), bool)
    cases = [("alarms", name, alarm, every if name == "all" else rows["dataset"] == part["dataset"][0])
             for name, _, part in groups_of(table, rows)]  # fmt: skip
    cases += [("other", name, alarm, rows["family"] == name) for name in CHANGES]
    cases.append(("other", "all, by a threshold that 5 % of clean training slices lie below", below, every))
    findings = []
    for measure, name, shares, selected in cases:
        if selected.any() and shares:
            part = take(rows, selected)
            figures = {m: over(units(part), np.mean, x[selected]) for m, x in shares.items()}
            findings.append(Finding(8, measure, f"false alarms, {name}", describe(part), figures, rises=False))
    for name in UNCHANGED:
        selected = rows["family"] == name
        if selected.any():
            largest = {m: Estimate(float(np.nanmax(np.append(x[selected], -np.inf)))) for m, x in moved.items()}
            largest = {m: e if np.isfinite(e.value) else Estimate(UNKNOWN) for m, e in largest.items()}
            what = f"largest change of the score, {name}"
            findings.append(Finding(8, "change", what, describe(take(rows, selected)), largest, rises=False))
    return findings


def _above_noise(table: Columns, rows: Columns) -> dict[str, np.ndarray]:
    """1 if a metric's interval of NRMSE lies above the noise of a clean slice, else 0; NaN without interval."""
    if not np.isfinite(rows["noise"].astype(float)).any():
        return {}
    own = np.maximum(rows["noise"].astype(float), LEAST_ERROR)
    return {
        metric: np.where(np.isfinite(p.low) & np.isfinite(own), (p.low > own).astype(float), UNKNOWN)
        for metric, p in predictions(table, rows).items()
    }


def _sign(degraded: Columns, metric: str) -> int:
    """Sign of a classical measure, from the degraded images."""
    if metric not in BASELINES or not len(degraded["nrmse"]):
        return 1
    return 1 if np.array_equal(goodness(degraded, metric), degraded[metric], equal_nan=True) else -1


def _span(degraded: Columns, metric: str) -> float:
    """Range of a score: of predictors 100 points, of others from percentile 5 to 95 of the degraded images."""
    if metric not in BASELINES and metric != RIDGE:
        return POINTS
    values = degraded[metric].astype(float)
    values = values[np.isfinite(values)]
    return max(float(np.ptp(np.percentile(values, (5, 95)))), 1e-12) if values.size else UNKNOWN


def localises(table: Columns) -> list[Finding]:
    """Claim 9: maps of predictors and two control maps; the classical measures have none."""
    maps = {name: column for column in table if (name := _map_of(table, column))}

    def means(rows: Columns) -> dict[str, Estimate]:
        return {m: over(units(rows), np.mean, rows[c].astype(float)) for m, c in maps.items()}

    findings = []
    rows = held_out(table, "local")
    for kind in FLAWS:
        selected = where(rows, family=kind)
        if len(selected["subject"]):
            areas = {m: over(units(selected), np.mean, selected[f"auroc {c[2:]}"]) for m, c in maps.items()}
            measure = "auroc" if kind in BARRED else "other"
            findings.append(Finding(9, measure, f"AUROC, {kind}", describe(selected), areas))
    for part in ("degraded", "recon"):
        rows = held_out(table, part)
        rows = take(rows, np.isfinite(rows[next(iter(maps.values()))].astype(float)))
        if not len(rows["subject"]):
            continue
        what, unseen = f"r with the local error, {part}", []
        for name, kind, selected in groups_of(table, rows):
            measure = "voxel" if kind == "seen" else "other"
            finding = Finding(9, measure, f"{what}, {name}", describe(selected), means(selected))
            findings.append(finding)
            unseen += [finding] if kind == "unseen" else []
        findings += unseen_mean(9, "voxel", f"{what}, mean of unseen sets", unseen)
        column = "family" if part == "degraded" else "method"
        for name in dict.fromkeys(rows[column].tolist()):
            selected = take(rows, rows[column] == name)
            findings.append(Finding(9, "other", f"r with the local error, {name}", describe(selected), means(selected)))
        first = metric_names(table)[0]
        for column, label in (
            ("rank r", "rank correlation with the local error"),
            ("sharp r", "r with unsmoothed |error|"),
        ):
            if np.isfinite(rows[column].astype(float)).any():
                mean = {first: over(units(rows), np.mean, rows[column].astype(float))}
                findings.append(Finding(9, "other", f"{label}, {part}", describe(rows), mean))
    return findings


def _map_of(table: Columns, column: str) -> str | None:
    """Metric or control map of a column of correlations."""
    name = column[2:]
    if not column.startswith("r "):
        return None
    return next((j for j in (f"score {name}", f"control {name}") if j in table), name if name in PLAIN_MAPS else None)


def predicts_rate(table: Columns) -> list[Finding]:
    """Claim 10."""
    rows = held_out(table, "recon")
    if len(np.unique(rows["subject"])) < 2:
        return []
    rows = {**rows, "acceleration": rows["level"]}
    names = metric_names(table)
    scores = [n for n in names if n not in BASELINES and n != RIDGE and np.isfinite(rows[n]).all()]
    heads = [n for n in HEADS if np.isfinite(rows[n].astype(float)).any()]
    fits = estimators(scores) | {ALL: ridge_on([names[0], *heads, *BASELINES])}
    of = {f"isotonic on {n}": n for n in (*scores, *BASELINES)} | {"ridge on classical features": RIDGE, ALL: ALL}
    of[CONSTANT] = CONSTANT
    findings = []
    parts = settings(rows)
    for setting, part in sorted(parts.items(), key=lambda p: p[0] != "all methods"):
        data = describe(part)
        cases = [(False, "")]
        if setting == "all methods" and len(np.unique(part["family"])) > 2:
            cases.append((True, ", masks never fitted on"))
        for leave, suffix in cases:
            usable = [n for n, m in of.items() if m not in BASELINES or np.isfinite(part[m].astype(float)).any()]
            every = {of[n]: predict(part, fits[n], n, leave_family=leave) for n in usable}
            measures = ("top1", "mae") if setting == "all methods" and not leave else ("other", "other")
            top1 = {m: Estimate(p.top1, *p.top1_interval) for m, p in every.items()}
            mae = {m: Estimate(p.mae, *p.mae_interval) for m, p in every.items()}
            findings.append(Finding(10, measures[0], f"nearest R is right, {setting}{suffix}", data, top1, form=".2f"))
            what = f"MAE of R, {setting}{suffix}"
            findings.append(Finding(10, measures[1], what, data, mae, rises=False, form=".2f"))
    expected = rows["acceleration_expected"].astype(float)
    if np.isfinite(expected).any():
        mae = over(units(rows), np.mean, np.abs(expected - rows["effective_acceleration"]))
        what = "MAE of effective R by the shipped calibration, inside its domain"
        findings.append(Finding(10, "other", what, describe(rows), {names[0]: mae}, rises=False, form=".2f"))
    return findings


def reads_jpeg(table: Columns) -> list[Finding]:
    """Claim 11."""
    rows = held_out(table, "jpeg")
    findings = []
    readers = [name for name in metric_names(table) if name.startswith("score ")]
    for name in RANGES:
        for grid in GRIDS:
            selected = where(rows, method=name, family=grid)
            if not len(selected["subject"]):
                continue
            data, unit = describe(selected, "patches"), units(selected)
            error = {j: np.abs(selected[j].astype(float) - selected["level"]) for j in (*readers, "lattice")}
            mae = {j: over(unit, np.mean, e) for j, e in error.items()}
            near = {j: over(unit, np.mean, (e <= CORRECT).astype(float)) for j, e in error.items()}
            findings.append(Finding(11, "mae", f"MAE, {name}, {grid}", data, mae, rises=False, form=".2f"))
            findings.append(Finding(11, "within 2", f"within ±{CORRECT}, {name}, {grid}", data, near))
            if grid == "aligned":
                # The bar is that of the lattice estimator, whichever metric is tested.
                mark = {readers[0]: near["lattice"]}
                findings.append(
                    Finding(11, f"lattice {name}", f"lattice estimator within ±{CORRECT}, {name}", data, mark)
                )
    return findings


def speed(table: Columns) -> list[Finding]:
    """Claim 12."""
    rows = held_out(table, "speed")
    findings = []
    names = [name for name in metric_names(table) if name.startswith("score ")]
    for (what, threads), members in (
        ((rows["family"][g[0]], rows["level"][g[0]]), g) for g in group_rows([rows["family"], rows["level"]])
    ):
        values = dict(zip(rows["method"][members].tolist(), rows["value"][members].tolist(), strict=True))
        timed = what in ("predictor", "scoring")
        scale = 1.0 if timed else POINTS
        each = {n: Estimate(values.get(n.removeprefix("score "), UNKNOWN) / scale) for n in names}
        if timed:
            text = f"ms, {'predictor alone' if what == 'predictor' else 'whole scoring'}, {threads:g} thread"
            text += "s" if threads > 1 else ""
            findings.append(Finding(12, "ms", text, "320×320, median of 20", each, rises=False, form=".1f"))
        else:
            findings.append(Finding(12, "change", f"largest change, {what}", "4 slices", each, rises=False, form=".1e"))
    return findings
