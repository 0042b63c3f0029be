"""Degradations of MR images with known severity: noise, resolution, motion, ghosts, smoothing and compression.

Those of the measurement act on k-space, `(b, c, h, w)`, centred and orthonormal, phase encoding along the last axis;
the others act on magnitude images, `(b, 1, h, w)`. Same arguments, same result; no gradient is meant to pass.
"""

import math

import numpy as np
import torch
from jaxtyping import Complex, Float
from torch import Tensor
from torch.nn.functional import conv2d, grid_sample, interpolate, pad

from mriqf.jpeg import BLOCK, compress

_AXES = (-2, -1)
_REST = 0.04  # central part of the columns without random motion: the image keeps its place


def noise(kspace: Complex[Tensor, "b c h w"], std: int | float, seed: int) -> Complex[Tensor, "b c h w"]:
    """Add complex white Gaussian noise.

    Parameters
    ----------
    kspace
        Any unit.
    std
        Standard deviation of the real and, separately, of the imaginary part, in the unit of the k-space, 0 or more.
        The transform is orthonormal, so each coil image carries noise of the same standard deviation.
    seed
        Seed of the draw.

    Raises
    ------
    ValueError
        If the standard deviation is negative.
    """
    if not std >= 0:
        raise ValueError(f"std={std} is no standard deviation: use std >= 0")
    parts = torch.randn((*kspace.shape, 2), dtype=kspace.real.dtype, generator=torch.Generator().manual_seed(seed))
    return kspace + std * torch.view_as_complex(parts).to(kspace.device)


