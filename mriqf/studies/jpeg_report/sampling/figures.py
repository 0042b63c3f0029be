"""Figures from the tables and the stored features; the same input gives the same file."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from mriqf.predictors.qf import CLASS_QUALITIES
from mriqf.studies._frame.drawing import new_figure
from mriqf.studies._frame.table import Columns, where
from mriqf.studies.jpeg_report.sampling.answer import confusion, error, mae, measured, within
from mriqf.studies.jpeg_report.sampling.arms import FIELDS, Arm
from mriqf.studies.jpeg_report.sampling.measure import GRID_QUALITIES, NONE, SHOWN, SHOWN_ARMS

LAWS: tuple[Arm, ...] = ("uniform", "log", "neglog")
DECADES = range(1, 101, 10)
MIDDLES = [low + 4.5 for low in DECADES]
SHOWN_PAIRS = 1000  # points of a scatter; more hide each other


def draw_pairs(predictions: Columns, path: Path) -> None:
    """Score against true quality, one panel for each distribution of draws and one for classes."""
    arms = measured(predictions, (*LAWS, "classes")) or measured(predictions)
    figure, panels = _figure(len(arms), 3.3, 3.6, sharey=True)
    for panel, arm in zip(panels, arms, strict=True):
        table = where(predictions, arm=arm)
        shown = np.linspace(0, len(table["score"]) - 1, SHOWN_PAIRS).astype(int)
        panel.plot([0, 100], [0, 100], color="0.7", lw=1, zorder=0)
        panel.plot(table["quality"][shown], table["score"][shown], ".", ms=2, color="tab:blue", alpha=0.4)
        decades = [within(table, (low, low + 9))["score"] for low in DECADES]
        panel.errorbar(
            MIDDLES, [d.mean() if d.size else np.nan for d in decades],
            [d.std() if d.size else np.nan for d in decades],
            fmt="o", ms=3, color="black", capsize=2, label="decade: mean ± sd",
        )  # fmt: skip
        panel.set(xlabel="true quality", xlim=(0, 101), ylim=(0, 101), title=f"{arm}, n = {len(table['score'])}")
    panels[0].set_ylabel("score")
    panels[0].legend(fontsize=8, loc="upper left")
    figure.savefig(path, dpi=110, format="png")


def draw_distributions(predictions: Columns, path: Path) -> None:
    """Mean absolute error by decade, one line for each distribution of draws."""
    figure, (panel,) = _figure(1, 5.5, 3.8)
    for arm in measured(predictions, LAWS):
        table = where(predictions, arm=arm)
        cells = [np.abs(error(within(table, (low, low + 9)))) for low in DECADES]
        panel.plot(MIDDLES, [c.mean() if c.size else np.nan for c in cells], "o-", ms=4, label=f"{arm} draws")
    panel.set(
        xlabel="true quality", ylabel="mean absolute error", xlim=(0, 101), ylim=(0, None), xticks=range(0, 101, 20)
    )
    panel.legend(title=f"n = {_n_each(predictions)} patches an arm", fontsize=8, title_fontsize=8)
    figure.savefig(path, dpi=110, format="png")


def draw_confusion(predictions: Columns, path: Path) -> None:
    """Confusion matrix of the network with classes."""
    figure, (panel,) = _figure(1, 4.2, 3.8)
    counts = confusion(predictions)
    shares = counts / np.maximum(counts.sum(1, keepdims=True), 1)
    panel.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    for (row, column), share in np.ndenumerate(shares):
        panel.text(column, row, f"{share:.0%}", ha="center", va="center", color="white" if share > 0.5 else "black")
    ticks = range(len(CLASS_QUALITIES))
    panel.set(xticks=ticks, xticklabels=CLASS_QUALITIES, yticks=ticks, yticklabels=CLASS_QUALITIES)
    panel.set(xlabel="class read", ylabel="class nearest to the true quality", title=f"n = {counts.sum()}")
    figure.savefig(path, dpi=110, format="png")


def draw_curves(curves: Columns, path: Path) -> None:
    """Loss, share of right answers, and error while training; train dashed, held out solid."""
    figure, panels = _figure(3, 4.2, 3.6)
    for arm, column, what in (("neglog", "within2", "regression, within ±2"), ("classes", "right", "classes, right")):
        table = where(curves, arm=arm)
        for prefix, style, where_ in (("train_", "--", "trained on"), ("", "-", "held out")):
            colour = "tab:blue" if arm == "neglog" else "tab:orange"
            panels[0].plot(*_mean_curve(table, prefix + column), style, color=colour, label=f"{what}: {where_}")
        panels[1].plot(*_mean_curve(table, "loss"), color=colour, label=f"{what.split(',')[0]}, trained on")
    for arm in measured(curves):
        panels[2].plot(*_mean_curve(where(curves, arm=arm), "mae"), label=arm)
    panels[0].set(ylabel="share of patches", ylim=(0, 1), title="Accuracy")
    panels[1].set(ylabel="loss", ylim=(0, None), title="Loss")
    panels[2].set(ylabel="mean absolute error", ylim=(0, None), title="Held out, qualities 5–98")
    for panel in panels:
        panel.set_xlabel("step")
        panel.legend(fontsize=7)
    figure.savefig(path, dpi=110, format="png")


def draw_fields(predictions: Columns, path: Path) -> None:
    """Mean absolute error against the side of the receptive field, with 95 % intervals over subjects."""
    figure, (panel,) = _figure(1, 5, 3.8)
    arms = measured(predictions, tuple(FIELDS))
    for band, label in (((1, 100), "1–100"), ((81, 100), "81–100"), ((1, 40), "1–40")):
        errors = np.array([mae(within(where(predictions, arm=arm), band)) for arm in arms]).reshape(-1, 3)
        bars = np.nan_to_num(np.abs(errors[:, 1:] - errors[:, :1]).T)
        panel.errorbar([FIELDS[arm] for arm in arms], errors[:, 0], bars, fmt="o-", ms=4, capsize=3, label=label)
    panel.set(xlabel="field of view, pixels", ylabel="mean absolute error", ylim=(0, None))
    panel.set(xticks=[FIELDS[arm] for arm in arms])
    panel.legend(title=f"qualities; n = {_n_each(predictions)} an arm", fontsize=8, title_fontsize=8)
    figure.savefig(path, dpi=110, format="png")


def draw_phase(grid: Columns, path: Path) -> None:
    """Score against the phase of the grid under the same pixels, one panel an arm."""
    arms = measured(grid)
    rows = -(-len(arms) // 4)
    figure, panels = _figure(min(len(arms), 4), 2.6, 2.9 * rows, rows=rows, sharey=True)
    for panel in panels[len(arms) :]:
        panel.set_visible(False)
    for panel, arm in zip(panels, arms, strict=False):
        table = where(grid, arm=arm)
        for number, quality in enumerate(GRID_QUALITIES):
            means = [where(table, compression=str(quality), phase=p)["score"].mean() for p in range(8)]
            panel.plot(range(8), means, "o-", ms=3, color=f"C{number}", label=f"quality {quality}")
            panel.axhline(quality, color=f"C{number}", lw=0.6, ls=":")
        panel.set(xlabel="phase, pixels", title=arm, ylim=(0, 100))
    figure.supylabel(f"mean score, n = {len(where(grid, arm=arms[0], compression=NONE)['score'])} windows")
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside right center", fontsize=8)
    figure.savefig(path, dpi=110, format="png")


def draw_features(maps: Mapping[str, np.ndarray], path: Path) -> None:
    """Last features of one window: a row for each arm, a column for each quality; each picture on its own scale."""
    names = ["image", *(arm for arm in SHOWN_ARMS if f"{arm} {NONE}" in maps)]
    columns = [*map(str, SHOWN), NONE]
    figure, panels = _figure(len(columns), 2.3, 2.4 * len(names), rows=len(names))
    for number, panel in enumerate(panels):
        name, compression = names[number // len(columns)], columns[number % len(columns)]
        panel.imshow(maps[f"{name} {compression}"], cmap="gray" if name == "image" else "viridis")
        panel.set(xticks=[], yticks=[])
        if number < len(columns):
            panel.set_title("not compressed" if compression == NONE else f"quality {compression}", fontsize=9)
        if number % len(columns) == 0:
            panel.set_ylabel(name)
    figure.savefig(path, dpi=110, format="png")


def _mean_curve(table: Columns, column: str) -> tuple[np.ndarray, np.ndarray]:
    """Steps, and the mean over seeds."""
    steps = np.unique(table["step"])
    return steps, np.array([where(table, step=s)[column].mean() for s in steps])


def _n_each(predictions: Columns) -> int:
    return int(max(np.unique(predictions["arm"], return_counts=True)[1]))


def _figure(columns: int, width: int | float, height: int | float, rows: int = 1, sharey: bool = False):
    figure = new_figure(width * columns, height)
    return figure, figure.subplots(rows, columns, squeeze=False, sharey=sharey).ravel()
