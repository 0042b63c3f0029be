"""Masks of single points: Poisson discs of variable density."""

from typing import Any

import numpy as np
import torch
from jaxtyping import Bool
from torch import Tensor

from recon.masks.count import center_mask, samples_outside


def poisson(
    shape: tuple[int, int], acceleration: int | float, center_fraction: float, seed: int
) -> Bool[Tensor, "h w"]:
    """Sample exactly ``round(h * w / acceleration)`` points: a Poisson disc whose radius grows from the full centre.

    The disc is SigPy's. Points in excess are removed at random, which keeps the distances; at accelerations below 2,
    where a disc is hardly larger than a point, missing ones are added at random. Takes a second or a few.

    Parameters
    ----------
    shape
        Height and width of k-space in points.
    acceleration
        Nominal undersampling factor, in [1, h * w].
    center_fraction
        Part of each side that forms the fully sampled central rectangle (ACS), in [0, 1]; counted in the total.
    seed
        Seed of the draw: the same arguments give the same mask. NumPy's global random state is left alone.

    Raises
    ------
    ValueError
        If an argument is out of range, or the centre alone takes more points than the acceleration allows.
    ImportError
        If sigpy is not installed.

    References
    ----------
    Bridson, Fast Poisson disk sampling in arbitrary dimensions, SIGGRAPH sketches 2007, doi:10.1145/1278780.1278807.
    """
    height, width = shape
    if height < 1 or width < 1:
        raise ValueError(f"shape={shape} has no points: use a height and width of 1 or more")
    if not 1 <= acceleration <= height * width:
        raise ValueError(
            f"acceleration={acceleration} is out of range: use a value in [1, {height * width}] for shape {shape}"
        )
    mask = np.outer(*(center_mask(side, 1, center_fraction) for side in shape))
    n_outside, rng = samples_outside(mask, acceleration, center_fraction), np.random.default_rng(seed)
    outside = ~mask
    if 0 < n_outside < outside.sum():
        mask |= _poisson_disc(shape, acceleration, center_fraction, int(rng.integers(2**31)))
    drawn, n_missing = np.flatnonzero(mask & outside), n_outside - int((mask & outside).sum())
    if n_missing < 0:
        mask.flat[rng.choice(drawn, -n_missing, replace=False)] = False
    else:
        mask.flat[rng.choice(np.flatnonzero(~mask), n_missing, replace=False)] = True
    return torch.from_numpy(mask)


class _Tolerance:
    """Width of SigPy's bisection, which has no end of its own: after 12 steps any acceleration is near enough."""

    __array_ufunc__ = None  # so that NumPy's scalars leave the comparison to this class

    def __init__(self, width: float):
        self.width, self.n_steps = width, 0

    def __gt__(self, deviation: float) -> bool:
        self.n_steps += 1
        return self.n_steps >= 12 or bool(deviation < self.width)

    def __le__(self, deviation: float) -> bool:
        return self.n_steps < 12 and bool(deviation >= self.width)


def _poisson_disc(shape: tuple[int, int], acceleration: int | float, center_fraction: float, seed: int) -> np.ndarray:
    """Return SigPy's Poisson disc with a few per cent more samples than asked for, if there is one."""
    try:
        from sigpy.mri import poisson as disc
    except ImportError as error:
        raise ImportError("masks.poisson needs sigpy: pip install sigpy") from error
    # A centre of the side's parity lies where `center_mask` puts it; one as wide as the side would divide by zero.
    sides = [(side, min(round(side * center_fraction), side - 1)) for side in shape]
    calib = tuple(max(n - (side - n) % 2, 0) for side, n in sides)
    accel = 1 + 0.94 * (acceleration - 1)
    options: dict[str, Any] = {"dtype": bool, "tol": _Tolerance(0.03 * acceleration), "crop_corner": False}
    with np.errstate(divide="ignore"):  # a disc of a few points may hold none
        return disc(shape, accel, calib, seed=seed, **options)
