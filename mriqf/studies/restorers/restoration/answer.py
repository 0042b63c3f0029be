"""Report on restorers: rows of the papers, gains over JPEG, and evenness of the gain over qualities."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from mriqf.studies._frame.reporting import Interval, markdown_table, with_interval
from mriqf.studies._frame.statistics import bootstrap
from mriqf.studies._frame.table import Columns, where
from mriqf.studies.restorers.restoration.jpeg_rows import PRINTED, Means
from mriqf.studies.restorers.restoration.protocols import JPEG

LIVE1 = 29
"""Photographs in the set that papers print."""


@dataclass(frozen=True)
class Section:
    """Rows of one data set, of luma or of colours."""

    dataset: str
    kind: str
    rows: Columns

    @property
    def qualities(self) -> list[int]:
        """Qualities, rising."""
        return sorted({int(q) for q in self.rows["quality"]})

    @property
    def methods(self) -> list[str]:
        """Methods, JPEG first."""
        return [str(m) for m in dict.fromkeys(self.rows["method"].tolist())]

    @property
    def n(self) -> int:
        """Number of images."""
        return len(set(self.rows["image"].tolist()))

    def of(self, method: str) -> Columns:
        """Rows of a method."""
        return where(self.rows, method=method)

    def figures(self, method: str, quality: int, name: str) -> Float[np.ndarray, " n"]:
        """Figure of each image, in the order of images."""
        chosen = where(self.rows, method=method, quality=quality)
        return chosen[name][np.argsort(chosen["image"])]

    def means(self, method: str, quality: int) -> Means:
        """Mean over the images."""
        return Means(*(float(self.figures(method, quality, name).mean()) for name in Means._fields))

    def gains(self, method: str, quality: int) -> Float[np.ndarray, " n"]:
        """PSNR over that of JPEG, decibels, of every image."""
        return self.figures(method, quality, "psnr") - self.figures(JPEG, quality, "psnr")

    def gain(self, method: str, quality: int) -> Interval:
        """Mean gain in PSNR over the images, decibels, and its 95 % interval; NaN for less than three images."""
        gains = self.gains(method, quality)
        return float(gains.mean()), *bootstrap(np.mean, np.arange(len(gains)), gains)

    @property
    def printed(self) -> dict[int, Means]:
        """Figures that the paper of the protocol prints for JPEG, by quality, where it prints this set."""
        if "".join(filter(str.isalnum, self.dataset.lower())) != "live1" or self.n != LIVE1:
            return {}
        protocol, colour = str(self.rows["protocol"][0]), self.kind == "colour"
        return {q: PRINTED[protocol, colour, q] for q in self.qualities if (protocol, colour, q) in PRINTED}


def sections(columns: Columns) -> Iterator[Section]:
    """Grey and colour rows of each data set."""
    for dataset, kind in dict.fromkeys(zip(columns["dataset"].tolist(), columns["kind"].tolist(), strict=True)):
        yield Section(str(dataset), str(kind), where(columns, dataset=dataset, kind=kind))


def answer(columns: Columns) -> str:
    """The study's answer, markdown."""
    lines = [
        "# Restoration of JPEG images",
        "",
        f"Compressed, decoded and compared as in the tables of {str(columns['protocol'][0]).upper()}; figures of other "
        "protocols are no figures to compare with. Restorers are given decoded pixels and quantisation tables. Results "
        "are rounded to 8 bit. Intervals are 95 %, over images.",
    ]
    for section in sections(columns):
        lines += ["", f"## {section.dataset}, {section.kind}: {section.n} images", "", *_means(section)]
        lines += ["", *_gains(section)] if len(section.methods) > 1 else []
    return "\n".join(lines)


def _means(section: Section) -> Iterator[str]:
    yield "PSNR (dB) / SSIM / PSNR-B (dB), means over images; time is the median over images and qualities."
    yield ""
    lines = []
    for method in section.methods:
        rows = section.of(method)
        known = ["", ""]
        if method != JPEG:
            known = [f"{rows['parameters'][0]:,.0f}", f"{1e3 * np.median(rows['seconds'] / rows['megapixels']):.0f}"]
        lines.append([method, *known, *(_cell(section.means(method, quality)) for quality in section.qualities)])
        if method == JPEG and section.printed:
            printed = [_cell(section.printed[q]) if q in section.printed else "" for q in section.qualities]
            lines.append([f"{JPEG}, as printed", "", "", *printed])
    yield markdown_table(_heads(section, "parameters", "ms per megapixel"), lines)


def _gains(section: Section) -> Iterator[str]:
    yield "Gain in PSNR over JPEG, dB; its spread is the largest mean less the smallest."
    yield ""
    lines = []
    for method in section.methods[1:]:
        gains = [section.gain(method, quality) for quality in section.qualities]
        spread = max(g[0] for g in gains) - min(g[0] for g in gains)
        lines.append([method, f"{spread:.2f}", *map(with_interval, gains)])
    yield markdown_table(_heads(section, "spread"), lines)


def _heads(section: Section, *names: str) -> list[str]:
    return ["method", *names, *(f"quality {q}" for q in section.qualities)]


def _cell(means: Means) -> str:
    return f"{means.psnr:.2f} / {means.ssim:.4f} / {means.psnr_b:.2f}"
