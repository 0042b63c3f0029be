"""Figures of the arms, overall and by family."""

from pathlib import Path

import numpy as np

from mriqf.studies._frame.drawing import new_figure
from mriqf.studies._frame.table import Columns, where
from mriqf.studies.transfer.answer import UNSEEN, correlation, datasets, families
from mriqf.studies.transfer.arms import CONTROLS, PRETEXT, PRETRAINED, SCRATCH, TWICE


def draw_arms(table: Columns, path: Path) -> None:
    """Pooled correlation of every seed, and of the controls, for each test set."""
    names, order = datasets(table), (SCRATCH, TWICE, PRETRAINED, PRETEXT, *CONTROLS)
    figure = new_figure(4.2 * len(names), 3.6)
    axes = figure.subplots(1, len(names), sharey=True, squeeze=False)[0]
    for axis, name in zip(axes, names, strict=True):
        for place, arm in enumerate(order):
            chosen = where(table, arm=arm, dataset=name)
            each = [correlation(chosen, arm, float(s)) for s in np.unique(chosen["seed"])]
            axis.plot([place] * len(each), each, "o", color=f"C{place}", alpha=0.7)
        axis.axhline(0, color="0.7", lw=0.8)
        axis.set_xticks(range(len(order)), order, rotation=35, ha="right")
        axis.set_title(f"{name}: {len(np.unique(where(table, dataset=name)['example']))} images", fontsize=10)
    axes[0].set_ylabel("ρ of predicted and true NRMSE,\none point a seed")
    figure.savefig(path, dpi=110, format="png")


def draw_families(table: Columns, path: Path) -> None:
    """Correlation in each family: trained on, never trained on, JPEG alone."""
    names, order = datasets(table), families(table)
    figure = new_figure(4.6 * len(names), 4.2)
    axes = figure.subplots(1, len(names), sharey=True, sharex=True, squeeze=False)[0]
    for axis, name in zip(axes, names, strict=True):
        for arm, marker, label in (
            (SCRATCH, "o", "trained on it"),
            ("without-{}", "x", "never trained on it"),
            (PRETEXT, "|", "JPEG alone"),
        ):
            each = [correlation(table, arm.format(f), dataset=name, family=f) for f in order]
            axis.plot(each, range(len(order)), marker, label=label, ms=7)
        axis.axvline(UNSEEN, color="0.7", lw=0.8)
        axis.set_yticks(range(len(order)), order)
        axis.set_xlabel("ρ of predicted and true NRMSE in the family")
        axis.set_title(name, fontsize=10)
    axes[0].invert_yaxis()
    axes[0].legend(fontsize=8, loc="lower left")
    figure.savefig(path, dpi=110, format="png")


FIGURES = [("arms.png", draw_arms), ("families.png", draw_families)]
