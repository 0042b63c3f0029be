"""Figures, from the table and the kept pictures alone: the same input gives the same file."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from mriqf.studies.loss.answer import CONTROL, FIGURES, arm_rows, by_restorer, change, lams
from mriqf.studies.loss.measure import JPEG, NAN, PRETRAINED, TUNED
from mriqf.studies.table import Columns

SHOWN = ("psnr", "ssim", "score", "hue")


def draw_curves(columns: Columns, path: Path) -> None:
    """Change of each figure from λ = 0, with 95 % intervals; lines for JPEG images and the pre-trained network."""
    from matplotlib.figure import Figure

    found = by_restorer(columns)
    figure = Figure(figsize=(3.3 * len(SHOWN), 0.5 + 3.0 * len(found)), layout="constrained")
    axes = figure.subplots(len(found), len(SHOWN), squeeze=False)
    for row, ((kind, network), table) in zip(axes, found.items(), strict=True):
        for ax, name in zip(row, SHOWN, strict=True):
            if not np.isfinite(table[name]).any():
                ax.set_axis_off()
                continue
            values = np.array([change(table, name, (TUNED, lam), CONTROL) for lam in lams(table)])
            places = np.arange(len(values))
            bars = np.nan_to_num(np.abs(values[:, 1:] - values[:, :1]).T)
            ax.errorbar(places, values[:, 0], bars, fmt="o-", ms=4, capsize=3, label="fine-tuned")
            for arm, style, label in ((PRETRAINED, "--", "pre-trained"), (JPEG, ":", "JPEG")):
                ax.axhline(change(table, name, (arm, NAN), CONTROL)[0], color="0.3", ls=style, lw=1, label=label)
            ax.set_xticks(places, [f"{lam:g}" for lam in lams(table)])
            ax.set(xlabel="λ, weight of the score", ylabel=f"Δ {FIGURES[name][0]}")
            ax.grid(alpha=0.3)
        n = len(arm_rows(table, JPEG)["psnr"])
        row[0].set_title(f"{kind}, {network}: n = {n} JPEG images", fontsize=9, loc="left")
        row[0].legend(fontsize=8)
    figure.suptitle("Mean change from λ = 0, the same images, and its 95 % interval over subjects", fontsize=10)
    figure.savefig(path, dpi=110, format="png")


def draw_pictures(pictures: Mapping[str, np.ndarray], path: Path) -> None:
    """Truth, JPEG, pre-trained and fine-tuned: a row for each image and network, a column for each arm."""
    from matplotlib.figure import Figure

    names = list(dict.fromkeys(name.rpartition("/")[0] for name in pictures))
    columns = list(dict.fromkeys(name.rpartition("/")[2] for name in pictures))
    figure = Figure(figsize=(2.2 * len(columns), 2.35 * len(names)), layout="constrained")
    axes = figure.subplots(len(names), len(columns), squeeze=False)
    for row, name in zip(axes, names, strict=True):
        for ax, arm in zip(row, columns, strict=True):
            ax.imshow(pictures[f"{name}/{arm}"], cmap="gray", vmin=0, vmax=255, interpolation="nearest")
            ax.set(xticks=[], yticks=[])
        row[0].set_ylabel(name.replace("/", "\n", 1), fontsize=8)
    for ax, arm in zip(axes[0], columns, strict=True):
        ax.set_title(
            {"jpeg": "JPEG", "pretrained": "pre-trained", "truth": "truth"}.get(arm, f"λ = {arm}"), fontsize=10
        )
    figure.savefig(path, dpi=110, format="png")
