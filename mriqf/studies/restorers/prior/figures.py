"""Figures of priors: PSNR during the fit and over λ, and images at the fixed stop."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from mriqf.studies._frame.drawing import new_figure
from mriqf.studies._frame.table import Columns
from mriqf.studies.restorers.prior.answer import curves, sweep
from mriqf.studies.restorers.prior.measure import ARMS, SWEPT
from mriqf.studies.restorers.restoration.protocols import JPEG
from mriqf.studies.restorers.restoration.study import TRUTH

PANELS = (("psnr", "RGB"), ("chroma", "Cb and Cr alone"))
SHOWN = ((TRUTH, "truth"), (JPEG, "JPEG"), *((arm.name, arm.label) for arm in ARMS))


def draw_curves(columns: Columns, path: Path) -> None:
    """Mean gain in PSNR over JPEG while each arm is fitted, RGB and chroma; dots: the peaks of the means."""
    by_arm = curves(columns)
    first = by_arm["dip"]
    figure = new_figure(11, 4.2)
    low = {"psnr": 0.0, "chroma": 0.0}
    for ax, (name, title) in zip(figure.subplots(1, len(PANELS)), PANELS, strict=True):
        for k, c in enumerate(by_arm.values()):
            mean = c.gain(name).mean(0)
            peak = mean.argmax()
            low[name] = min(low[name], mean[len(mean) // 4 :].min())
            ax.plot(c.steps, mean, color=f"C{k}", ls="--" if c.arm.reading else "-", label=c.arm.label)
            ax.plot(c.steps[peak], mean[peak], "o", ms=5, color=f"C{k}")
        ax.axhline(0, color="0.3", ls=":", lw=1, label="JPEG")
        ax.axvline(first.steps[first.fixed], color="0.85", zorder=0, label="fixed stop")
        ax.set_ylim(bottom=max(ax.get_ylim()[0], low[name] - 0.5))  # the first steps are far below
        ax.set_title(title, fontsize=10)
        ax.set(xlabel="step", ylabel="gain in PSNR over JPEG, dB")
        ax.grid(alpha=0.3)
    figure.axes[1].legend(fontsize=8, loc="upper left", bbox_to_anchor=(1.02, 1.0))
    figure.suptitle(f"Mean of {len(first.jpeg['psnr'])} photographs; dots: peaks of the means", fontsize=10)
    figure.savefig(path, dpi=110, format="png")


def draw_sweep(columns: Columns, path: Path) -> None:
    """Gain at the fixed stop by the colour term over λ, both readings, each photograph and their mean."""
    figure = new_figure(9, 3.8)
    for ax, (name, title) in zip(figure.subplots(1, len(PANELS)), PANELS, strict=True):
        for k, arm in enumerate(SWEPT):
            lams, gains = sweep(columns, arm.name, name)
            ax.plot(lams, gains.T, color=f"C{k + 1}", lw=0.7, alpha=0.5)
            ax.plot(lams, gains.mean(0), "o-", ms=4, color=f"C{k + 1}", label=f"{arm.label}, {len(gains)} photographs")
        ax.axhline(0, color="0.3", ls=":", lw=1, label="DIP, λ = 0")
        ax.set_xscale("log")
        ax.set_title(title, fontsize=10)
        ax.set(xlabel="λ", ylabel="gain in PSNR over DIP, dB")
        ax.grid(alpha=0.3)
    figure.axes[0].legend(fontsize=8)
    figure.suptitle("At the fixed stop; thin: each photograph", fontsize=10)
    figure.savefig(path, dpi=110, format="png")


def draw_pictures(folder: Path, path: Path) -> None:
    """Truth, JPEG and every arm at the fixed stop: a row for each photograph of which all are there."""
    rows = complete(folder)
    figure = new_figure(1.9 * len(SHOWN), 2.2 * len(rows))
    for k, (axes, stem) in enumerate(zip(figure.subplots(len(rows), len(SHOWN), squeeze=False), rows, strict=True)):
        target = _pixels(folder / f"{stem}-{TRUTH}.png")
        for ax, (name, label) in zip(axes, SHOWN, strict=True):
            pixels = _pixels(folder / f"{stem}-{name}.png")
            error = np.square(pixels.astype(float) - target).mean()
            level = f"{10 * np.log10(255**2 / error):.2f} dB" if error > 0 else ""
            ax.imshow(pixels, interpolation="nearest")
            ax.set_title("\n".join(filter(None, (label if k == 0 else "", level))), fontsize=8)
            ax.set(xticks=[], yticks=[])
    figure.savefig(path, dpi=130, format="png")


def complete(folder: Path) -> Sequence[str]:
    """Beginnings of the names of pictures of the photographs that all arms have been fitted to."""
    stems = sorted({p.name.partition("-")[0] for p in folder.glob(f"*-{TRUTH}.png")}, key=int)
    return [stem for stem in stems if all((folder / f"{stem}-{name}.png").exists() for name, _ in SHOWN)]


def _pixels(path: Path) -> np.ndarray:
    with Image.open(path) as image:
        return np.array(image)