def truncate(
    kspace: Complex[Tensor, "b c h w"], fraction: int | float | tuple[int | float, int | float], crop: bool = False
) -> Complex[Tensor, "b c rows columns"]:
    """Keep the centre of k-space: `round(h fraction)` rows and `round(w fraction)` columns, at least one of each.

    Parameters
    ----------
    kspace
        Any unit.
    fraction
        Above 0, at most 1; one for both axes, or one for the rows and one for the columns.
    crop
        Cut the rest off instead of setting it to zero: for a small image in the same unit, whose pixels fill the same
        field of view from edge to edge.

    Raises
    ------
    ValueError
        If a fraction is out of range.
    """
    fractions = fraction if isinstance(fraction, tuple) else (fraction, fraction)
    if not all(0 < f <= 1 for f in fractions):
        raise ValueError(f"fraction={fraction} is no part of k-space: use a value above 0, at most 1")
    size = kspace.shape[2:]
    kept = [max(round(n * part), 1) for n, part in zip(size, fractions, strict=True)]
    centre = [slice(n // 2 - k // 2, n // 2 - k // 2 + k) for n, k in zip(size, kept, strict=True)]
    if crop:
        # The middle pixels of both images coincide, but their edges shall; and the transform's factor depends on size.
        offset = [n // 2 - k // 2 * n / k - (n / k - 1) / 2 for n, k in zip(size, kept, strict=True)]
        moved = motion(kspace, torch.tensor(offset).expand(size[1], 2))
        return moved[..., centre[0], centre[1]] * math.sqrt(math.prod(kept) / size.numel())
    result = torch.zeros_like(kspace)
    result[..., centre[0], centre[1]] = kspace[..., centre[0], centre[1]]
    return result


def motion(
    kspace: Complex[Tensor, "b c h w"], shift: Float[Tensor, "w 2"], rotation: Float[Tensor, " w"] | None = None
) -> Complex[Tensor, "b c h w"]:
    """K-space of an object that moves between phase-encoding columns: first rotated, then shifted.

    Shifts are exact, as ramps of the phase. Each distinct angle costs an interpolation (bicubic) of the coil images, so
    rotations should be constant over many columns. Rotation loses what leaves the field of view; shifts wrap it around.

    Parameters
    ----------
    kspace
        Any unit.
    shift
        Displacement during each column, in pixels, along height (down) and along width (to the right).
    rotation
        Angle during each column in degrees, from the width axis towards the height axis, about the pixel
        `(h // 2, w // 2)`; none if not given.

    References
    ----------
    Batchelor et al., Matrix description of general motion correction applied to multishot images, Magn Reson Med 2005,
    doi:10.1002/mrm.20656.
    """
    moved = kspace
    if rotation is not None and rotation.any():
        image, moved = _ifft2c(kspace), kspace.clone()
        for angle in rotation.unique().tolist():
            if angle:
                columns = rotation == angle
                moved[..., columns] = _fft2c(_rotate(image, angle))[..., columns]
    h, w = kspace.shape[2:]
    ky, kx = ((torch.arange(n, device=kspace.device) - n // 2) / n for n in (h, w))
    dy, dx = shift.to(kspace.real).T
    cycles = ky[:, None] * dy + kx * dx
    return moved * torch.polar(torch.ones_like(cycles), -2 * math.pi * cycles)


def random_motion(
    w: int, severity_px: int | float, n_events: int, seed: int, severity_deg: int | float = 0, n_shots: int = 1
) -> tuple[Float[Tensor, "w 2"], Float[Tensor, " w"]]:
    """Draw shifts and rotations for `motion`: sudden changes of pose, the central columns at rest.

    Parameters
    ----------
    w
        Number of phase-encoding columns.
    severity_px, severity_deg
        Poses are uniform within plus and minus these, pixels on each axis and degrees.
    n_events
        Changes of pose at random times, 0 to w - 1.
    seed
        Seed of the draw.
    n_shots
        Interleaved passes over k-space in which the columns are acquired; with 1, one after the other.

    Raises
    ------
    ValueError
        If there are more events than columns to happen between, or no shot.
    """
    if not 0 <= n_events < w:
        raise ValueError(f"n_events={n_events} do not fit between {w} columns: use 0 to {w - 1}")
    if n_shots < 1:
        raise ValueError(f"n_shots={n_shots} acquires nothing: use 1 or more")
    rng = np.random.default_rng(seed)
    column = np.arange(w)
    time = np.argsort(np.lexsort((column, column % n_shots)))
    events = np.sort(rng.choice(np.arange(1, w), n_events, replace=False))
    period = np.searchsorted(events, time, side="right")
    poses = rng.uniform(-1, 1, (n_events + 1, 3)) * (severity_px, severity_px, severity_deg)
    poses[period[w // 2]] = 0
    path = poses[period]
    path[np.abs(column - w // 2) <= _REST * w / 2] = 0
    motion_path = torch.from_numpy(path.astype(np.float32))
    return motion_path[:, :2], motion_path[:, 2]


def ghost(
    kspace: Complex[Tensor, "b c h w"], amplitude: int | float, phase: int | float = 0
) -> Complex[Tensor, "b c h w"]:
    """Multiply even and odd columns by 1 ± `amplitude` e^(i `phase`): adds a copy of the image, half of it away.

    Parameters
    ----------
    kspace
        Any unit.
    amplitude
        Amplitude of the copy, relative to the image, 0 or more.
    phase
        Phase of the copy, radians; a quarter turn stands for a phase error between odd and even echoes.

    Raises
    ------
    ValueError
        If the amplitude is negative.

    References
    ----------
    Buonocore and Gao, Ghost artifact reduction for echo planar imaging using image phase correction, Magn Reson Med
    1997, doi:10.1002/mrm.1910380114.
    """
    if not amplitude >= 0:
        raise ValueError(f"amplitude={amplitude} is negative: use 0 or more, and the phase for the sign")
    w = kspace.shape[3]
    sign = 1 - 2 * ((torch.arange(w, device=kspace.device) - w // 2) % 2)
    return kspace * (1 + amplitude * complex(math.cos(phase), math.sin(phase)) * sign)


def blur(
    image: Float[Tensor, "b 1 h w"], sigma: int | float | tuple[int | float, int | float]
) -> Float[Tensor, "b 1 h w"]:
    """Gaussian filter, mirrored at the borders.

    Parameters
    ----------
    image
        Any unit.
    sigma
        Standard deviation in pixels, 0 or more; one for both axes, or one for height and one for width.

    Raises
    ------
    ValueError
        If sigma is negative, or the filter, of 4 sigma to each side, is wider than the image.
    """
    sigmas = sigma if isinstance(sigma, tuple) else (sigma, sigma)
    reach = [int(4 * s + 0.5) for s in sigmas]
    if min(sigmas) < 0 or any(r >= n for r, n in zip(reach, image.shape[2:], strict=True)):
        raise ValueError(
            f"sigma={sigma} does not fit an image of {tuple(image.shape[2:])}: use 0 or more, below a quarter of a side"
        )
    for axis, (s, r) in enumerate(zip(sigmas, reach, strict=True)):
        if r:
            kernel = torch.exp(-0.5 * (torch.arange(-r, r + 1, device=image.device, dtype=image.dtype) / s) ** 2)
            shape, margin = ((-1, 1), (0, 0, r, r)) if axis == 0 else ((1, -1), (r, r, 0, 0))
            image = conv2d(pad(image, margin, mode="reflect"), (kernel / kernel.sum()).reshape(1, 1, *shape))
    return image


def oversmooth(image: Float[Tensor, "b 1 h w"], weight: int | float, n_iter: int = 60) -> Float[Tensor, "b 1 h w"]:
    """Image u that minimises `½ ‖u - image‖² + weight TV(u)`: flat patches between edges, as a cartoon has them.

    Parameters
    ----------
    image
        Any unit.
    weight
        Weight of the total variation, 0 or more, in the unit of the image.
    n_iter
        Iterations of Chambolle's projection; edges are in place after tens, large flat parts after hundreds.

    Raises
    ------
    ValueError
        If the weight is negative.

    References
    ----------
    Chambolle, An algorithm for total variation minimization and applications, J Math Imaging Vis 2004,
    doi:10.1023/B:JMIV.0000011325.36760.1e.
    """
    if not weight >= 0:
        raise ValueError(f"weight={weight} rewards variation: use 0 or more")
    if weight == 0:
        return image
    dual = image.new_zeros(2, *image.shape)
    for _ in range(n_iter):
        slope = _gradient(_divergence(dual) - image / weight)
        dual = (dual + slope / 4) / (1 + torch.linalg.vector_norm(slope, dim=0) / 4)
    return image - weight * _divergence(dual)


def shrink(image: Float[Tensor, "b 1 h w"], threshold: int | float, wavelet: str = "db4") -> Float[Tensor, "b 1 h w"]:
    """Soft thresholding of an orthogonal wavelet transform's details, as strong l1-wavelet regularisation does it.

    Parameters
    ----------
    image
        Any unit.
    threshold
        By which the details' magnitudes are lessened, 0 or more, in the unit of the image.
    wavelet
        PyWavelets' name of an orthogonal wavelet.

    Raises
    ------
    ValueError
        If the threshold is negative.
    ImportError
        If PyWavelets is not installed.

    References
    ----------
    Donoho, De-noising by soft-thresholding, IEEE Trans Inf Theory 1995, doi:10.1109/18.382009.
    """
    if not threshold >= 0:
        raise ValueError(f"threshold={threshold} would enlarge details: use 0 or more")
    try:
        import pywt
    except ImportError as error:
        raise ImportError("shrink needs PyWavelets: pip install PyWavelets") from error
    h, w = image.shape[2:]
    levels = max(min(pywt.dwt_max_level(min(h, w), wavelet), 4), 1)
    smooth, *details = pywt.wavedec2(image.cpu().numpy(), wavelet, mode="periodization", level=levels)
    shrunk = [tuple(np.sign(d) * np.maximum(np.abs(d) - threshold, 0) for d in triple) for triple in details]
    smoothed = pywt.waverec2([smooth, *shrunk], wavelet, mode="periodization")[..., :h, :w]
    return torch.from_numpy(np.ascontiguousarray(smoothed)).to(image)


def jpeg(
    image: Float[Tensor, "b 1 h w"], quality: int, phase: tuple[int, int] = (0, 0), step: int | float = 1.0
) -> Float[Tensor, "b 1 h w"]:
    """JPEG on a grid that starts anywhere, at another resolution if wanted, of which no lattice is left.

    Parameters
    ----------
    image
        In [0, 1].
    quality
        Quality factor, 1–100.
    phase
        Row and column, 0–7, at which the first whole block starts.
    step
        Distance of the compressed image's pixels, in pixels, about 0.9 to 1.1; the result has the image's own (cubic
        interpolation, both ways).

    Raises
    ------
    ValueError
        If the quality or the step is out of range.
    """
    if not step > 0:
        raise ValueError(f"step={step} is no distance of pixels: use a value above 0, such as 0.95")
    size = [max(round(n / step), 1) for n in image.shape[2:]]
    sampled = image if step == 1 else interpolate(image, size, mode="bicubic")
    top, left = (-p % BLOCK for p in phase)
    decoded = compress(pad(sampled, (left, 0, top, 0), mode="replicate"), quality)[..., top:, left:]
    return decoded if step == 1 else interpolate(decoded, image.shape[2:], mode="bicubic").clamp(0, 1)


def _rotate(image: Tensor, degrees: float) -> Tensor:
    """Turn complex images about the centre of the transform; zero comes in from outside."""
    h, w = image.shape[2:]
    cos, sin = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    y, x = (torch.arange(n, device=image.device, dtype=image.real.dtype) - n // 2 for n in (h, w))
    source_y, source_x = y[:, None] * cos - x * sin + h // 2, y[:, None] * sin + x * cos + w // 2
    grid = torch.stack((2 * source_x / max(w - 1, 1) - 1, 2 * source_y / max(h - 1, 1) - 1), -1)
    parts = torch.cat((image.real, image.imag), 1)
    turned = grid_sample(parts, grid.expand(len(image), -1, -1, -1), mode="bicubic", align_corners=True)
    return torch.complex(*turned.chunk(2, 1))


def _gradient(u: Tensor) -> Tensor:
    """Forward differences along height and width, zero at the last row and column."""
    return torch.stack((pad(u.diff(dim=-2), (0, 0, 0, 1)), pad(u.diff(dim=-1), (0, 1))))


def _divergence(p: Tensor) -> Tensor:
    """Minus the adjoint of `_gradient`."""
    return pad(p[0, ..., :-1, :], (0, 0, 1, 1)).diff(dim=-2) + pad(p[1, ..., :-1], (1, 1)).diff(dim=-1)


def _fft2c(image: Tensor) -> Tensor:
    return torch.fft.fftshift(torch.fft.fft2(torch.fft.ifftshift(image, dim=_AXES), norm="ortho"), dim=_AXES)


def _ifft2c(kspace: Tensor) -> Tensor:
    return torch.fft.fftshift(torch.fft.ifft2(torch.fft.ifftshift(kspace, dim=_AXES), norm="ortho"), dim=_AXES)
