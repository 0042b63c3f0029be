"""Figures of the R study, from its table (and the maps of one slice that lie beside it)."""

import itertools
from pathlib import Path
from typing import Any

import numpy as np

from mriqf.studies._frame.drawing import new_figure
from mriqf.studies._frame.table import Columns, where
from mriqf.studies.jpeg_report.acceleration.answer import curves, describe, predictions, scorers, within
from mriqf.studies.jpeg_report.acceleration.prediction import NEEDS_SUBJECTS, enough_subjects

TITLES = {"center": "central patch", "whole": "whole image", "foreground": "foreground"}
LEAST = 5e-3  # of the errors drawn: less is fully sampled k-space against itself
COLOURS = {"zero-filled": "tab:gray", "cg-sense": "tab:blue", "l1-wavelet": "tab:orange", "modl": "tab:green"}


def draw_curves(table: Columns, path: Path) -> None:
    """Score against effective R (the report's Figure 14): central patch, whole image, foreground; mean ± sd."""
    rows = scorers(table)
    figure = new_figure(12.5, 3.4 * len(rows) + 0.4)
    axes = figure.subplots(len(rows), 3, squeeze=False, sharex=True, sharey="row")
    every = curves(table)
    for (i, weights), (j, region) in itertools.product(enumerate(rows), enumerate(TITLES)):
        axis, score = axes[i, j], f"{weights} {region}"
        for method in dict.fromkeys(table["method"].tolist()):
            selected = where(every, method=method)
            nominal = np.unique(selected["acceleration"])
            groups = [where(selected, acceleration=r) for r in nominal]
            rate = np.array([g["effective_acceleration"].mean() for g in groups])
            mean, sd = (np.array([f(g[score]) for g in groups]) for f in (np.mean, np.std))
            (line,) = axis.plot(rate, mean, "o-", markersize=4, color=COLOURS.get(method), label=method)
            axis.fill_between(
                rate,
                np.maximum(mean - sd, 0),
                np.minimum(mean + sd, 100),
                color=line.get_color(),
                alpha=0.12,
                linewidth=0,
            )
        axis.set_title(f"{weights}: {TITLES[region]}", fontsize=10)
        axis.grid(alpha=0.3)
        if i == len(rows) - 1:
            axis.set_xlabel("effective R (mean over families of masks)")
    for axis in axes[:, 0]:
        axis.set_ylabel("score, 0–100")
    axes[0, -1].legend(fontsize=8)
    figure.suptitle(f"Mean ± sd over slices, masks and seeds. {describe(table)}", fontsize=9)
    figure.savefig(path, dpi=110, format="png")


