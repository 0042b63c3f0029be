"""Figures from the table and the stored pictures; the same input gives the same file."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from mriqf.studies._frame.drawing import new_figure
from mriqf.studies._frame.table import Columns
from mriqf.studies.jpeg_report.loss.answer import FIGURES, arm_rows, by_restorer, change, lams, tuned
from mriqf.studies.jpeg_report.loss.arms import INPUT, OWN, START
from mriqf.studies.jpeg_report.loss.measure import JPEG, NAN

SHOWN = ("psnr", "ssim", "score", "judge", "hue", "outside")
HELD = {INPUT: "held to the input", OWN: "held to its own output"}


def draw_curves(columns: Columns, path: Path) -> None:
    """Change of each figure from the network before fine-tuning, with 95 % intervals, over λ; guards at their λ."""
    tables = by_restorer(columns)
    figure = new_figure(3.3 * len(SHOWN), 0.5 + 3.0 * len(tables))
    axes = figure.subplots(len(tables), len(SHOWN), squeeze=False)
    for row, ((kind, network), table) in zip(axes, tables.items(), strict=True):
        weights = sorted({lam for _, lam in tuned(table)})
        guards = [arm for arm in tuned(table) if arm[0] not in HELD]
        for ax, name in zip(row, SHOWN, strict=True):
            if not np.isfinite(table[name]).any():
                ax.set_axis_off()
                continue
            for held, label in HELD.items():
                values = np.array([change(table, name, (held, lam), (START, NAN)) for lam in lams(table, held)])
                if len(values):
                    bars = np.nan_to_num(np.abs(values[:, 1:] - values[:, :1]).T)
                    places = [weights.index(lam) for lam in lams(table, held)]
                    ax.errorbar(places, values[:, 0], bars, fmt="o-", ms=4, capsize=3, label=label)
            for k, (arm, lam) in enumerate(guards):
                value = change(table, name, (arm, lam), (START, NAN))[0]
                ax.plot(
                    weights.index(lam) + 0.06 * (k - len(guards) / 2), value, "x", ms=5, color=f"C{k + 2}", label=arm
                )
            ax.axhline(0, color="0.3", lw=1)
            jpeg = change(table, name, (JPEG, NAN), (START, NAN))[0]
            ax.axhline(jpeg, color="0.3", ls=":", lw=1, label="JPEG")
            ax.set_xticks(range(len(weights)), [f"{lam:g}" for lam in weights])
            ax.set(xlabel="λ, weight of the score", ylabel=f"Δ {FIGURES[name][0]}")
            ax.grid(alpha=0.3)
        n = len(arm_rows(table, JPEG)["psnr"])
        row[0].set_title(f"{kind}, {network}: n = {n} JPEG images", fontsize=9, loc="left")
        ends = row[-1].get_legend_handles_labels()
        row[-1].legend(*ends, fontsize=7, loc="upper left", bbox_to_anchor=(1.02, 1.0))
    figure.suptitle(
        "Mean change from the network before fine-tuning, the same images, and its 95 % interval over subjects",
        fontsize=10,
    )
    figure.savefig(path, dpi=110, format="png")


def draw_pictures(pictures: Mapping[str, np.ndarray], path: Path) -> None:
    """Truth, JPEG and every arm: a row for each image and network, a column for each arm."""
    names = list(dict.fromkeys(name.rpartition("/")[0] for name in pictures))
    columns = list(dict.fromkeys(name.rpartition("/")[2] for name in pictures))
    figure = new_figure(1.5 * len(columns), 1.7 * len(names))
    axes = figure.subplots(len(names), len(columns), squeeze=False)
    for row, name in zip(axes, names, strict=True):
        for ax, arm in zip(row, columns, strict=True):
            ax.set(xticks=[], yticks=[])
            if f"{name}/{arm}" in pictures:  # some guards are for colours alone
                ax.imshow(pictures[f"{name}/{arm}"], cmap="gray", vmin=0, vmax=255, interpolation="nearest")
        row[0].set_ylabel(name.replace("/", "\n", 1), fontsize=7)
    for ax, arm in zip(axes[0], columns, strict=True):
        ax.set_title({"jpeg": "JPEG", "start": "before"}.get(arm, arm), fontsize=8)
    figure.savefig(path, dpi=110, format="png")
