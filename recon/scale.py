"""The scale of an image, by which raw data of any unit become comparable."""

import torch
from jaxtyping import Float, Inexact
from torch import Tensor


def image_scale(image: Inexact[Tensor, "b m h w"]) -> Float[Tensor, "b 1 1 1"]:
    """Root mean square of an image's magnitude, weighted by its energy; 1 for an image of zeros.

    The weights make it a scale of the object: a margin of zeros around it changes nothing.
    """
    peak = image.abs().amax((1, 2, 3), keepdim=True)
    peak = torch.where(peak > 0, peak, 1)
    energy = (image / peak).abs().square()  # the fourth power of raw k-space's 1e-7 would underflow
    total = energy.sum((1, 2, 3), keepdim=True)
    return peak * torch.where(total > 0, energy.square().sum((1, 2, 3), keepdim=True) / total, 1).sqrt()
