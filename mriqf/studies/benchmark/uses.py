"""Claims 8 to 12: false alarms, places, R, JPEG, speed."""

import numpy as np

from mriqf.metrics.reference_free import BASELINES
from mriqf.studies._frame.statistics import group_rows
from mriqf.studies._frame.table import Columns, where
from mriqf.studies.benchmark.bars import ALARM
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
)  # fmt: skip
from mriqf.studies.benchmark.metrics import PLAIN_MAPS
from mriqf.studies.benchmark.probes import GRIDS, RANGES
from mriqf.studies.jpeg_report.acceleration.prediction import estimators, predict, settings

POINTS = 100.0
"""Range of a predictor's score."""
CORRECT = 2
"""Points within which a quality is read right."""


def false_alarms(table: Columns) -> list[Finding]:
    """Claim 8."""
    rows, clean = held_out(table, "clean"), where(table, part="clean", split="train")
    if not len(rows["subject"]) or not len(clean["subject"]):
        return []
    degraded = held_out(table, "degraded")
    alarm, moved = {}, {}
    reference = {tuple(key): k for k, key in enumerate(zip(*(rows[n] for n in SLICE), strict=True))
                 if rows["family"][k] == "as is"}  # fmt: skip
    before = np.array([reference[tuple(key)] for key in zip(*(rows[n] for n in SLICE), strict=True)])
    for metric in metric_names(table):
        sign = _sign(degraded, metric)
        score, known = sign * rows[metric].astype(float), sign * clean[metric].astype(float)
        known = known[np.isfinite(known)]
        threshold = np.quantile(known, ALARM) if known.size else UNKNOWN
        alarm[metric] = np.where(np.isfinite(score), (score < threshold).astype(float), UNKNOWN)
        moved[metric] = np.abs(score - score[before]) / _span(degraded, metric)
    found = []
    for name in ("all changes", *CHANGES):
        mine = np.ones(len(before), bool) if name == "all changes" else rows["family"] == name
        if mine.any():
            part = take(rows, mine)
            shares = {j: over(units(part), np.mean, x[mine]) for j, x in alarm.items()}
            measure = "alarms" if name == "all changes" else "other"
            found.append(Finding(8, measure, f"false alarms, {name}", describe(part), shares, rises=False))
    for name, _, part in list(groups_of(table, rows))[1:]:
        mine = rows["dataset"] == part["dataset"][0]
        shares = {j: over(units(part), np.mean, x[mine]) for j, x in alarm.items()}
        found.append(Finding(8, "alarms", f"false alarms, {name}", describe(part), shares, rises=False))
    for name in UNCHANGED:
        mine = rows["family"] == name
        if mine.any():
            largest = {j: Estimate(float(np.nanmax(np.append(x[mine], -np.inf)))) for j, x in moved.items()}
            largest = {j: e if np.isfinite(e.value) else Estimate(UNKNOWN) for j, e in largest.items()}
            what = f"largest change of the score, {name}"
            found.append(Finding(8, "change", what, describe(take(rows, mine)), largest, rises=False))
    return found


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
    """Claim 9: maps of predictors, and two that know nothing of errors; the classical measures have none."""
    found = []
    maps = {name: column for column in table if (name := _map_of(table, column))}
    rows = held_out(table, "local")
    for kind in FLAWS:
        mine = where(rows, family=kind)
        if len(mine["subject"]):
            areas = {j: over(units(mine), np.mean, mine[f"auroc {c[2:]}"]) for j, c in maps.items()}
            measure = "other" if kind == "invented lesion" else "auroc"
            found.append(Finding(9, measure, f"AUROC, {kind}", describe(mine), areas))
    for part in ("degraded", "recon"):
        rows = held_out(table, part)
        rows = take(rows, np.isfinite(rows[next(iter(maps.values()))].astype(float)))
        if not len(rows["subject"]):
            continue
        for name, _, mine in groups_of(table, rows):
            means = {j: over(units(mine), np.mean, mine[c].astype(float)) for j, c in maps.items()}
            found.append(Finding(9, "voxel", f"r with the local error, {part}, {name}", describe(mine), means))
        column = "family" if part == "degraded" else "method"
        for name in dict.fromkeys(rows[column].tolist()):
            mine = take(rows, rows[column] == name)
            means = {j: over(units(mine), np.mean, mine[c].astype(float)) for j, c in maps.items()}
            found.append(Finding(9, "other", f"r with the local error, {name}", describe(mine), means))
        first = metric_names(table)[0]
        for column, what in (
            ("rank r", "rank correlation with the local error"),
            ("sharp r", "r with unsmoothed |error|"),
        ):
            if np.isfinite(rows[column].astype(float)).any():
                mean = {first: over(units(rows), np.mean, rows[column].astype(float))}
                found.append(Finding(9, "other", f"{what}, {part}", describe(rows), mean))
    return found


