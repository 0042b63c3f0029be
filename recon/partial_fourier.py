"""Partial Fourier: columns that were left out on one side, filled from the other by the smoothness of the phase."""

from typing import Literal

import torch
from jaxtyping import Bool, Complex, Float
from torch import Tensor

from recon.fourier import fft2c, ifft2c

PartialFourier = Literal["zero-filled", "homodyne", "pocs"]


def missing_side(mask: Bool[Tensor, "*b h w"]) -> tuple[int, int]:
    """First and last column that is sampled at all, where one side of k-space reaches less far; else all columns.

    A side reaches less far if it misses a tenth of its half more than the other does, and more than twice the longest
    gap between sampled columns: undersampling leaves out columns at both ends.

    Parameters
    ----------
    mask
        Sampling mask, of which columns are looked at.
    """
    columns = mask.flatten(0, -2).any(0).nonzero().flatten()
    w = mask.shape[-1]
    if not len(columns):
        return 0, w - 1
    first, last = int(columns[0]), int(columns[-1])
    before, after = w // 2 - first, last - w // 2
    gap = int(columns.diff().max()) - 1 if len(columns) > 1 else 0
    return (first, last) if abs(before - after) > max(0.1 * (w // 2), 2, 2 * gap) else (0, w - 1)


def fill(
    image: Complex[Tensor, "b m h w"],
    sampled: tuple[int, int],
    method: PartialFourier = "pocs",
    n_iter: int = 12,
) -> Complex[Tensor, "b m h w"]:
    """Fill the side of k-space that was left out, assuming that the phase of the image is smooth.

    Parameters
    ----------
    image
        Complex images, any unit.
    sampled
        First and last column of k-space that was sampled, as `missing_side` gives them.
    method
        ``homodyne``: the real part after the low-resolution phase is taken off, with weights that count columns without
        a partner twice; it keeps no phase errors. ``pocs``: magnitudes with the low-resolution phase, consistent with
        what was sampled. ``zero-filled``: the image as it is.
    n_iter
        Projections of ``pocs``.

    Raises
    ------
    ValueError
        If less than half of k-space was sampled, or the method is unknown.

    References
    ----------
    Noll et al., Homodyne detection in magnetic resonance imaging, IEEE Trans Med Imaging 1991, doi:10.1109/42.79473.
    Haacke et al., A fast, iterative, partial-Fourier technique capable of local phase recovery, J Magn Reson 1991,
    doi:10.1016/0022-2364(91)90253-P.
    """
    if method not in ("zero-filled", "homodyne", "pocs"):
        raise ValueError(f"partial Fourier method {method!r} is unknown: use zero-filled, homodyne or pocs")
    w = image.shape[-1]
    first, last = sampled
    half_width = min(w // 2 - first, last - w // 2)
    if half_width < 1:
        raise ValueError(f"columns {first} to {last} of {w} do not hold the centre of k-space: nothing can be filled")
    if method == "zero-filled" or (first, last) == (0, w - 1):
        return image
    kspace = fft2c(image)
    frequency = torch.arange(w, device=image.device) - w // 2
    phase = ifft2c(kspace * _ramp(frequency, half_width)).sgn()
    known = (torch.arange(w, device=image.device) >= first) & (torch.arange(w, device=image.device) <= last)
    if method == "homodyne":
        alone = 1.0 if last - w // 2 > w // 2 - first else -1.0  # sign of the side whose partner is missing
        weight = known * (1 + (alone * frequency / half_width).clamp(-1, 1))
        return phase * (ifft2c(kspace * weight) * phase.conj()).real
    x = image
    for _ in range(n_iter):
        x = ifft2c(torch.where(known, kspace, fft2c(x.abs() * phase)))
    return x


def _ramp(frequency: Tensor, half_width: int) -> Float[Tensor, " w"]:
    """Hann window over the columns that have a partner."""
    inside = (frequency.abs() <= half_width).float()
    return inside * (0.5 + 0.5 * torch.cos(torch.pi * frequency / (half_width + 1)))
