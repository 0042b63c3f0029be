"""Masks of phase-encoding columns: at random, with Gaussian density, or equispaced."""

import numpy as np
import torch
from jaxtyping import Bool
from torch import Tensor

from recon.masks.count import center_mask, samples_outside


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
    mask = center_mask(width, acceleration, center_fraction)
    n_outside = samples_outside(mask, acceleration, center_fraction)
    mask[np.random.default_rng(seed).choice(np.flatnonzero(~mask), n_outside, replace=False)] = True
    return torch.from_numpy(mask)


def gaussian(
    width: int, acceleration: int | float, center_fraction: float, seed: int, std: int | float = 0.2
) -> Bool[Tensor, " w"]:
    """Sample exactly ``round(width / acceleration)`` columns: the centre, and others the likelier the nearer to it.

    The others are drawn one after the other without replacement, with Gaussian weights about the zero frequency.

    Parameters
    ----------
    width, acceleration, center_fraction, seed
        As in `random`.
    std
        Standard deviation of the weights as a part of the width, above 0; a large one approaches `random`.

    Raises
    ------
    ValueError
        If an argument is out of range, or the centre alone takes more columns than the acceleration allows.

    References
    ----------
    Lustig et al., Sparse MRI, Magn Reson Med 2007, doi:10.1002/mrm.21391.
    """
    mask = center_mask(width, acceleration, center_fraction)
    if not std > 0:
        raise ValueError(f"std={std} gives no density: use std > 0, a part of the width such as 0.2")
    n_outside = samples_outside(mask, acceleration, center_fraction)
    log_weight = -0.5 * ((np.arange(width) - width // 2) / (std * width)) ** 2
    # The largest of log weights plus Gumbel noise are a weighted draw without replacement, without underflow.
    key = np.where(mask, -np.inf, log_weight + np.random.default_rng(seed).gumbel(size=width))
    mask[np.argsort(-key)[:n_outside]] = True
    return torch.from_numpy(mask)


def equispaced(width: int, acceleration: int | float, center_fraction: float, seed: int) -> Bool[Tensor, " w"]:
    """Sample every ``acceleration``-th column from a random offset, and the centre.

    The centre comes on top of the regular columns, so the effective acceleration is *below* the nominal one: 320
    columns at ``acceleration=8, center_fraction=0.04`` give about 6.3. Record `effective_acceleration`.

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
    mask = center_mask(width, acceleration, center_fraction)
    if acceleration != int(acceleration):
        raise ValueError(f"acceleration={acceleration} is no column spacing: use a whole number, or masks.random")
    step = int(acceleration)
    mask[np.random.default_rng(seed).integers(step) :: step] = True
    return torch.from_numpy(mask)
