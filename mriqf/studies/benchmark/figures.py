"""Page of figures of the twelve claims, drawn from the table."""

import itertools
from pathlib import Path
from typing import Any

import numpy as np

from mriqf.studies._frame.drawing import new_figure
from mriqf.studies._frame.table import Columns, where
from mriqf.studies.benchmark.absolute import error_rows, predictions
from mriqf.studies.benchmark.answer import GAPS, gap_curve
from mriqf.studies.benchmark.bars import COVERAGE, GAP
from mriqf.studies.benchmark.cases import FLAWS
from mriqf.studies.benchmark.evidence import (
    RIDGE,
    describe,
    groups_of,
    held_out,
    known_mean,
    label,
    metric_names,
    pooled,
    prepare,
    take,
)
from mriqf.studies.benchmark.gallery import draw_failures
from mriqf.studies.benchmark.metrics import PLAIN_MAPS

LEAST = 5e-3  # of the errors drawn
METHODS = {"zero-filled": "tab:gray", "cg-sense": "tab:blue", "l1-wavelet": "tab:orange", "modl": "tab:green"}
COLOURS = (*(f"C{k}" for k in range(10)), "black", "gold", "navy")
DOTS = 500
"""Most intervals of a calibration that are drawn, so that single ones can be seen."""


def draw_claims(table: Columns, path: Path) -> None:
    """Score against NRMSE by family and by method, order, calibration, and places."""
    prepared = prepare(table)
    figure = new_figure(15, 9.4)
    axes = figure.subplots(2, 3)
    _families(axes[0, :2], prepared)
    _methods(axes[0, 2], prepared)
    _order(axes[1, 0], prepared)
    _calibration(axes[1, 1], prepared)
    _places(axes[1, 2], prepared)
    for axis in axes.flat:
        axis.grid(alpha=0.3, which="both" if axis.get_xscale() == "log" else "major")
        if not axis.has_data():
            axis.text(0.5, 0.5, "not measured", ha="center", transform=axis.transAxes)
    figure.savefig(path, dpi=110, format="png")


def _families(axes: Any, table: Columns) -> None:
    """The first set that trained by family of degradation; those that did not, by set."""
    rows, trial = held_out(table, "degraded"), metric_names(table)[0]
    groups = list(groups_of(table, rows))[1:] if len(rows["nrmse"]) else []
    seen = [(name, part) for name, kind, part in groups if kind == "seen"]
    unseen = [part for _, kind, part in groups if kind == "unseen"]
    for name, part in seen[:1]:
        _scatter(axes[0], trial, part, "family")
        axes[0].set_title(f"{name}: {describe(part)}\npooled ρ = {-pooled(part, trial).value:+.3f}", fontsize=9.5)
    if unseen:
        part = take(rows, np.isin(rows["dataset"], [p["dataset"][0] for p in unseen]))
        _scatter(axes[1], trial, part, "dataset")
        mean = np.nanmean([-pooled(p, trial).value for p in unseen])
        axes[1].set_title(f"unseen: {describe(part)}\nmean ρ of sets = {mean:+.3f}", fontsize=9.5)


def _scatter(axis: Any, trial: str, rows: Columns, column: str) -> None:
    for k, name in enumerate(dict.fromkeys(rows[column].tolist())):
        selected = where(rows, **{column: name})
        axis.plot(
            np.maximum(selected["nrmse"], LEAST), selected[trial], ".", markersize=3, alpha=0.7,
            color=COLOURS[k % len(COLOURS)], label=f"{name} ({-pooled(selected, trial).value:+.2f})",
        )  # fmt: skip
    axis.set(xscale="log", xlabel="NRMSE in the object", ylabel=f"{label(trial)}, 0–100")
    what = "set" if column == "dataset" else column
    axis.legend(fontsize=7, markerscale=3, ncols=2, title=f"{what} (ρ)", title_fontsize=7)


def _methods(axis: Any, table: Columns) -> None:
    rows, trial = held_out(table, "recon"), metric_names(table)[0]
    for k, method in enumerate(dict.fromkeys(rows["method"].tolist())):
        selected = where(rows, method=method)
        rho = pooled(selected, trial).value
        axis.plot(
            np.maximum(selected["nrmse"], LEAST), selected[trial], ".", markersize=3, alpha=0.6,
            color=METHODS.get(method, f"C{k}"), label=f"{method} ({-rho:+.2f})",
        )  # fmt: skip
    if len(rows["nrmse"]):
        axis.set(xscale="log", xlabel=f"NRMSE in the object (at least {LEAST:g})", ylabel=f"{label(trial)}, 0–100")
        axis.legend(fontsize=7, markerscale=3, title="method (ρ)", title_fontsize=7)
    axis.set_title(f"reconstructions over R: {len(rows['nrmse'])} images", fontsize=9.5)


