"""Simulated coil maps and phase, and the k-space that coils measure of an image."""

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Complex, Complex64
from torch import Tensor
from torch.nn.functional import interpolate

from recon.coils.combination import rss
from recon.fourier import fft2c


def birdcage(n_coils: int, shape: tuple[int, int]) -> Complex64[Tensor, "1 c h w"]:
    """Simulate the maps of a birdcage coil, normalised so that the squared magnitudes sum to 1 at every pixel.

    The elements stand on a ring of 1.5 times the half field of view, as SigPy's. The field of each is that of a
    straight wire: it falls with the distance and turns around the wire. The phase of the currents goes once around.

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

    References
    ----------
    Hayes et al., An efficient, highly homogeneous radiofrequency coil, J Magn Reson 1985,
    doi:10.1016/0022-2364(85)90257-4.
    """
    if n_coils < 1:
        raise ValueError(f"n_coils={n_coils} makes no coil: use n_coils >= 1")
    y, x = (torch.arange(n, dtype=torch.float64) * 2 / n - 1 for n in shape)  # the field of view spans [-1, 1]
    angle = 2 * torch.pi * torch.arange(n_coils, dtype=torch.float64)[:, None, None] / n_coils
    element = torch.polar(torch.ones_like(angle), angle)  # place on the ring, and phase of the current
    csm = 1j / (element * (x + 1j * y[:, None] - 1.5 * element).conj())[None]
    return (csm / rss(csm)).to(torch.complex64)


def surface_coils(n_coils: int, shape: tuple[int, int], seed: int) -> Complex64[Tensor, "1 c h w"]:
    """Simulate the maps of surface loops set around the object, with random places, sizes and phases.

    A loop's field is that of a magnetic dipole, softened by the loop's radius; it receives Bx − iBy. The squared
    magnitudes are normalised to sum to 1 at every pixel.

    Parameters
    ----------
    n_coils
        Number of loops, 1 or more.
    shape
        Height and width in pixels.
    seed
        Seed of the draw: the same arguments give the same maps.

    Raises
    ------
    ValueError
        If there is no coil.

    References
    ----------
    Roemer et al., The NMR phased array, Magn Reson Med 1990, doi:10.1002/mrm.1910160203.
    """
    if n_coils < 1:
        raise ValueError(f"n_coils={n_coils} makes no coil: use n_coils >= 1")
    rng = np.random.default_rng(seed)
    y, x = (np.linspace(-1, 1, n, dtype=np.float32) for n in shape)  # the field of view spans [-1, 1]
    angle = 2 * np.pi * (np.arange(n_coils) + rng.random() + rng.uniform(-0.3, 0.3, n_coils)) / n_coils
    centre = (rng.uniform(1.0, 1.3, n_coils) * np.exp(1j * angle)).astype(np.complex64)[:, None, None]
    facing = -np.exp(1j * (angle + rng.normal(0, 0.2, n_coils))).astype(np.complex64)[:, None, None]
    radius2 = rng.uniform(0.4, 0.7, n_coils).astype(np.float32)[:, None, None] ** 2
    r = (x + 1j * y[:, None]) - centre
    distance2 = r.real**2 + r.imag**2
    field = 3 * (facing.conj() * r).real * r - (distance2 - 2 * radius2) * facing  # on the axis exactly a loop's
    field /= (distance2 + radius2) ** 2.5
    phase = np.exp(2j * np.pi * rng.random(n_coils)).astype(np.complex64)[:, None, None]
    csm = torch.from_numpy(phase * field.conj())[None]
    return csm / rss(csm)


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
    return kspace + white_noise(kspace.shape, noise_std, seed, kspace.real.dtype).to(kspace.device)


def white_noise(
    shape: Sequence[int], std: float, seed: int, dtype: torch.dtype = torch.float32
) -> Complex[Tensor, "..."]:
    """Draw complex white Gaussian noise whose real and imaginary parts have this standard deviation each.

    Parameters
    ----------
    shape
        Shape of the result.
    std
        Standard deviation of each part, in the unit of the data.
    seed
        Seed of the draw, on the CPU.
    dtype
        Type of real and imaginary part.
    """
    parts = torch.randn((*shape, 2), dtype=dtype, generator=torch.Generator().manual_seed(seed))
    return std * torch.view_as_complex(parts)  # complex randn would give each part half of the variance
