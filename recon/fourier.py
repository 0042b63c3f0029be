"""Centred, orthonormal Fourier transform between image and k-space.

The zero frequency lies at index ``n // 2`` of each axis, as in fastMRI and ISMRMRD exports. Data with the zero
frequency in the corner (MoDL's own data, Calgary-Campinas) must be shifted by its loader.
"""

import torch
from jaxtyping import Complex
from torch import Tensor

_AXES = (-2, -1)


def fft2c(image: Complex[Tensor, "*batch h w"]) -> Complex[Tensor, "*batch h w"]:
    """Transform images to k-space; energy is kept.

    Parameters
    ----------
    image
        Complex image, any unit.

    Returns
    -------
    Tensor
        K-space in the image's unit, zero frequency at ``(h // 2, w // 2)``.
    """
    return torch.fft.fftshift(torch.fft.fft2(torch.fft.ifftshift(image, dim=_AXES), norm="ortho"), dim=_AXES)


def ifft2c(kspace: Complex[Tensor, "*batch h w"]) -> Complex[Tensor, "*batch h w"]:
    """Transform k-space to images: inverse and adjoint of `fft2c`.

    Parameters
    ----------
    kspace
        K-space with the zero frequency at ``(h // 2, w // 2)``, any unit.

    Returns
    -------
    Tensor
        Complex image in the unit of the k-space.
    """
    return torch.fft.fftshift(torch.fft.ifft2(torch.fft.ifftshift(kspace, dim=_AXES), norm="ortho"), dim=_AXES)


def crop_readout(kspace: Complex[Tensor, "*batch h w"], height: int) -> Complex[Tensor, "*batch n w"]:
    """Reduce k-space to that of the central rows of its images, as scanners remove read-out oversampling.

    The read-out must be fully sampled: under a mask of columns, rows of an image do not depend on each other, and
    fewer of them are reconstructed sooner.

    Parameters
    ----------
    kspace
        K-space with the read-out along rows, any unit.
    height
        Rows to keep, 1 to h.

    Raises
    ------
    ValueError
        If the height is out of range.
    """
    h = kspace.shape[-2]
    if not 1 <= height <= h:
        raise ValueError(f"height={height} is out of range: use 1 to {h}, the rows of k-space")
    rows = torch.fft.fftshift(torch.fft.ifft(torch.fft.ifftshift(kspace, dim=-2), dim=-2, norm="ortho"), dim=-2)
    start = (h - height) // 2  # as fastMRI crops its images
    rows = torch.fft.ifftshift(rows[..., start : start + height, :], dim=-2)
    return torch.fft.fftshift(torch.fft.fft(rows, dim=-2, norm="ortho"), dim=-2)
