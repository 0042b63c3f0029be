"""Noise of k-space, estimated from samples that hold little else."""

import torch
from jaxtyping import Complex, Float
from torch import Tensor

from recon.operator import Sense

NORMAL = 0.6744897501960817
"""Median magnitude of a standard normal number."""
FEWEST = 200
"""Numbers that a noise is estimated from: then its relative standard error is below 0.1."""


def estimate_noise(kspace: Complex[Tensor, "b c h w"], sense: Sense) -> Float[Tensor, " b"]:
    """Estimate the noise of k-space from its corners, where an image has little energy.

    The corners are the sampled points outside the ellipse that touches the sides; samples that are exactly zero, such
    as padding, are left out. The estimate is the median magnitude of real and imaginary parts, over all coils, so that
    a few strong samples change little. What the image has in the corners, and in it the noise of an image that k-space
    was simulated from, makes the estimate too high, and a filter of the scanner too low.

    Parameters
    ----------
    kspace
        Measured k-space, any unit; values outside the mask are ignored.
    sense
        Operator with the mask of the measurement.

    Returns
    -------
    Tensor
        Standard deviation of the real, and of the imaginary, part of the noise of each sample of the batch.

    Raises
    ------
    ValueError
        If too little was sampled in the corners.
    """
    h, w = kspace.shape[2:]
    y, x = (2 * (torch.arange(n, device=kspace.device) - n // 2) / n for n in (h, w))
    corners = sense.mask & (y[:, None].square() + x.square() > 1)
    deviations = []
    for samples, plane in zip(kspace, corners.expand(len(kspace), -1, -1, -1), strict=True):
        numbers = torch.view_as_real(samples[plane.expand_as(samples)])
        numbers = numbers[(numbers != 0).any(-1)].flatten()
        if numbers.numel() < FEWEST:
            raise ValueError(
                f"kspace {tuple(kspace.shape)} has {numbers.numel()} numbers in its corners, too few to tell the noise "
                "from: measure the noise, and give it as noise_std"
            )
        deviations.append(robust_std(numbers))
    return torch.stack(deviations)


def robust_std(numbers: Float[Tensor, "..."]) -> Float[Tensor, ""]:
    """Standard deviation of normal numbers by their median magnitude, which a few strong ones change little."""
    return numbers.abs().median() / NORMAL
