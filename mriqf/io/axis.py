"""Slicing of volumes across another axis than the stored one."""

from collections.abc import Callable
from dataclasses import replace
from functools import lru_cache
from typing import Literal

import numpy as np
from jaxtyping import Float32, Float64

from mriqf.io.bounds import WHOLE
from mriqf.io.volume import ReadError, Volume

Axis = Literal["slice", "row", "column", "axial", "coronal", "sagittal"]
NORMALS = {"sagittal": 0, "coronal": 1, "axial": 2}
"""Axis normal to each anatomical plane, in right-anterior-superior axes."""


def cut_along(volume: Volume, axis: Axis) -> Volume:
    """Volume sliced across another axis; voxels keep their positions in space.

    Parameters
    ----------
    volume
        One in time is cut at each time.
    axis
        Across which stored axis: slice (as it is), row or column, counted as in `Volume.read_slice`. Or the plane that
        slices shall lie in, most nearly, by the volume's affine: axial, coronal or sagittal.

    Raises
    ------
    ReadError
        If the volume's orientation is not known and a plane is asked for; if it has one slice only, or takes more
        memory than 512 MB at one time.
    """
    if axis in NORMALS:
        if np.array_equal(volume.affine, np.eye(4)):
            raise ReadError(f"{volume.source}: how it lies in space is not known: choose axis slice, row or column")
        along = np.abs(volume.affine[:3, :3] / np.linalg.norm(volume.affine[:3, :3], axis=0))
        # Each stored axis belongs to the anatomical one that it follows most; ties go to the earlier one.
        stored = ("column", "row", "slice")[int(along[NORMALS[axis]].argmax())]
    else:
        stored = axis
    if stored == "slice":
        return volume
    (h, w), (deep, *times) = volume.shape, volume.grid
    if deep < 2:
        raise ReadError(f"{volume.source}: has one slice only: it can be cut along no other axis")
    if (size := 4 * volume.channels * deep * h * w) > WHOLE:
        raise ReadError(f"{volume.source}: takes {size} bytes, more than {WHOLE}: cut it in parts, or along its slices")
    whole = _whole(volume, deep)
    count, shape = (h, (deep, w)) if stored == "row" else (w, (deep, h))

    def read_slice(index: int) -> Float32[np.ndarray, "ch h w"]:
        if not 0 <= index < count * (volume.n_slices // deep):
            raise IndexError(f"slice {index} of {volume.source}, cut across its {stored}s")
        time, k = divmod(index, count)
        block = whole(time)
        return np.ascontiguousarray(block[:, :, k] if stored == "row" else block[:, :, :, k])

    # From new voxels (column, row, slice) to stored ones.
    order = (0, 2, 1) if stored == "row" else (1, 2, 0)
    affine: Float64[np.ndarray, "4 4"] = volume.affine.copy()
    affine[:, :3] = volume.affine[:, order]
    known = not np.array_equal(volume.affine, np.eye(4))
    return replace(
        volume,
        n_slices=count * (volume.n_slices // deep),
        shape=shape,
        read_slice=read_slice,
        affine=affine if known else np.eye(4),
        grid=(count, *times),
        rows_up=bool(max(affine[:3, 1], key=abs) > 0) if known else volume.rows_up,
    )


def _whole(volume: Volume, deep: int) -> Callable[[int], Float32[np.ndarray, "ch d h w"]]:
    """Cache of all slices of one time point."""

    @lru_cache(maxsize=1)
    def load(time: int) -> Float32[np.ndarray, "ch d h w"]:
        return np.stack([volume.read_slice(time * deep + k) for k in range(deep)], 1)

    return load
