"""Report of the twelve claims in markdown, from the table alone."""

import itertools
from collections.abc import Callable, Sequence

import numpy as np

from mriqf.studies._frame import reporting
from mriqf.studies._frame.table import Columns
from mriqf.studies.benchmark.absolute import absolute, intervals, remarks
from mriqf.studies.benchmark.bars import CLAIMS, GAP, Claim
from mriqf.studies.benchmark.evidence import (
    RIDGE,
    Finding,
    describe,
    goodness,
    held_out,
    known_mean,
    label,
    metric_names,
    prepare,
    take,
)
from mriqf.studies.benchmark.order import better_reconstruction, monotone, steps
from mriqf.studies.benchmark.tracking import across_families, across_subjects, family_of_sets, within_slice
from mriqf.studies.benchmark.uses import false_alarms, localises, predicts_rate, reads_jpeg, speed

EVIDENCE: Sequence[Callable[[Columns], list[Finding]]] = (
    within_slice, across_subjects, across_families, monotone, better_reconstruction, absolute, intervals,
    false_alarms, localises, predicts_rate, reads_jpeg, speed,
)  # fmt: skip
COMPARED = ("all", "seen", "unseen mean", "unseen", "pairs", "degraded")
"""Measures in which the tested score is compared with the best classical measure."""
GAPS = (0.0, 0.0025, 0.005, 0.01, 0.02, 0.04, 0.08, float("inf"))
"""Edges in NRMSE of the bins of claim 4's curve."""


def findings(table: Columns) -> list[Finding]:
    """Figures of all claims; none for a claim whose part was not measured."""
    prepared = prepare(table)
    return [finding for evidence in EVIDENCE for finding in evidence(prepared)]


def answer(table: Columns) -> str:
    """Report in markdown."""
    prepared = prepare(table)
    everything = findings(table)
    trial = metric_names(prepared)[0]
    splits = ", ".join(s for s in dict.fromkeys(table["split"].tolist()) if s != "train")
    lines = [
        "# Twelve claims",
        "",
        f"On trial: {label(trial)}; tested on the {splits} part. {_rules()}",
        "",
        _summary(everything, trial),
        "",
    ]
    for claim in CLAIMS:
        selected = [f for f in everything if f.claim == claim.number]
        lines += [f"## {claim.number}. It {claim.text}", "", f"{claim.protocol[0].upper()}{claim.protocol[1:]}.", ""]
        lines += [_table(selected, prepared) if selected else "Not measured."]
        lines += ["", *_notes(claim, selected, prepared)]
    lines += ["## Where the score rises", "", *_rises(prepared, trial)]
    return "\n".join(lines)


def _rules() -> str:
    return (
        "Bars were fixed before the first run. Brackets: 95 % intervals, bootstrapped over "
        "subjects, or over slices where a set has fewer than three subjects (none where there are fewer than "
        "three of those), or over sets. Predictors are held to their sign; classical measures get the sign that suits "
        "the rows best, "
        "and ridge on all eight is fitted to log NRMSE of training subjects. Apart: whether the interval of the one on "
        "trial lies on the good side of that of the best classical measure."
    )


def _summary(everything: Sequence[Finding], trial: str) -> str:
    rows = []
    for claim in CLAIMS:
        selected = [f for f in everything if f.claim == claim.number]
        apart = [f.separated(trial) for f in selected if f.measure in COMPARED]
        known = [a for a in apart if a is not None]
        cell = f"{sum(known)} of {len(known)}" if known else ""
        rows.append((f"{claim.number} {claim.text}", _overall(selected, trial), cell))
    return reporting.markdown_table(("claim", "bars", "above the best classical measure, intervals apart"), rows)


def _overall(mine: Sequence[Finding], trial: str) -> str:
    """`holds` if every figure with a bar passes; otherwise the number and names of those that fail."""
    verdicts = [(f.what, f.verdict(trial)) for f in mine if f.bar is not None]
    asked = [(what, v) for what, v in verdicts if v != "not measured"]
    if not asked:
        return "not measured"
    failed = [what for what, v in asked if v != "holds"]
    if not failed:
        return f"holds ({len(asked)} of {len(asked)})"
    named = "; ".join(failed[:4]) + ("; …" if len(failed) > 4 else "")
    return f"**fails** in {len(failed)} of {len(asked)}: {named}"


def _table(mine: Sequence[Finding], table: Columns) -> str:
    """Table of a claim: a line for each figure, a column for each metric."""
    trial, *others = metric_names(table)
    extra = [m for f in mine for m in f.estimates if m not in (trial, *others)]
    columns = [m for m in (*others, *dict.fromkeys(extra)) if any(m in f.estimates for f in mine)]
    names = ["ridge on the eight" if m == RIDGE else label(m) for m in columns]
    head = ["what", "data", label(trial), "bar", "best classical measure", "apart", *names]
    rows = []
    for f in mine:
        figure = f.estimates.get(trial)
        verdict = f"{f.bar}: {f.verdict(trial)}" if f.bar is not None else ""
        best, apart = f.best_baseline(), {True: "yes", False: "no", None: ""}[f.separated(trial)]
        named = "" if best is None else f"{label(best)} {f.estimates[best].text(f.form)}"
        cells = [f.estimates[m].text(f.form) if m in f.estimates else "" for m in columns]
        own = "—" if figure is None else f"**{figure.text(f.form)}**"
        rows.append([f.what, f.data, own, verdict, named, apart, *cells])
    return reporting.markdown_table(head, rows)


