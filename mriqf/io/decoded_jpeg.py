"""Pictures that were JPEG files before they were saved as PNG, cropped perhaps: tables and grid from the pixels."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import UInt8

from mriqf.io.jpeg_file import JPEGFile
from mriqf.io.raster import read_raster
from mriqf.jpeg import BLOCK, tables
from mriqf.jpeg.lattice import luma_lattice


@dataclass(frozen=True, eq=False)
class Decoded:
    """A picture and the compression that its pixels show."""

    jpeg: JPEGFile
    """Pixels with margins above and to the left, so that the grid of blocks starts at the first of them."""
    quality: int
    """Quality factor, 1–100, whose standard tables are taken, transposed where the picture was turned."""
    margins: tuple[int, int]
    """Height of the margin above and width of that to the left, 0–7."""


def read_decoded(path: Path) -> Decoded:
    """Read a PNG, TIFF or WebP of 8 bit that was decoded from a JPEG of a standard table, and not resized since.

    It may have been cropped, mirrored and turned by quarters.

    Raises
    ------
    ReadError
        If the file cannot be read.
    ValueError
        If its pixels show no JPEG compression, or are too few.
    """
    volume = read_raster(path)
    levels = volume.read_slice(0)
    if volume.n_slices > 1 or not np.array_equal(levels, levels.clip(0, 255).round()):
        raise ValueError(f"{path}: is no single picture of 8 bit: give the JPEG file itself")
    if min(volume.shape) < 2 * BLOCK:
        raise ValueError(f"{path}: has {volume.shape[0]}×{volume.shape[1]} pixels, too few: give the JPEG file itself")
    pixels = torch.from_numpy(levels) / 255
    upright, across = luma_lattice(pixels), luma_lattice(pixels.transpose(1, 2))
    turned = across.evidence > upright.evidence  # by a quarter turn, which transposes the table
    lattice = across if turned else upright
    if lattice.quality is None:
        raise ValueError(f"{path}: shows no JPEG compression, or was resized since: give the JPEG file itself")
    top, left = (-phase % BLOCK for phase in (reversed(lattice.phase) if turned else lattice.phase))
    padded: UInt8[np.ndarray, "ch h w"] = np.pad(levels.astype(np.uint8), ((0, 0), (top, 0), (left, 0)), "edge")
    standard = tables(lattice.quality, volume.channels)
    steps = (standard.transpose(1, 2) if turned else standard).numpy().astype(int)
    return Decoded(JPEGFile(padded, steps, None, "pixels"), lattice.quality, (top, left))
