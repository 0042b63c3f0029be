"""Figures of opinions: rank correlation over the exponent, and opinions against the best raters."""

from pathlib import Path

import numpy as np

from mriqf.metrics.correlation import logistic_fit
from mriqf.studies._frame.drawing import new_figure
from mriqf.studies._frame.table import Columns
from mriqf.studies.opinion.answer import MEAN, sections
from mriqf.studies.opinion.measure import MAPS

BEST = 3
STYLES = ("-", "--", ":", "-.")


def draw_exponents(columns: Columns, path: Path) -> None:
    """SRCC of γ1, γ2, γ3 over the exponent, a panel for each data set; other raters as levels."""
    by_dataset = sections(columns)
    figure = new_figure(5.2 * len(by_dataset), 4.4)
    for ax, section in zip(figure.subplots(1, len(by_dataset), squeeze=False, sharey=True)[0], by_dataset, strict=True):
        for k, rater in enumerate(section.qairns):
            for number in MAPS:
                pooled = section.pooled(rater, number)
                values = [s.srcc for s in pooled.values()]
                style = {"color": f"C{number - 1}", "ls": STYLES[k % len(STYLES)], "marker": "o", "ms": 4}
                ax.plot(list(pooled), values, label=f"{rater}, γ{number}", **style)
        for k, scores in enumerate(s for s in section.scores if s.number is None):
            ax.axhline(scores.srcc, color=f"{0.2 + 0.2 * (k % 4)}", ls=STYLES[k % 4], lw=1, label=scores.label)
        ax.axvline(MEAN, color="0.85", zorder=0)
        ax.axhline(0, color="0.85", zorder=0)
        ax.set_title(f"{section.dataset}: {section.n} images", fontsize=10)
        ax.set(xlabel="exponent p (grey line: the mean)")
        ax.grid(alpha=0.3)
        ax.legend(fontsize=7)
        ax.yaxis.set_tick_params(labelleft=True)
    figure.axes[0].set_ylabel("SRCC, + where higher scores are better")
    figure.suptitle("Rank correlation with opinion over the exponent of the Minkowski mean", fontsize=10)
    figure.savefig(path, dpi=110, format="png")


def draw_scatter(columns: Columns, path: Path) -> None:
    """Opinions, better ones upwards, over the scores of the raters with the highest SRCC (maps pooled by the mean)."""
    by_dataset = sections(columns)
    n = min(BEST, *(len(section.main()) for section in by_dataset))
    figure = new_figure(3.8 * n, 0.4 + 3.4 * len(by_dataset))
    for axes, section in zip(figure.subplots(len(by_dataset), n, squeeze=False), by_dataset, strict=True):
        sign = 1 if section.better == "higher" else -1
        ranked = sorted(section.main(), key=lambda s: -np.nan_to_num(s.srcc, nan=-1.0))
        for ax, scores in zip(axes, ranked[:n], strict=True):
            known = np.isfinite(scores.score)
            x, quality = scores.score[known], scores.quality[known]
            order = np.argsort(x)
            ax.plot(x, sign * quality, ".", ms=5, alpha=0.7)
            ax.plot(x[order], sign * logistic_fit(x, quality).opinions[order], color="black", lw=1)
            ax.set_title(f"{scores.label}: SRCC {scores.srcc:+.3f}", fontsize=9)
            ax.set(xlabel="score")
            ax.grid(alpha=0.3)
            if sign < 0:
                ax.invert_yaxis()
        axes[0].set_ylabel(f"{section.dataset}: {'MOS' if sign > 0 else 'DMOS, better upwards'}")
    figure.suptitle("Opinion against score; black: logistic fit, from score to score", fontsize=10)
    figure.savefig(path, dpi=110, format="png")
