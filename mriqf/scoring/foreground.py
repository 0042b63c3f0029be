"""Parts of an image that count in a score: its content, and a mask of the user's own."""

from collections.abc import Callable

import numpy as np
from jaxtyping import Bool, Float32

from mriqf.io import Volume


def content(raw: Float32[np.ndarray, "ch h w"], least: int) -> tuple[slice, slice]:
    """Rows and columns that are not exactly zero, at least `least` of each where there are as many.

    An empty canvas around an image is no part of it: what is scored does not depend on it.
    """
    box = []
    for axis in (1, 2):
        n, used = raw.shape[axis], np.flatnonzero((raw != 0).any((0, 3 - axis)))
        first, last = (int(used[0]), int(used[-1]) + 1) if used.size else (0, n)
        size = max(last - first, min(least, n))
        first = min(max(first - (size - (last - first)) // 2, 0), n - size)
        box.append(slice(first, first + size))
    return box[0], box[1]


def mask_reader(mask: Volume, volume: Volume) -> Callable[[int], Bool[np.ndarray, "h w"]]:
    """Foreground of each slice from a volume of masks, not zero inside.

    Raises
    ------
    ValueError
        If the masks are not as many, or of another size.
    """
    if (mask.n_slices, mask.shape) != (volume.n_slices, volume.shape):
        raise ValueError(
            f"mask {mask.source} has {mask.n_slices} slices of {mask.shape[0]}×{mask.shape[1]}, the image "
            f"{volume.n_slices} of {volume.shape[0]}×{volume.shape[1]}: give a mask of the image's size"
        )
    return lambda index: (mask.read_slice(index) != 0).any(0)
