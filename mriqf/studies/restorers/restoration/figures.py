"""Figures of restorers: gain over quality, and a part of one photograph."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from jaxtyping import UInt8

from mriqf.studies._frame.drawing import new_figure
from mriqf.studies._frame.table import Columns
from mriqf.studies.restorers.restoration.answer import sections
from mriqf.studies.restorers.restoration.protocols import JPEG
from mriqf.studies.restorers.restoration.study import TRUTH


def draw_gains(columns: Columns, path: Path) -> None:
    """Gain in PSNR of each method over quality, with 95 % intervals: a panel for each data set, luma and colours."""
    shown = list(sections(columns))
    figure = new_figure(4.2 * len(shown), 3.6)
    for ax, section in zip(figure.subplots(1, len(shown), squeeze=False, sharey=True)[0], shown, strict=True):
        for method in section.methods[1:]:
            gains = np.array([section.gain(method, quality) for quality in section.qualities])
            bars = np.nan_to_num(np.abs(gains[:, 1:] - gains[:, :1]).T)
            ax.errorbar(section.qualities, gains[:, 0], bars, fmt="o-", ms=4, capsize=3, label=method)
        ax.axhline(0, color="0.3", ls=":", lw=1, label="JPEG")
        ax.set_title(f"{section.dataset}, {section.kind}: {section.n} images", fontsize=10)
        ax.set(xlabel="JPEG quality", xticks=section.qualities)
        ax.grid(alpha=0.3)
        ax.legend(fontsize=8)
        ax.yaxis.set_tick_params(labelleft=True)
    figure.axes[0].set_ylabel("gain in PSNR, dB")
    figure.suptitle(f"Mean gain over JPEG and its 95 % interval, protocol {columns['protocol'][0]}", fontsize=10)
    figure.savefig(path, dpi=110, format="png")


def draw_pictures(pictures: Mapping[str, UInt8[np.ndarray, "_ _ _"]], path: Path) -> None:
    """Truth, JPEG and every method: a row for luma and for colours, each with its PSNR in this part."""
    rows: dict[str, dict[str, np.ndarray]] = {}
    for name, picture in pictures.items():
        kind, _, method = name.partition("/")
        rows.setdefault(kind, {})[method] = picture
    n = max(map(len, rows.values()))
    figure = new_figure(2.4 * n, 3.0 * len(rows))
    for axes, (kind, row) in zip(figure.subplots(len(rows), n, squeeze=False), rows.items(), strict=True):
        for ax in axes[len(row) :]:
            ax.set_axis_off()
        for ax, (method, picture) in zip(axes, row.items(), strict=False):
            ax.imshow(picture.squeeze(), cmap="gray", vmin=0, vmax=255, interpolation="nearest")
            error = np.square(picture.astype(float) - row[TRUTH]).mean()
            text = f"\n{10 * np.log10(255**2 / error):.2f} dB" if error > 0 else "\n"
            ax.set_title(("JPEG" if method == JPEG else method) + text, fontsize=9)
            ax.set(xticks=[], yticks=[])
        axes[0].set_ylabel(kind, fontsize=9)
    figure.savefig(path, dpi=110, format="png")
