"""Seeded column masks for 2-D Cartesian undersampling; True marks a sampled phase-encoding column.

``acceleration`` is the nominal factor asked for. Results should be reported against `effective_acceleration`, which
counts what the mask really samples.
"""

import numpy as np
import torch
from jaxtyping import Bool
from torch import Tensor


def random(width: int, acceleration: int | float, center_fraction: float, seed: int) -> Bool[Tensor, " w"]:
    """Sample exactly ``round(width / acceleration)`` columns: the centre, and the rest uniformly at random.

    The count is exact, not an expectation, so the effective acceleration is the nominal one within half a column.

    Parameters
    ----------
    width
        Number of phase-encoding columns.
    acceleration
        Nominal undersampling factor, in [1, width].
    center_fraction
        Part of the columns that forms the fully sampled centre (ACS), in [0, 1]; counted in the total.
    seed
        Seed of the draw: the same arguments give the same mask.

    Raises
    ------
    ValueError
        If an argument is out of range, or the centre alone takes more columns than the acceleration allows.

    References
    ----------
    Lustig et al., Sparse MRI, Magn Reson Med 2007, doi:10.1002/mrm.21391.
    """
    mask = _center(width, acceleration, center_fraction)
    n_sampled, n_center = round(width / acceleration), int(mask.sum())
    if n_center > n_sampled:
        raise ValueError(
            f"center_fraction={center_fraction} takes {n_center} columns but acceleration={acceleration} allows only "
            f"{n_sampled} of {width}: use center_fraction <= {n_sampled / width:.3g} or a lower acceleration"
        )
    outside = np.flatnonzero(~mask)
    mask[np.random.default_rng(seed).choice(outside, n_sampled - n_center, replace=False)] = True
    return torch.from_numpy(mask)


def equispaced(width: int, acceleration: int | float, center_fraction: float, seed: int) -> Bool[Tensor, " w"]:
    """Sample every ``acceleration``-th column from a random offset, and the centre.

    The centre comes on top of the regular columns, so the effective acceleration is *below* the nominal one: 320
    columns at ``acceleration=8, center_fraction=0.04`` give about 6.2. Record `effective_acceleration`.

    Parameters
    ----------
    width
        Number of phase-encoding columns.
    acceleration
        Column spacing, a whole number in [1, width].
    center_fraction
        Part of the columns that forms the fully sampled centre (ACS), in [0, 1].
    seed
        Seed of the offset: the same arguments give the same mask.

    Raises
    ------
    ValueError
        If an argument is out of range, or the acceleration is not whole.

    References
    ----------
    Zbontar et al., fastMRI, arXiv 2018, doi:10.48550/arXiv.1811.08839.
    """
    mask = _center(width, acceleration, center_fraction)
    if acceleration != int(acceleration):
        raise ValueError(f"acceleration={acceleration} is no column spacing: use a whole number, or masks.random")
    step = int(acceleration)
    mask[np.random.default_rng(seed).integers(step) :: step] = True
    return torch.from_numpy(mask)


def effective_acceleration(mask: Bool[Tensor, "..."]) -> float:
    """Return the undersampling factor that a mask really has: positions over sampled positions, 1 or more.

    Parameters
    ----------
    mask
        Sampling mask of any rank; a batch of masks gives their pooled factor.

    Raises
    ------
    ValueError
        If the mask samples nothing.
    """
    n_sampled = int(mask.sum())
    if n_sampled == 0:
        raise ValueError("mask samples nothing, so it has no acceleration: pass a mask with at least one True")
    return mask.numel() / n_sampled


def _center(width: int, acceleration: int | float, center_fraction: float) -> np.ndarray:
    """Check the arguments that all masks share and return the mask of the centre alone."""
    if width < 1:
        raise ValueError(f"width={width} has no columns: use width >= 1")
    if not 1 <= acceleration <= width:
        raise ValueError(f"acceleration={acceleration} is out of range: use a value in [1, {width}] for this width")
    if not 0 <= center_fraction <= 1:
        raise ValueError(f"center_fraction={center_fraction} is no fraction: use a value in [0, 1], such as 0.08")
    n_center = round(width * center_fraction)
    start = (width - n_center + 1) // 2  # fastMRI's rounding: any non-empty centre holds the zero frequency
    mask = np.zeros(width, dtype=bool)
    mask[start : start + n_center] = True
    return mask
