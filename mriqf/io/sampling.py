"""Detection of the sampling pattern: samples that were not measured are exactly zero in every coil."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool

from mriqf.io.kspace import EmptySliceError, KSpace
from mriqf.io.volume import ReadError

STRAY = 0.1  # share of a line's samples that filters leave where nothing was measured, at most
WHOLE = 0.95  # share of the most sampled line that all measured lines have
SCATTERED = 0.05  # share of zero points above which they are a pattern, rather than samples that happen to be zero


@dataclass(frozen=True, eq=False)
class Sampling:
    """Sampling pattern of a file.

    Attributes
    ----------
    mask
        Measured samples: columns, or points where columns do not tell.
    rows, columns
        Extent of it; beyond, k-space is zero-padded.
    undersampled
        True if something is missing within that extent.
    empty
        Indices of slices that hold nothing but zeros.
    """

    mask: Bool[np.ndarray, " w"] | Bool[np.ndarray, "h w"]
    rows: slice
    columns: slice
    undersampled: bool
    empty: tuple[int, ...] = ()


def find_sampling(kspace: KSpace, indices: Iterable[int]) -> Sampling:
    """Find the measured samples in one pass over slices; samples outside the mask of the file count as not measured.

    Zeros along the edges are padding, such as fastMRI has, and not undersampling. Slices of zeros tell nothing.

    Raises
    ------
    ReadError
        When a slice cannot be read, all are zeros, they are sampled differently, or the mask excludes all samples.
    """
    measured: Any = np.zeros(kspace.shape, bool)
    first, empty, last = None, [], None
    for index in indices:
        try:
            points = (kspace.read_slice(index) != 0).any(axis=0)
        except EmptySliceError as error:
            empty.append(index)
            last = error
            continue
        points = _without_strays(_without_strays(points).T).T
        columns = points.any(axis=0)
        if first is None:
            first = index, columns
        elif (columns != first[1]).any():
            raise ReadError(
                f"{kspace.source}: slices {first[0]} and {index} sample other columns ({int(first[1].sum())} and "
                f"{int(columns.sum())} of {columns.size}): reconstruct them apart, with --slices"
            )
        measured |= points
    if first is None and last is not None:
        raise last
    rows, columns = _extent(measured.any(axis=1)), _extent(measured.any(axis=0))
    if kspace.mask is not None:
        measured &= kspace.mask
        if not measured.any():
            raise ReadError(f"{kspace.source}: its mask of {kspace.mask.shape} excludes all samples: correct the mask")
    inside = measured[rows, columns]
    lines = measured.any(axis=0)
    scattered = 1 - inside[:, inside.any(axis=0)].mean() > SCATTERED
    return Sampling(
        measured if scattered else lines, rows, columns, bool(scattered or not lines[columns].all()), tuple(empty)
    )


def _without_strays(points: Bool[np.ndarray, "h w"]) -> Bool[np.ndarray, "h w"]:
    """Drop rows that hold a few samples, such as filtering leaves of zeros, where all others are whole."""
    share = points.mean(axis=1)
    few = share < STRAY
    apart = few.any() and not few.all() and (share[~few] > WHOLE * share.max()).all()
    return points & ~few[:, None] if apart else points


def _extent(used: Bool[np.ndarray, " n"]) -> slice:
    """From the first to the last True; to the very edge where the zeros there are no longer than others inside."""
    places = np.flatnonzero(used)
    gap = int(np.diff(places).max(initial=1)) - 1
    first, last = int(places[0]), int(places[-1]) + 1
    return slice(0 if first <= gap else first, used.size if used.size - last <= gap else last)
