"""Claims 1 to 3: the score follows the error within a slice, across subjects, and across families of degradation."""

from dataclasses import replace

import numpy as np

from mriqf.metrics.correlation import srcc
from mriqf.metrics.reference_free import BASELINES
from mriqf.studies._frame.statistics import by_group, group_rows
from mriqf.studies._frame.table import Columns, where
from mriqf.studies.benchmark.bars import ANATOMIES, LEARNED
from mriqf.studies.benchmark.evidence import (
    SLICE,
    UNKNOWN,
    Estimate,
    Finding,
    curves_of,
    describe,
    goodness,
    groups_of,
    held_out,
    metric_names,
    over,
    pooled,
    take,
    units,
    unseen_mean,
)  # fmt: skip
from mriqf.studies.benchmark.plan import AS_IS
from mriqf.studies.jpeg_report.acceleration.answer import CURVE


def within_slice(table: Columns) -> list[Finding]:
    """Claim 1."""
    rows = held_out(table, "recon")
    curve = curves_of(rows) if len(rows["nrmse"]) else rows
    if not len(curve["nrmse"]):
        return []
    keys = [curve[name] for name in ("dataset", *CURVE, "method")]
    first = [g[0] for g in group_rows(keys)]
    heads = take(curve, np.array(first))
    rho = {}
    for metric in metric_names(table):
        values = -by_group(srcc, keys, curve[metric].astype(float), curve["nrmse"])
        rho[metric] = -values if metric in BASELINES and np.nanmean(np.append(values, 0)) < 0 else values
    parts = [("all methods", np.ones(len(first), bool))]
    parts += [(name, heads["method"] == name) for name in dict.fromkeys(heads["method"].tolist())]
    parts += [(name, heads["dataset"] == part["dataset"][0]) for name, _, part in list(groups_of(table, heads))[1:]]
    findings = []
    for name, selected in parts:
        part = take(heads, selected)
        data, unit = describe(part, "curves"), units(part)
        mean = {m: over(unit, np.mean, r[selected]) for m, r in rho.items()}
        gain = {m: over(unit, np.mean, (r - rho["efc"])[selected]) for m, r in rho.items()}
        findings += [
            Finding(1, "mean" if name == "all methods" else "other", f"mean, {name}", data, mean),
            Finding(1, "above EFC", f"mean above EFC's, {name}", data, gain),
        ]
    least = {m: Estimate(_least(r)) for m, r in rho.items()}
    return [*findings, Finding(1, "least", "least of all curves", describe(heads, "curves"), least)]


def _least(values: np.ndarray) -> float:
    known = values[np.isfinite(values)]
    return float(known.min()) if known.size else UNKNOWN


def across_subjects(table: Columns) -> list[Finding]:
    """Claim 2."""
    rows = held_out(table, "recon")
    if not len(rows["nrmse"]):
        return []
    findings = _by_set(2, table, rows, "")
    for method in dict.fromkeys(rows["method"].tolist()):
        alone = _by_set(2, table, where(rows, method=method), f"{method} alone, ")
        measure = "learned" if method in LEARNED else "other"
        findings += [replace(f, measure=measure if f.measure == "all" else "other") for f in alone]
    return findings


def _by_set(number: int, table: Columns, rows: Columns, what: str) -> list[Finding]:
    """Pooled correlations of all rows, of each set, and their mean over unseen sets."""
    findings = [
        Finding(number, kind, f"{what}{name}", describe(part), {m: pooled(part, m) for m in metric_names(table)})
        for name, kind, part in groups_of(table, rows)
    ]
    unseen = [f for f in findings if f.measure == "unseen"]
    new = [f for f in unseen if f.what.removeprefix(what).startswith(ANATOMIES)]
    return [
        *findings,
        *unseen_mean(number, "unseen mean", f"{what}mean of unseen sets", unseen),
        *unseen_mean(number, "other", f"{what}mean of unseen anatomies ({', '.join(ANATOMIES)})", new),
    ]


def across_families(table: Columns) -> list[Finding]:
    """Claim 3."""
    rows = held_out(table, "degraded")
    if not len(rows["nrmse"]):
        return []
    names = metric_names(table)
    findings = _by_set(3, table, rows, "all families, ")
    families = list(dict.fromkeys(rows["family"].tolist()))
    for family in families:
        findings += _family(table, where(rows, family=family), family)
    as_is = held_out(table, AS_IS)
    for family in dict.fromkeys(as_is["family"].tolist()):
        findings += _family(table, where(as_is, family=family), f"{family} with the empty rim of k-space")
    for family in families:
        selected = where(rows, family=family)
        keys = [selected[name] for name in (*SLICE, "seed")]
        unit = units(take(selected, np.array([g[0] for g in group_rows(keys)])))
        shares = {}
        for metric in names:
            rho = -by_group(srcc, keys, goodness(selected, metric), selected["nrmse"])
            shares[metric] = over(unit, np.mean, np.where(np.isfinite(rho), (rho > 0).astype(float), UNKNOWN))
        findings.append(
            Finding(3, "sign", f"slices with the right sign, {family}", describe(selected), shares, form=".2f")
        )
    for column in (name for name in table if name.startswith("left-out ")):
        family = column.removeprefix("left-out ")
        for name, _, part in groups_of(table, rows):
            selected = where(part, family=family)
            if len(selected["nrmse"]) and np.isfinite(selected[column]).any():
                mark = {names[0]: pooled(selected, column)} | {m: pooled(selected, m) for m in names[1:]}
                findings.append(
                    Finding(3, "left out", f"{family} by a network never shown it, {name}", describe(selected), mark)
                )
    return findings


def _family(table: Columns, rows: Columns, family: str) -> list[Finding]:
    """One family across the subjects of seen sets, and its mean over unseen ones."""
    findings, unseen = [], []
    for name, kind, part in list(groups_of(table, rows))[1:]:
        if kind == "seen":
            figures = {m: pooled(part, m) for m in metric_names(table)}
            findings.append(Finding(3, "family", f"{family}, {name}", describe(part), figures))
        else:
            values = {m: Estimate(-srcc(goodness(part, m), part["nrmse"])) for m in metric_names(table)}
            unseen.append(Finding(3, "family", name, describe(part), values))
    return findings + unseen_mean(3, "family", f"{family}, mean of unseen sets", unseen)


def family_of_sets(table: Columns, metric: str) -> tuple[list[str], dict[str, list[float]]]:
    """Sets, and of each family of degradation a metric's correlation in each of them."""
    rows, as_is = held_out(table, "degraded"), held_out(table, AS_IS)
    datasets = list(dict.fromkeys(rows["dataset"].tolist()))

    def line(rows: Columns, family: str) -> list[float]:
        parts = [where(rows, family=family, dataset=dataset) for dataset in datasets]
        return [-srcc(goodness(p, metric), p["nrmse"]) if len(p["nrmse"]) else UNKNOWN for p in parts]

    lines = {family: line(rows, family) for family in dict.fromkeys(rows["family"].tolist())}
    lines |= {f"{family}, with the rim": line(as_is, family) for family in dict.fromkeys(as_is["family"].tolist())}
    return datasets, lines