def draw_errors(table: Columns, path: Path) -> None:
    """Score of the foreground against NRMSE: one dot an image, a colour for each method."""
    names = scorers(table)
    columns = min(len(names), 3)
    rows = -(-len(names) // columns)
    figure = new_figure(4.6 * columns + 0.5, 4.0 * rows + 0.2)
    axes = list(figure.subplots(rows, columns, squeeze=False).flat)
    for axis in axes[len(names) :]:
        axis.set_axis_off()
    for axis, weights in zip(axes, names, strict=False):
        for method in dict.fromkeys(table["method"].tolist()):
            selected = where(table, method=method)
            rho = within(curves(selected), f"{weights} foreground", "nrmse")[0]
            axis.plot(
                np.maximum(selected["nrmse"], LEAST), selected[f"{weights} foreground"],
                ".", markersize=3, alpha=0.6, color=COLOURS.get(method),
                label=f"{method} (within a slice ρ = {rho:+.2f})",
            )  # fmt: skip
        axis.set(
            xlabel=f"NRMSE in the object (at least {LEAST:g})", ylabel=f"{weights}, foreground, 0–100", xscale="log"
        )
        axis.grid(alpha=0.3, which="both")
        axis.legend(fontsize=8, markerscale=3)
    figure.savefig(path, dpi=110, format="png")


def draw_maps(table: Columns, path: Path) -> None:
    """Images, their maps over the central patch and the whole (the report's Figure 15), and the true errors."""
    folder, weights = path.parent, scorers(table)[0]
    kept = {int(p.stem.removeprefix("maps-")): p for p in folder.glob("maps-*.npz")}
    rates = sorted(kept)[:: max(1, (len(kept) - 1) // 4)][:6]
    if not rates:
        raise ValueError(f"{folder} has no maps-*.npz: run the study again in a new folder")
    method = "modl" if "modl" in table["method"] else str(table["method"][-1])
    figure = new_figure(2.3 * len(rates) + 1.4, 9.4)
    axes = figure.subplots(4, len(rates), squeeze=False)
    shown: Any = None
    wrong: Any = None
    for column, rate in enumerate(rates):
        with np.load(kept[rate], allow_pickle=False) as archive:
            image, quality, error = (
                archive[f"{method}/{name}"].astype(float) for name in ("image", weights, "error")
            )  # fmt: skip
        inner = tuple(slice(n // 4, n - n // 4) for n in image.shape)
        axes[0, column].imshow(image, cmap="gray", vmin=0, vmax=1)
        axes[0, column].set_title(
            f"{method}, R = {rate}\ncenter {quality[inner].mean():.0f}, whole {quality.mean():.0f}", fontsize=9
        )
        shown = axes[1, column].imshow(quality[inner], cmap="viridis", vmin=0, vmax=100)
        axes[2, column].imshow(quality, cmap="viridis", vmin=0, vmax=100)
        wrong = axes[3, column].imshow(error, cmap="magma", vmin=0, vmax=0.15)
    for axis in axes.flat:
        axis.set_xticks([])
        axis.set_yticks([])
    for row, title in enumerate(("image", "map, central patch", "map, whole image", "|error| / peak")):
        axes[row, 0].set_ylabel(title)
    figure.colorbar(shown, ax=axes[:3, -1], label=f"{weights}, 0–100", shrink=0.6)
    figure.colorbar(wrong, ax=axes[3:, -1], label="|error| / peak")
    figure.savefig(path, dpi=110, format="png")


def draw_prediction(table: Columns, path: Path) -> None:
    """Error of R by estimator, unseen subjects and unseen families of masks; spread of the predictions of the best.

    With one subject, the figure says why it is empty.
    """
    if not enough_subjects(table):
        figure = new_figure(6.0, 1.2)
        figure.text(0.5, 0.5, NEEDS_SUBJECTS, ha="center", va="center")
        figure.savefig(path, dpi=110, format="png")
        return
    cases = [leave for leave in (False, True) if not leave or len(np.unique(table["family"])) > 2]
    figure = new_figure(12.0, 4.2 * len(cases))
    axes = figure.subplots(len(cases), 2, squeeze=False, width_ratios=(3, 2))
    for (bars, boxes), leave in zip(axes, cases, strict=True):
        by_setting = predictions(table, leave_family=leave)
        what = "unseen subjects" + (", unseen family of masks" if leave else "")
        labels = [
            p.estimator if "isotonic on" not in p.estimator else p.estimator[12:]
            for p in next(iter(by_setting.values()))
        ]
        labels[-4 if len(labels) > 4 else 0] = "best classical metric"
        place = np.arange(len(labels))
        for k, (setting, every) in enumerate(by_setting.items()):
            bars.barh(
                place + 0.8 * (k + 0.5) / len(by_setting) - 0.4, [p.mae for p in every], 0.8 / len(by_setting),
                color=COLOURS.get(setting, "black"), label=setting,
            )  # fmt: skip
        bars.set(yticks=place, yticklabels=labels, xlabel="mean absolute error of R", title=what)
        bars.invert_yaxis()
        bars.grid(alpha=0.3, axis="x")
        last = list(by_setting)[-1]
        best = min(by_setting[last], key=lambda p: p.mae)
        rates = np.unique(best.true)
        boxes.boxplot([best.predicted[best.true == r] for r in rates], positions=rates, widths=0.5, showfliers=False)
        boxes.plot(rates, rates, "k:", linewidth=1)
        boxes.set(xlabel="nominal R", ylabel="predicted R")
        boxes.set_title(f"{last}:\n{best.estimator}", fontsize=10)
        boxes.grid(alpha=0.3)
    axes[0, 0].legend(fontsize=8)
    figure.savefig(path, dpi=110, format="png")


FIGURES = (
    ("curves.png", draw_curves),
    ("errors.png", draw_errors),
    ("maps.png", draw_maps),
    ("prediction.png", draw_prediction),
)