def _notes(claim: Claim, mine: Sequence[Finding], table: Columns) -> list[str]:
    """Notes on the figures of a claim."""
    if claim.number == 3 and mine:
        datasets, lines = family_of_sets(table, metric_names(table)[0])
        rows = [(family, *("—" if np.isnan(v) else f"{v:.2f}" for v in values)) for family, values in lines.items()]
        return ["Each family in each set:", "", reporting.markdown_table(("family", *datasets), rows), ""]
    if claim.number == 4:
        return [*gap_table(table), ""]
    if claim.number == 6 and mine:
        return [*remarks(table), ""]
    if claim.number == 9:
        return [
            "A missing lesion leaves no trace in the image: no map without a reference can find it, and `mriqf check`, "
            "which has k-space, is the place to ask. It is in the table without a bar, as is an invented lesion. Maps "
            "named intensity and gradient are the smoothed image and its smoothed gradient: they know nothing of "
            "errors.",
            "",
        ]
    if claim.number in (11, 12):
        return [*_others(mine, table), ""]
    return []


def _others(mine: Sequence[Finding], table: Columns) -> list[str]:
    """Overall figures of the other weights."""
    lines = []
    for metric in metric_names(table)[1:]:
        known = [f for f in mine if metric in f.estimates and metric.startswith("score ")]
        if known:
            lines += ["", f"{label(metric)}: {_overall(known, metric)}."]
    return lines


def gap_curve(table: Columns, part: str, metric: str) -> list[tuple[str, int, float]]:
    """Share of adjacent levels ranked right, between steps of the gap of their NRMSE: bounds, pairs, share."""
    rows, pairs = steps(table, part)
    if not len(pairs.gap):
        return []
    right, gap = pairs.right(goodness(rows, metric)), np.abs(pairs.gap)
    shares = []
    for low, high in itertools.pairwise(GAPS):
        inside = (gap >= low) & (gap < high) & np.isfinite(right)
        if inside.any():
            name = f"{low:g}–{high:g}" if np.isfinite(high) else f"≥ {low:g}"
            shares.append((name, int(inside.sum()), float(right[inside].mean())))
    return shares


def gap_table(table: Columns) -> list[str]:
    """The curve against the gap, of all metrics."""
    lines = []
    for part in ("degraded", "recon"):
        curves = {metric: gap_curve(table, part, metric) for metric in metric_names(table)}
        curves = {metric: curve for metric, curve in curves.items() if curve}
        if not curves:
            continue
        bounds = [name for name, _, _ in next(iter(curves.values()))]
        lines += ["", f"By the gap in NRMSE, {part} (pairs of the first metric; the bar asks from {GAP:g} on):", ""]
        rows = []
        for number, (metric, curve) in enumerate(curves.items()):
            known = {name: f"{share:.2f}" + (f" ({n})" if number == 0 else "") for name, n, share in curve}
            rows.append((label(metric), *(known.get(b, "—") for b in bounds)))
        lines.append(reporting.markdown_table(("metric", *bounds), rows))
    return lines


def rises(table: Columns, metric: str) -> list[tuple[str, float, float, float, float]]:
    """Levels at which a metric's mean score rises although the mean error does too.

    Returns
    -------
    list
        Metric, data, the two levels, the rise of the mean score in points, and the mean NRMSE.
    """
    steps_up = []
    for part, column in (("degraded", "family"), ("recon", "method")):
        rows, _ = steps(table, part)
        for dataset in dict.fromkeys(rows["dataset"].tolist()):
            for name in dict.fromkeys(rows[column].tolist()):
                selected = take(rows, (rows["dataset"] == dataset) & (rows[column] == name))
                levels = np.unique(selected["level"])
                each = [selected["level"] == level for level in levels]
                score, error = ([known_mean(selected[c][e]) for e in each] for c in (metric, "nrmse"))
                for k in range(len(levels) - 1):
                    if score[k + 1] > score[k] and error[k + 1] > error[k]:
                        step = (float(levels[k]), float(levels[k + 1]))
                        steps_up.append((f"{name}, {dataset}", *step, score[k + 1] - score[k], error[k + 1] - error[k]))
    return steps_up


def _rises(table: Columns, trial: str) -> list[str]:
    if not any(len(held_out(table, part)["subject"]) for part in ("degraded", "recon")):
        return ["Not measured."]
    up = sorted(rises(table, trial), key=lambda r: -r[3])
    data = "; ".join(
        f"{part}: {describe(rows)}" for part in ("degraded", "recon") if len((rows := held_out(table, part))["subject"])
    )
    lines = [
        f"Steps of severity or R at which {label(trial)}'s mean score rises although the mean NRMSE does ({data}):",
        "",
    ]
    lines += [
        f"- {name}: from {low:.3g} to {high:.3g} by {points:.2f} points, NRMSE by {error:.4f}"
        for name, low, high, points, error in up
    ] or ["- none"]
    counts = {j: len(rises(table, j)) for j in metric_names(table) if j.startswith(("score ", "control "))}
    lines += ["", "Such steps in all: " + ", ".join(f"{label(j)} {n}" for j, n in counts.items()) + "."]
    return lines