def _map_of(table: Columns, column: str) -> str | None:
    """Judge, or plain map, whose map a column of correlations belongs to."""
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
    fits = estimators(scores)
    of = {f"isotonic on {n}": n for n in (*scores, *BASELINES)} | {"ridge on classical features": RIDGE}
    found = []
    parts = settings(rows)
    for setting, part in sorted(parts.items(), key=lambda p: p[0] != "all methods"):
        data = describe(part)
        cases = [(False, "")]
        if setting == "all methods" and len(np.unique(part["family"])) > 2:
            cases.append((True, ", masks never fitted on"))
        for leave, suffix in cases:
            usable = [n for n, j in of.items() if j == RIDGE or np.isfinite(part[j].astype(float)).any()]
            every = {of[n]: predict(part, fits[n], n, leave_family=leave) for n in usable}
            measures = ("top1", "mae") if setting == "all methods" and not leave else ("other", "other")
            top1 = {j: Estimate(p.top1, *p.top1_interval) for j, p in every.items()}
            mae = {j: Estimate(p.mae, *p.mae_interval) for j, p in every.items()}
            found.append(Finding(10, measures[0], f"nearest R is right, {setting}{suffix}", data, top1, form=".2f"))
            found.append(Finding(10, measures[1], f"MAE of R, {setting}{suffix}", data, mae, rises=False, form=".2f"))
    expected = rows["acceleration_expected"].astype(float)
    if np.isfinite(expected).any():
        mae = over(units(rows), np.mean, np.abs(expected - rows["effective_acceleration"]))
        what = "MAE of effective R by the shipped calibration, inside its domain"
        found.append(Finding(10, "other", what, describe(rows), {names[0]: mae}, rises=False, form=".2f"))
    return found


def reads_jpeg(table: Columns) -> list[Finding]:
    """Claim 11."""
    rows = held_out(table, "jpeg")
    found = []
    readers = [name for name in metric_names(table) if name.startswith("score ")]
    for name in RANGES:
        for grid in GRIDS:
            mine = where(rows, method=name, family=grid)
            if not len(mine["subject"]):
                continue
            data, unit = describe(mine, "patches"), units(mine)
            error = {j: np.abs(mine[j].astype(float) - mine["level"]) for j in (*readers, "lattice")}
            mae = {j: over(unit, np.mean, e) for j, e in error.items()}
            near = {j: over(unit, np.mean, (e <= CORRECT).astype(float)) for j, e in error.items()}
            found.append(Finding(11, "mae", f"MAE, {name}, {grid}", data, mae, rises=False, form=".2f"))
            found.append(Finding(11, "within 2", f"within ±{CORRECT}, {name}, {grid}", data, near))
            if grid == "aligned":
                # The bar is the estimator's own, whoever is on trial.
                mark = {readers[0]: near["lattice"]}
                found.append(Finding(11, f"lattice {name}", f"lattice estimator within ±{CORRECT}, {name}", data, mark))
    return found


def fast(table: Columns) -> list[Finding]:
    """Claim 12."""
    rows = held_out(table, "speed")
    found = []
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
            found.append(Finding(12, "ms", text, "320×320, median of 20", each, rises=False, form=".1f"))
        else:
            found.append(Finding(12, "change", f"largest change, {what}", "4 slices", each, rises=False, form=".1e"))
    return found
