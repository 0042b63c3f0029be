"""Error that JPEG's quantisation left in an image, expected from the image alone; nothing is trained.

References
----------
Robertson and Stevenson, DCT quantization noise in compressed images, IEEE TCSVT 2005, doi:10.1109/TCSVT.2004.839995.
"""

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from mriqf.jpeg.codec import BLOCK, block_dct, quantization_table

TAIL_FACTOR = 0.85
"""Factor of the expected error, since coefficients have heavier tails than one Laplacian for all blocks. With it,
medians of expected over true error are 0.93 to 1.12 for clean and 0.77 to 0.98 for noisy training images, by
`python -m benchmarks.compression DATA --split train --law-alone`."""
FALL = np.linspace(0, 4, 33)
"""Powers of frequency that the scale of the Laplacian may fall with."""
FIRST = np.logspace(-1, 3.3, 60)
"""Scales of the Laplacian at the lowest frequency, grey levels."""


def quantisation_error(
    levels: Float[Tensor, "h w"],
    quality: int,
    phase: tuple[int, int] = (0, 0),
    inside: Bool[Tensor, "h w"] | None = None,
) -> Float[Tensor, "h w"]:
    """Expected root mean square error of each 8×8 block of a decoded JPEG, at each of its pixels, in grey levels.

    Coefficients are taken for Laplacian, with a scale that falls as a power of frequency; both are chosen by maximum
    likelihood from the steps that the file keeps. Every coefficient then has the variance of that law inside of its
    quantisation cell.

    Parameters
    ----------
    levels
        Grey levels, 0–255, of a decoded JPEG.
    quality
        Its quality factor, 1–100, whose standard luma table is taken.
    phase
        Row and column, 0–7, at which the first whole block starts; parts of blocks have the error of their neighbours.
    inside
        The object: the law is that of blocks of which it has more than half; all of them if there are none.

    Raises
    ------
    ValueError
        If there is no whole block.
    """
    h, w = levels.shape
    top, left = phase
    rows, columns = (h - top) // BLOCK, (w - left) // BLOCK
    if min(rows, columns) < 1:
        raise ValueError(f"levels are {h}×{w}: no whole block of {BLOCK}×{BLOCK} pixels starts at {phase}")
    whole = slice(top, top + BLOCK * rows), slice(left, left + BLOCK * columns)
    steps = quantization_table(quality).to(levels.device, torch.float64).flatten()
    coefficients = block_dct(levels[whole].double()).reshape(rows, columns, BLOCK**2)[..., 1:]
    order = (coefficients / steps[1:]).round().abs()
    fitted = order.flatten(0, 1)
    if inside is not None:
        share = inside[whole].double().reshape(rows, BLOCK, columns, BLOCK).mean((1, 3)).flatten()
        fitted = fitted[share > 0.5] if (share > 0.5).any() else fitted
    zero, rest = _variances(fitted, steps[1:])
    variance = (torch.where(order == 0, zero, rest).sum(2) + steps[0].square() / 12) / BLOCK**2
    places = [
        ((torch.arange(n, device=levels.device) - p).clamp(0, BLOCK * m - 1)) // BLOCK
        for n, p, m in zip((h, w), phase, (rows, columns), strict=True)
    ]
    return (TAIL_FACTOR * variance.sqrt()[places[0][:, None], places[1]]).float()


def _variances(
    order: Float[Tensor, "n 63"], step: Float[Tensor, "63"]
) -> tuple[Float[Tensor, "63"], Float[Tensor, "63"]]:
    """Variance of coefficients that were quantised to zero, and of others, around what they were quantised to."""
    zeros, total = (order == 0).sum(0).double(), order.sum(0)
    y, x = torch.meshgrid(torch.arange(BLOCK), torch.arange(BLOCK), indexing="ij")
    radius = torch.hypot(y.double(), x.double()).flatten()[1:].to(order)
    first, fall = (torch.from_numpy(v).to(order) for v in (FIRST, FALL))
    scale = first[:, None, None] * radius ** -fall[:, None]
    half = step / (2 * scale)  # of a cell, in units of the law's scale
    log_sinh = torch.where(half < 20, torch.sinh(half.clamp_max(20)).log(), half - np.log(2))
    likelihood = zeros * torch.log(-torch.expm1(-half)) + (len(order) - zeros) * log_sinh - 2 * half * total
    best = int(likelihood.sum(2).argmax())
    a, b = half.flatten(0, 1)[best], scale.flatten(0, 1)[best]
    zero = b**2 * (2 - (a**2 + 2 * a + 2) * (-a).exp()) / -torch.expm1(-a)
    # Inside of other cells the law is an exponential.
    up, down = (a**2 - 2 * a + 2), (a**2 + 2 * a + 2) * (-2 * a).exp()
    rest = b**2 * (up - down) / -torch.expm1(-2 * a)
    uniform = step.square() / 12
    flat = a < 1e-2  # where the difference of nearly equal numbers says nothing
    return torch.where(flat, uniform, zero), torch.where(flat, uniform, rest).clamp(uniform, step.square() / 4)