def _order(axis: Any, table: Columns) -> None:
    trial, *others = metric_names(table)
    curves = {j: gap_curve(table, "degraded", j) for j in (trial, *others)}
    curves = {j: {name: share for name, _, share in curve} for j, curve in curves.items() if curve}
    if not curves:
        axis.set_title("adjacent levels ranked right", fontsize=9.5)
        return
    names = [f"{a:g}–{b:g}" if np.isfinite(b) else f"≥ {a:g}" for a, b in itertools.pairwise(GAPS)]
    names = [n for n in names if any(n in c for c in curves.values())]
    styles = {trial: {"color": "black", "linewidth": 2.2}, RIDGE: {"color": "tab:red", "linestyle": "--"}}
    for metric, curve in curves.items():
        known = [(k, curve[n]) for k, n in enumerate(names) if n in curve]
        named = metric == RIDGE or metric.startswith(("score ", "control "))
        plain = {"color": "0.8", "linewidth": 1} if not named else {}
        text = "ridge on the eight" if metric == RIDGE else label(metric)
        axis.plot(
            *zip(*known, strict=True),
            marker="o",
            markersize=3,
            label=text if named else None,
            **styles.get(metric, plain),
        )
    axis.plot([], [], color="0.8", label="eight classical measures")
    axis.axhline(0.95, color="tab:green", linewidth=1, linestyle=":", label=f"bar, from {GAP:g} on")
    axis.axhline(0.5, color="0.5", linewidth=1, linestyle=":", label="chance")
    axis.set(xlabel="gap in NRMSE of adjacent levels", ylabel="share ranked right", ylim=(0, 1.02))
    axis.set_xticks(range(len(names)), names, rotation=25, fontsize=7)
    axis.set_title("monotone: adjacent levels of one slice and family", fontsize=9.5)
    axis.legend(fontsize=7, loc="lower right")


def _calibration(axis: Any, table: Columns) -> None:
    rows, trial = error_rows(table), metric_names(table)[0]
    expected = predictions(table).get(trial)
    axis.set_title("expected and true NRMSE, 90 % intervals", fontsize=9.5)
    if expected is None or not np.isfinite(expected.nrmse).any():
        return
    inside = np.where(
        np.isfinite(expected.low), (expected.low <= rows["nrmse"]) & (rows["nrmse"] <= expected.high), np.nan
    )
    datasets = list(dict.fromkeys(rows["dataset"].tolist()))
    for k, dataset in enumerate(datasets):
        selected = np.flatnonzero((rows["dataset"] == dataset) & np.isfinite(expected.nrmse))
        if not len(selected):
            continue
        share = np.nanmean(inside[selected]) if np.isfinite(inside[selected]).any() else np.nan
        few = selected[:: max(1, len(selected) * len(datasets) // DOTS)]
        x, true = expected.nrmse[few], np.maximum(rows["nrmse"][few], LEAST)
        axis.plot(
            x,
            true,
            ".",
            markersize=4,
            color=COLOURS[k % len(COLOURS)],
            label=f"{dataset}: {100 * share:.0f} %",
            zorder=3,
        )
    known = np.flatnonzero(np.isfinite(expected.low))
    order = known[np.argsort(expected.nrmse[known], kind="stable")]
    if len(order):
        x = np.maximum(expected.nrmse[order], LEAST)
        bounds = (np.maximum(end[order], LEAST) for end in (expected.low, expected.high))
        axis.fill_between(x, *bounds, color="0.85", linewidth=0, label="interval")
    ends = [LEAST, 1.0]
    axis.plot(ends, ends, color="black", linewidth=1)
    axis.set(
        xscale="log", yscale="log", xlabel="expected NRMSE", ylabel=f"true NRMSE (at least {LEAST:g})", xlim=(LEAST, 1)
    )
    axis.legend(fontsize=7, title=f"coverage by set (asked: {100 * COVERAGE:g} %)", title_fontsize=7, markerscale=2)


def _places(axis: Any, table: Columns) -> None:
    rows = held_out(table, "local")
    names = [c.removeprefix("auroc ") for c in table if c.startswith("auroc ")]
    axis.set_title(f"finds a flaw in one quadrant: {len(rows['subject'])} images", fontsize=9.5)
    kinds = [k for k in FLAWS if k in rows["family"]]
    if not kinds:
        return
    width = 0.8 / len(names)
    for k, name in enumerate(names):
        means = [known_mean(where(rows, family=kind)[f"auroc {name}"]) for kind in kinds]
        place = np.arange(len(kinds)) + width * (k + 0.5) - 0.4
        colour = {"color": "0.6" if name == PLAIN_MAPS[0] else "0.8"} if name in PLAIN_MAPS else {}
        axis.bar(place, means, width, label=name + (" (no quality)" if name in PLAIN_MAPS else ""), **colour)
    axis.axhline(0.85, color="tab:green", linewidth=1, linestyle=":", label="bar")
    axis.axhline(0.5, color="0.3", linewidth=1, linestyle=":", label="chance")
    axis.set(ylabel="AUROC of the map, in the object", ylim=(0, 1.3))
    axis.set_xticks(range(len(kinds)), kinds, fontsize=8)
    axis.legend(fontsize=7, ncols=3, loc="upper center")


FIGURES = (("claims.png", draw_claims), ("failures.png", draw_failures))
