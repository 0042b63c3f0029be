"""Gain over quality of every arm."""

from pathlib import Path

import numpy as np

from mriqf.studies._frame.drawing import new_figure
from mriqf.studies._frame.table import Columns
from mriqf.studies.restorers.ordering.answer import count, measured, qualities
from mriqf.studies.restorers.ordering.claims import gains


def draw_gains(table: Columns, path: Path) -> None:
    """Mean gain in PSNR over quality: a panel for each family, a line for each arm.

    Arms of one quality (dashed) are cut off where they fall far below those of all.
    """
    arms, shown = measured(table), qualities(table)
    families = list(dict.fromkeys(arm.family for arm in arms))
    figure = new_figure(4.2 * len(families), 3.6)
    axes = figure.subplots(1, len(families), squeeze=False, sharey=True)[0]
    ends: list[float] = [0.0]
    for ax, family in zip(axes, families, strict=True):
        for arm in (a for a in arms if a.family == family):
            means = [float(gains(table, arm.name, q).mean()) for q in shown]
            ax.plot(shown, means, "o-" if arm.quality is None else "o--", ms=4, lw=1.2, label=arm.name)
            ends += means if arm.quality is None else [max(means)]
        ax.axhline(0, color="0.3", ls=":", lw=1)
        ax.set_title(family, fontsize=10)
        ax.set(xlabel="JPEG quality", xticks=shown)
        ax.grid(alpha=0.3)
        ax.legend(fontsize=8)
        ax.yaxis.set_tick_params(labelleft=True)
    margin = 0.1 + 0.2 * float(np.ptp(ends))
    axes[0].set(ylim=(min(ends) - margin, max(ends) + margin), ylabel="gain in PSNR over JPEG, dB")
    figure.suptitle(f"Mean over {count(table)} photographs; {table['budget'][0]}", fontsize=10)
    figure.savefig(path, dpi=110, format="png")
