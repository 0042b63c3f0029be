"""Figures from the table and the stored pictures; the same input gives the same file."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from mriqf.studies._frame.drawing import new_figure
from mriqf.studies._frame.table import Columns
from mriqf.studies.selfsup.answer import BEGIN, FIGURES, HELD_OUT, MEASURED, SUPERVISED, arms, at, change, rates
from mriqf.studies.selfsup.arms import Arm

SHOWN = ("psnr", "ssim", "nrmse", "score", "entropy")
GAIN = 4.0
"""Factor by which errors are shown brighter than images."""


def draw_changes(table: Columns, path: Path) -> None:
    """Change of each figure from the start over the weight of the score: a row for each R."""
    accelerations = rates(table)
    figure = new_figure(3.1 * len(SHOWN), 0.7 + 2.8 * len(accelerations))
    axes = figure.subplots(len(accelerations), len(SHOWN), squeeze=False)
    for row, rate in zip(axes, accelerations, strict=True):
        part = at(table, rate)
        lams = sorted({arm.lam for arm in arms(part)})
        for ax, name in zip(row, SHOWN, strict=True):
            ax.axhline(0, color="0.3", ls=":", lw=1, label="start")
            ax.axhline(change(part, name, SUPERVISED, BEGIN)[0], color="0.3", ls="--", lw=1, label="supervised")
            for base, shift in ((HELD_OUT, -0.05), (MEASURED, 0.05)):
                values = np.array([change(part, name, Arm(base.name, lam), BEGIN) for lam in lams])
                bars = np.nan_to_num(np.abs(values[:, 1:] - values[:, :1]).T)
                places = np.arange(len(lams)) + shift
                ax.errorbar(places, values[:, 0], bars, fmt="o-", ms=4, lw=1.2, capsize=3, label=base.name)
            ax.set_xticks(range(len(lams)), [f"{lam:g}" for lam in lams])
            ax.set(xlabel="λ, weight of the score", ylabel=f"Δ {FIGURES[name][0]}")
            ax.grid(alpha=0.3)
        row[0].set_title(f"R = {rate}", fontsize=10, loc="left")
    axes[0, 0].legend(fontsize=8)
    figure.suptitle(
        f"Mean change from the start, and its 95 % interval over subjects; {table['budget'][0]}", fontsize=10
    )
    figure.savefig(path, dpi=110, format="png")


def draw_pictures(pictures: Mapping[str, np.ndarray], path: Path) -> None:
    """Target and reconstructions of one slice, with the errors below: two rows for each R, a column for each arm."""
    accelerations, names = (list(dict.fromkeys(name.split("/")[k] for name in pictures)) for k in (0, 1))
    figure = new_figure(1.9 * len(names), 0.3 + 3.9 * len(accelerations))
    axes = figure.subplots(2 * len(accelerations), len(names), squeeze=False)
    for k, rate in enumerate(accelerations):
        target = pictures[f"{rate}/{names[0]}"].astype(float)
        for column, name in enumerate(names):
            image = pictures[f"{rate}/{name}"]
            shown = image, GAIN * np.abs(image - target)
            for ax, pixels in zip(axes[2 * k : 2 * k + 2, column], shown, strict=True):
                ax.imshow(pixels, cmap="gray", vmin=0, vmax=255, interpolation="nearest")
                ax.set(xticks=[], yticks=[])
        axes[2 * k, 0].set_ylabel(f"R = {rate}", fontsize=9)
        axes[2 * k + 1, 0].set_ylabel(f"error × {GAIN:g}", fontsize=9)
    for ax, name in zip(axes[0], names, strict=True):
        ax.set_title(name, fontsize=9)
    figure.savefig(path, dpi=110, format="png")
