"""Masks with fewer samples, as of a shorter scan."""

import numpy as np
import torch
from jaxtyping import Bool
from torch import Tensor

from recon.masks.count import center_mask, effective_acceleration


def thin(
    mask: Bool[Tensor, " w"] | Bool[Tensor, "h w"], acceleration: int | float, seed: int, center: float = 0.32
) -> Bool[Tensor, " w"] | Bool[Tensor, "h w"]:
    """Leave samples of a mask out, as if the scan had been shorter: whole lines where it takes whole lines.

    The count is exact, ``round(n / acceleration)``. The centre stays as far as it fits, others are chosen at random.

    Parameters
    ----------
    mask
        True where k-space was sampled.
    acceleration
        Effective undersampling factor of the result, at least that of the mask.
    seed
        Seed of the choice: the same arguments give the same mask.
    center
        Share of the result that is its centre, if the mask has one.

    Raises
    ------
    ValueError
        If the mask samples too little for that.
    """
    if mask.ndim == 2 and bool((mask == mask[:1]).all()):
        return thin(mask[0], acceleration, seed, center).expand_as(mask).clone()
    if mask.ndim == 2 and bool((mask == mask[:, :1]).all()):
        return thin(mask[:, 0], acceleration, seed, center)[:, None].expand_as(mask).clone()
    sampled = mask.numpy()
    n = round(sampled.size / acceleration)
    if not 0 < n <= sampled.sum():
        raise ValueError(
            f"acceleration={acceleration} cannot be had by leaving out samples of a mask of "
            f"{effective_acceleration(mask):.2f}: use a higher one"
        )
    fraction = min(center / acceleration, 1.0) ** (1 / mask.ndim)
    middle = center_mask(mask.shape[-1], 1, fraction)
    kept = sampled & (middle if mask.ndim == 1 else np.outer(center_mask(mask.shape[0], 1, fraction), middle))
    rng = np.random.default_rng(seed)
    if (excess := int(kept.sum()) - n) > 0:
        kept.flat[rng.choice(np.flatnonzero(kept), excess, replace=False)] = False
    kept.flat[rng.choice(np.flatnonzero(sampled & ~kept), max(-excess, 0), replace=False)] = True
    return torch.from_numpy(kept)
