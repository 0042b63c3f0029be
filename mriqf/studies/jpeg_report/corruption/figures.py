"""Curves of the score against severity, as the report's figure 12."""

from pathlib import Path

import numpy as np

from mriqf.studies._frame.drawing import new_figure
from mriqf.studies._frame.table import Columns
from mriqf.studies.jpeg_report.corruption.answer import curves
from mriqf.studies.jpeg_report.corruption.measure import LEVELS, UNITS


def draw_curves(columns: Columns, path: Path) -> None:
    """A panel for each corruption and each weights: mean over images, and a band of one sd, for every data set."""
    from matplotlib.lines import Line2D

    all_curves = curves(columns)
    weights = list(dict.fromkeys(c.weights for c in all_curves))
    names = list(dict.fromkeys(c.corruption for c in all_curves))
    datasets = list(dict.fromkeys(c.dataset for c in all_curves))
    figure = new_figure(3.2 * len(names), 0.7 + 2.8 * len(weights))
    axes = figure.subplots(len(weights), len(names), squeeze=False, sharey=True)
    for row, name in zip(axes, weights, strict=True):
        for ax, corruption in zip(row, names, strict=True):
            shown = [c for c in all_curves if (c.weights, c.corruption) == (name, corruption)]
            if not shown:
                ax.set_axis_off()
                continue
            levels = np.arange(1 + len(LEVELS[corruption]))
            for c in shown:
                colour = f"C{datasets.index(c.dataset)}"
                ax.plot(levels, c.mean, color=colour, marker=".")
                ax.fill_between(levels, c.mean - c.sd, c.mean + c.sd, color=colour, alpha=0.15, linewidth=0)
            ax.set_xticks(levels[::2], ["none", *(f"{value:g}" for value in LEVELS[corruption][1::2])])
            ax.set_title(UNITS[corruption].split(":")[0], fontsize=10)
            ax.set_xlabel(UNITS[corruption].split(": ")[1])
            ax.set_ylim(0, 105)
            ax.grid(alpha=0.3)
        row[0].set_ylabel(f"{Path(name).stem}: score")
    images = {c.dataset: len(c.score) for c in all_curves}
    labels = [f"{name}, {images[name]} images" for name in datasets]
    lines = [Line2D([], [], color=f"C{k}", marker=".", label=label) for k, label in enumerate(labels)]
    figure.legend(handles=lines, loc="outside lower center", ncols=len(lines))
    figure.suptitle("Score of fixed patches against severity: mean over images, band ± 1 sd")
    figure.savefig(path, dpi=110, format="png")
