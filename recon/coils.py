"""Coil sensitivity maps (csm), coil combination, and simulated multi-coil k-space."""

import torch
from jaxtyping import Complex, Complex64, Float, Inexact
from torch import Tensor
from torch.nn.functional import interpolate

from recon.fourier import fft2c


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


def birdcage(n_coils: int, shape: tuple[int, int]) -> Complex64[Tensor, "1 c h w"]:
    """Simulate the maps of a birdcage coil, normalised so that the squared magnitudes sum to 1 at every pixel.

    Parameters
    ----------
    n_coils
        Number of coil elements on the ring, 1 or more.
    shape
        Height and width in pixels.

    Raises
    ------
    ValueError
        If there is no coil.
    ImportError
        If sigpy is not installed.

    References
    ----------
    Hayes et al., An efficient, highly homogeneous radiofrequency coil, J Magn Reson 1985,
    doi:10.1016/0022-2364(85)90257-4.
    """
    if n_coils < 1:
        raise ValueError(f"n_coils={n_coils} makes no coil: use n_coils >= 1")
    try:
        from sigpy.mri import birdcage_maps
    except ImportError as error:
        raise ImportError('birdcage needs sigpy: pip install "mriqf[recon]"') from error
    csm = torch.from_numpy(birdcage_maps((n_coils, *shape)))[None]
    return (csm / rss(csm)).to(torch.complex64)


def smooth_phase(shape: tuple[int, int], seed: int, std: float = 1.0, n_knots: int = 4) -> Complex64[Tensor, "1 1 h w"]:
    """Draw a smooth random phase map of unit modulus, such as field inhomogeneity leaves on an image.

    Normal random phases on a coarse grid are interpolated bicubically.

    Parameters
    ----------
    shape
        Height and width in pixels.
    seed
        Seed of the draw: the same arguments give the same map.
    std
        Standard deviation of the phase at the knots, in radians, 0 or more.
    n_knots
        Knots along each axis, 2 or more; more knots give faster variation.

    Raises
    ------
    ValueError
        If ``std`` or ``n_knots`` is out of range.
    """
    if std < 0:
        raise ValueError(f"std={std} is no standard deviation: use std >= 0 radians")
    if n_knots < 2:
        raise ValueError(f"n_knots={n_knots} spans no grid: use n_knots >= 2")
    knots = std * torch.randn(1, 1, n_knots, n_knots, generator=torch.Generator().manual_seed(seed))
    phase = interpolate(knots, size=shape, mode="bicubic", align_corners=True)
    return torch.polar(torch.ones_like(phase), phase)


def simulate_kspace(
    image: Complex[Tensor, "b 1 h w"], csm: Complex[Tensor, "#b c h w"], noise_std: float, seed: int
) -> Complex[Tensor, "b c h w"]:
    """Simulate the fully sampled k-space that coils would measure of an image, with white Gaussian noise.

    Parameters
    ----------
    image
        Complex image, any unit.
    csm
        Coil sensitivity maps, one set or one per image.
    noise_std
        Standard deviation of the real and, separately, of the imaginary part of the noise, in the image's unit, 0 or
        more. The transform is orthonormal, so each coil image carries noise of the same standard deviation.
    seed
        Seed of the noise, drawn on the CPU so that it does not depend on the image's device.

    Raises
    ------
    ValueError
        If ``noise_std`` is negative.
    """
    if noise_std < 0:
        raise ValueError(f"noise_std={noise_std} is no standard deviation: use noise_std >= 0")
    kspace = fft2c(csm * image)
    noise = torch.randn(
        (*kspace.shape, 2), dtype=kspace.real.dtype, generator=torch.Generator().manual_seed(seed)
    )  # two components of unit variance; complex randn would give each half of it
    return kspace + noise_std * torch.view_as_complex(noise).to(kspace.device)
