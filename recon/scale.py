"""Magnitude and scale of images; by the scale, raw data of any unit become comparable."""

import torch
from jaxtyping import Float, Inexact
from torch import Tensor


def magnitude(image: Inexact[Tensor, "b m h w"]) -> Float[Tensor, "b 1 h w"]:
    """Magnitude of an image over its sets of coil maps."""
    return torch.linalg.vector_norm(image, dim=1, keepdim=True)


def image_scale(image: Inexact[Tensor, "b m h w"]) -> Float[Tensor, "b 1 1 1"]:
    """Root mean square of an image's magnitude, weighted by its energy; 1 for an image of zeros.

    The weights make it a scale of the object: a margin of zeros around it changes nothing.
    """
    peak = image.abs().amax((1, 2, 3), keepdim=True)
    peak = torch.where(peak > 0, peak, 1)
    energy = (image / peak).abs().square()  # the fourth power of raw k-space's 1e-7 would underflow
    total = energy.sum((1, 2, 3), keepdim=True)
    return peak * torch.where(total > 0, energy.square().sum((1, 2, 3), keepdim=True) / total, 1).sqrt()
