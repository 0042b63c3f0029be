"""Number of samples of a mask: its acceleration, its centre, and the samples that are left for outside."""

import numpy as np
from jaxtyping import Bool
from torch import Tensor


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

    Examples
    --------
    >>> from recon import masks
    >>> mask = masks.equispaced(320, acceleration=8, center_fraction=0.04, seed=0)
    >>> round(effective_acceleration(mask), 1)  # the centre comes on top
    6.3
    """
    n_sampled = int(mask.sum())
    if n_sampled == 0:
        raise ValueError("mask samples nothing, so it has no acceleration: pass a mask with at least one True")
    return mask.numel() / n_sampled


def center_mask(width: int, acceleration: int | float, center_fraction: float) -> np.ndarray:
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


def samples_outside(center: np.ndarray, acceleration: int | float, center_fraction: float) -> int:
    """Return how many samples the acceleration leaves for outside the centre."""
    n_sampled, n_center = round(center.size / acceleration), int(center.sum())
    if n_center > n_sampled:
        unit = "columns" if center.ndim == 1 else "points"
        limit = (n_sampled / center.size) ** (1 / center.ndim)
        raise ValueError(
            f"center_fraction={center_fraction} takes {n_center} {unit} but acceleration={acceleration} allows only "
            f"{n_sampled} of {center.size}: use center_fraction <= {limit:.3g} or a lower acceleration"
        )
    return n_sampled - n_center
