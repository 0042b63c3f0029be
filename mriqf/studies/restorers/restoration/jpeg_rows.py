"""Rows of a restoration table: means over images, and the papers' figures of JPEG on LIVE1 for comparison."""

from collections.abc import Iterable
from statistics import fmean
from typing import NamedTuple

from mriqf.studies.restorers.restoration.protocols import Measured


class Means(NamedTuple):
    """Means over the images of a set."""

    psnr: float
    """Decibels."""
    ssim: float
    psnr_b: float
    """Decibels."""


PRINTED = {
    ("qgac", True, 10): Means(25.60, 0.755, 23.53),
    ("qgac", True, 20): Means(27.96, 0.837, 25.77),
    ("qgac", True, 30): Means(29.25, 0.872, 27.10),
    ("qgac", False, 10): Means(27.76, 0.790, 25.32),
    ("qgac", False, 20): Means(30.05, 0.868, 27.55),
    ("qgac", False, 30): Means(31.37, 0.900, 28.90),
    ("qgcn", True, 10): Means(25.60, 0.7454, 21.03),
    ("qgcn", True, 20): Means(27.96, 0.8288, 23.20),
    ("qgcn", True, 30): Means(29.25, 0.8642, 24.56),
    ("qgcn", True, 40): Means(30.16, 0.8846, 25.61),
    ("qgcn", False, 10): Means(27.77, 0.7905, 25.33),
    ("qgcn", False, 20): Means(30.07, 0.8683, 27.57),
    ("qgcn", False, 30): Means(31.41, 0.9000, 28.92),
    ("qgcn", False, 40): Means(32.35, 0.9173, 29.96),
}
"""JPEG rows of LIVE1 as printed, by protocol, colour and quality.

On the 29 images the protocols come within 0.05 dB and 0.001 of SSIM: what coded the papers' images is not known.
FBCNN and its followers print QGCN's grey rows with another SSIM.
"""


def means(rows: Iterable[Measured]) -> dict[tuple[str, int], Means]:
    """Mean figures of each method at each quality, in the order of the first rows."""
    groups: dict[tuple[str, int], list[Measured]] = {}
    for row in rows:
        groups.setdefault((row.method, row.quality), []).append(row)
    return {key: Means(*(fmean(getattr(r, c) for r in group) for c in Means._fields)) for key, group in groups.items()}
