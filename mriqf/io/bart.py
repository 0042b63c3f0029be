"""BART's pairs of files: ``.hdr``, text with the dimensions, and ``.cfl``, complex64 in Fortran order."""

import math
from pathlib import Path

import numpy as np

from mriqf.io.bounds import read_text
from mriqf.io.volume import ReadError, Volume, reading, stack

COIL_DIM = 3
HEADER = 2**16  # bytes that a header may have


def read_bart(path: Path) -> Volume:
    """Volume in a BART pair, given by either file: rows along dimension 0, columns along 1, slices along all others."""
    data, dims = read_header(path)
    if dims[COIL_DIM] > 1:
        header = data.with_suffix(".hdr")
        raise ReadError(f"{header}: holds {dims[COIL_DIM]} coils: combine them first, e.g. bart rss {1 << COIL_DIM}")
    h, w, *slices = dims
    n_slices = math.prod(slices)
    with reading(data):
        images = np.memmap(data, dtype="<c8", mode="r", shape=(h, w, n_slices), order="F")
    return stack(data, lambda i: images[:, :, i], (h, w), grid=(n_slices,))


def read_header(path: Path) -> tuple[Path, list[int]]:
    """Path of the ``.cfl`` file of a BART pair, given by either file, and the pair's dimensions, four or more."""
    header, data = path.with_suffix(".hdr"), path.with_suffix(".cfl")
    for part in (header, data):
        if not part.is_file():
            raise ReadError(f"{path}: its other half {part} is missing: keep the .hdr and .cfl files side by side")
    with reading(header):
        lines = read_text(header, HEADER).decode("ascii").splitlines()
        dims = [int(word) for word in lines[lines.index("# Dimensions") + 1].split()]
    if (size := data.stat().st_size) != math.prod(dims) * 8:
        raise ReadError(f"{data}: has {size} bytes, not the {math.prod(dims) * 8} of {dims} complex64: write it again")
    if not dims or min(dims) < 1:
        raise ReadError(f"{header}: dimensions {dims} hold no pixels: write it again")
    return data, dims + [1] * (COIL_DIM + 1 - len(dims))
