"""Combination of coil images, and k-space whose coils have independent noise."""

import torch
from jaxtyping import Complex, Float, Inexact
from torch import Tensor


def rss(coil_images: Inexact[Tensor, "b c h w"]) -> Float[Tensor, "b 1 h w"]:
    """Combine coil images into the root of the sum of their squared magnitudes.

    Parameters
    ----------
    coil_images
        One image per coil, any unit.

    Returns
    -------
    Tensor
        Non-negative magnitude image in the same unit.

    References
    ----------
    Roemer et al., The NMR phased array, Magn Reson Med 1990, doi:10.1002/mrm.1910160203.
    """
    return torch.linalg.vector_norm(coil_images, dim=1, keepdim=True)


def whiten(kspace: Complex[Tensor, "b c h w"], noise: Complex[Tensor, "c n"]) -> Complex[Tensor, "b c h w"]:
    """Mix coils so that their noise is independent and of the same level, the mean of the coils' variances kept.

    Parameters
    ----------
    kspace
        Measured k-space, any unit.
    noise
        Samples of noise alone of the same coils, many more than coils, in the same unit.

    Raises
    ------
    ValueError
        If the coils differ in number, or the noise has too few samples to tell how it is correlated.

    References
    ----------
    Roemer et al., The NMR phased array, Magn Reson Med 1990, doi:10.1002/mrm.1910160203.
    """
    if len(noise) != kspace.shape[1]:
        raise ValueError(f"noise {tuple(noise.shape)} does not fit {kspace.shape[1]} coils: give (c, n)")
    return torch.einsum("vc, bchw -> bvhw", whitening(noise).to(kspace.dtype), kspace)


def whitening(noise: Complex[Tensor, "c n"]) -> Complex[Tensor, "c c"]:
    """Matrix that makes the coils' noise independent and of the same level; see `whiten`."""
    c, n = noise.shape
    if n < 2 * c:
        raise ValueError(f"noise {tuple(noise.shape)} does not fit {c} coils: give (c, n), n at least 2 c")
    centred = (noise - noise.mean(1, keepdim=True)).to(torch.complex128)
    covariance = centred @ centred.mH / n
    scale = covariance.diagonal().real.mean()
    if not scale > 0:
        raise ValueError(f"noise {tuple(noise.shape)} is constant: give samples of noise alone")
    unit = torch.eye(c, dtype=torch.complex128, device=noise.device)
    factor = torch.linalg.cholesky(covariance / scale + 1e-9 * unit)
    return torch.linalg.solve_triangular(factor, unit, upper=False)
