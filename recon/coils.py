"""Coil sensitivity maps (csm), coil combination, and simulated multi-coil k-space."""

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Complex, Complex64, Float, Inexact, Shaped
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
    element = torch.polar(torch.ones_like(angle), angle)  # of the ring, as the phase of its current
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


def calibration_size(kspace: Complex[Tensor, "b c h w"]) -> int:
    """Return the side of the largest centred square that every slice samples fully, in points; 0 if there is none.

    Parameters
    ----------
    kspace
        Measured k-space, any unit, exactly zero in all coils where it was not sampled.
    """
    sampled = (kspace != 0).any(1).all(0)
    n = 0
    while n < min(sampled.shape) and bool(central(sampled, (n + 1, n + 1)).all()):
        n += 1
    return n


def calibration_region(kspace: Complex[Tensor, "b c h w"], most: int = 24) -> tuple[int, int]:
    """Return the rows and columns of a centred rectangle that every slice samples fully; (0, 0) if there is none.

    The largest square, made longer along an axis where sampling allows: a few fully sampled columns have many rows.

    Parameters
    ----------
    kspace
        Measured k-space, any unit, exactly zero in all coils where it was not sampled.
    most
        Upper bound of both sides, in points.
    """
    sampled = (kspace != 0).any(1).all(0)
    rows = columns = min(calibration_size(kspace), most)
    while rows and rows < min(most, sampled.shape[0]) and bool(central(sampled, (rows + 1, columns)).all()):
        rows += 1
    while columns and columns < min(most, sampled.shape[1]) and bool(central(sampled, (rows, columns + 1)).all()):
        columns += 1
    return rows, columns


def compress_coils(
    kspace: Complex[Tensor, "b c h w"], n_coils: int
) -> tuple[Complex[Tensor, "b v h w"], Complex[Tensor, "b v c"]]:
    """Compress k-space to the virtual coils that keep most of each slice's energy.

    Parameters
    ----------
    kspace
        Measured k-space, any unit.
    n_coils
        Number of virtual coils, in [1, c]; with c the combination by `rss` stays as it was.

    Returns
    -------
    tuple
        The compressed k-space, strongest virtual coil first, and the matrices, with orthonormal rows. Maps of the
        real coils follow by ``torch.einsum("bvc,bchw->bvhw", matrix, csm)``.

    Raises
    ------
    ValueError
        If k-space is not complex, not finite or zero in a slice, or ``n_coils`` is out of range.

    References
    ----------
    Buehrer et al., Array compression for MRI with large coil arrays, Magn Reson Med 2007, doi:10.1002/mrm.21237.
    """
    require_kspace(kspace)
    if not 1 <= n_coils <= kspace.shape[1]:
        raise ValueError(f"n_coils={n_coils} is out of range: use 1 to {kspace.shape[1]} for these coils")
    matrix = torch.stack([principal_coils(y / y.abs().max(), n_coils) for y in kspace])
    return torch.einsum("bvc,bchw->bvhw", matrix, kspace), matrix


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
        In the unit of the data that it is for.
    seed
        Seed of the draw, on the CPU.
    dtype
        Type of real and imaginary part.
    """
    parts = torch.randn((*shape, 2), dtype=dtype, generator=torch.Generator().manual_seed(seed))
    return std * torch.view_as_complex(parts)  # complex randn would give each part half of the variance


def principal_coils(y: Complex[Tensor, "c h w"], n_coils: int) -> Complex[Tensor, "v c"]:
    """Return the combinations of coils with most energy, strongest first, the largest weight of each real."""
    samples = y.flatten(1).to(torch.complex128)
    vectors = torch.linalg.eigh(samples @ samples.mH).eigenvectors.flip(1)[:, :n_coils].mH
    largest = vectors.gather(1, vectors.abs().argmax(1, keepdim=True))
    return (vectors * largest.conj().sgn()).to(y.dtype)


def central(x: Shaped[Tensor, "*batch h w"], sides: tuple[int, int]) -> Shaped[Tensor, "*batch n m"]:
    """Return the central points, as many along each axis, cut so that the zero frequency stays at ``n // 2``."""
    top, left = (size // 2 - n // 2 for size, n in zip(x.shape[-2:], sides, strict=True))
    return x[..., top : top + sides[0], left : left + sides[1]]


def require_kspace(kspace: Tensor) -> None:
    """Raise unless k-space is complex (b, c, h, w), finite, and not zero in any slice."""
    shape = tuple(kspace.shape)
    if not kspace.is_complex():
        raise ValueError(
            f"kspace is {kspace.dtype} with shape {shape}, must be complex (b, c, h, w): join real and imaginary parts "
            "by torch.complex, or by torch.view_as_complex where they are the last axis"
        )
    if kspace.ndim != 4:
        raise ValueError(f"kspace has shape {shape}, not (b, c, h, w): add the missing axis, such as kspace[None]")
    if not kspace.isfinite().all():
        raise ValueError(
            f"kspace {shape} holds NaN or infinity: look for them in the raw data, or leave those slices out"
        )
    empty = [i for i, y in enumerate(kspace) if not y.any()]
    if empty:
        raise ValueError(f"kspace {shape} is zero in all coils of slice {empty[0]}: leave empty slices out")
