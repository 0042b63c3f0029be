"""Targets to degrade: MR slices, photographs and drawn shapes, varied so that no contrast or anatomy is learned."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Num
from torch import Tensor
from torch.nn.functional import interpolate

from mriqf import metrics
from mriqf.scoring.resolution import crop_to_support
from recon.coils import smooth_phase
from recon.wavelets import wavelet

Image = Float[Tensor, "1 1 _ _"]

LEAST_OBJECT = 0.12
"""Part of a target's area that the object takes, at least."""


@dataclass(frozen=True)
class Pool:
    """Images of one source, with the names of their subjects."""

    name: str
    images: Sequence[Num[np.ndarray, "_ _"]]
    subjects: Sequence[str]
    weight: float
    photographs: bool = False
    """True for images that fill the whole frame and have hardly any noise."""


@dataclass(frozen=True)
class Target:
    """A reference image, with its own noise level."""

    image: Image
    """Magnitude, root mean square of its object 1."""
    noise: float
    """Standard deviation of the noise that it has itself, in the same unit; 0 where it was drawn or denoised."""
    dataset: str
    subject: str


@dataclass(frozen=True)
class TargetConfig:
    """Settings of targets; shares are probabilities."""

    shapes: float = 0.08
    """Drawn ellipses and polygons with texture, in place of an image of the pools."""
    recoloured: float = 0.35
    """MR targets whose tissues get other intensities, region by region."""
    denoised: float = 0.5
    """MR targets from which their own noise is taken."""
    power_law: float = 0.3
    """Contrast changed by a power law."""
    shaded: float = 0.4
    """Smooth shading as receiver coils leave it, by factors of 0.6 to 1.6."""
    smallest: int = 144
    """Pixels of the shorter side, at least."""
    largest: int = 256
    """Pixels of either side, at most."""


def draw_target(pools: Sequence[Pool], rng: np.random.Generator, config: TargetConfig = TargetConfig()) -> Target:
    """Draw one target.

    Raises
    ------
    ValueError
        If a hundred draws show no object that is large enough.
    """
    odds = np.array([pool.weight for pool in pools])
    for _ in range(100):
        if rng.random() < config.shapes:
            return Target(
                _unit(shapes((int(rng.integers(160, 257)), int(rng.integers(160, 257))), rng)), 0.0, "shapes", "shapes"
            )
        pool = pools[int(rng.choice(len(pools), p=odds / odds.sum()))]
        k = int(rng.integers(len(pool.images)))
        image = torch.from_numpy(np.abs(pool.images[k]).astype(np.float32))[None, None]
        image = framed(image, rng) if pool.photographs else image
        image = _turned(_resized(crop_to_support(image)[0], rng, config), rng)
        if metrics.object_mask(image).float().mean() < LEAST_OBJECT:
            continue
        image = _unit(image)
        noise = 0.0 if pool.photographs else noise_level(image)
        if noise and rng.random() < config.denoised:
            image, noise = denoise(image, noise), 0.0
        if not pool.photographs and rng.random() < config.recoloured:
            image, noise = recolour(denoise(image, noise) if noise else image, rng), 0.0
        elif rng.random() < config.power_law:
            exponent = rng.uniform(0.6, 1.5)
            image = image**exponent
            noise *= exponent
        if rng.random() < config.shaded:
            field = smooth_phase((image.shape[2], image.shape[3]), int(rng.integers(2**31)), 0.35, 3).angle()
            image = image * field.clamp(-0.5, 0.5).exp()
        scale = _rms(image)
        return Target(image / scale, noise / scale, pool.name, pool.subjects[k])
    raise ValueError(f"{len(pools)} sources show hardly any object: leave out those without")


def shapes(shape: tuple[int, int], rng: np.random.Generator) -> Image:
    """Random ellipses and polygons, inside a larger one, each with a grey level and a texture of its own."""
    h, w = shape
    y, x = np.mgrid[-1 : 1 : h * 1j, -1 : 1 : w * 1j].astype(np.float32)

    def region(size: tuple[float, float], spread: float) -> np.ndarray:
        cy, cx = rng.uniform(-spread, spread, 2)
        a, b = rng.uniform(*size, 2)
        angle = rng.uniform(0, np.pi)
        u = ((y - cy) * np.cos(angle) + (x - cx) * np.sin(angle)) / a
        v = ((x - cx) * np.cos(angle) - (y - cy) * np.sin(angle)) / b
        power = rng.choice([1.0, 2.0, 2.0, 4.0])
        bumps = 1 + 0.1 * rng.standard_normal() * np.cos(rng.integers(2, 6) * np.arctan2(u, v) + rng.uniform(0, 6))
        return (np.abs(u) ** power + np.abs(v) ** power) ** (1 / power) < bumps

    body = region((0.6, 0.95), 0.1)
    image = np.where(body, rng.uniform(0.3, 1.0), 0.0).astype(np.float32)
    for _ in range(int(rng.integers(6, 40))):
        inside = region((0.02, 0.45), 0.8) & body
        image[inside] = rng.uniform(0.02, 1.2)
    spectrum = np.fft.rfft2(rng.standard_normal((h, w)))
    fy, fx = np.fft.fftfreq(h)[:, None], np.fft.rfftfreq(w)
    texture = np.fft.irfft2(spectrum / (0.01 + np.hypot(fy, fx)) ** rng.uniform(0.5, 2.0), s=(h, w))
    image = image * (1 + rng.uniform(0, 0.25) * texture / texture.std()).clip(0).astype(np.float32)
    fine = torch.from_numpy(image.astype(np.float32))[None, None]
    return _smoothed(fine, rng.uniform(0.4, 0.8))  # edges as wide as a pixel


def framed(photo: Image, rng: np.random.Generator) -> Image:
    """A photograph's square part inside a smooth random outline on an empty ground."""
    h, w = photo.shape[2:]
    side = int(rng.integers(min(256, h, w), min(h, w, 640) + 1))
    top, left = int(rng.integers(h - side + 1)), int(rng.integers(w - side + 1))
    part = photo[..., top : top + side, left : left + side]
    small = interpolate(part, (256, 256), mode="bicubic", antialias=True).clamp_min(0)
    y, x = np.mgrid[-1:1:256j, -1:1:256j]
    angle = np.arctan2(y, x)
    waves = (0.15 * rng.standard_normal() / k * np.cos(k * angle + rng.uniform(0, 2 * np.pi)) for k in range(1, 6))
    radius = rng.uniform(0.75, 1.1) * (1 + sum(waves))
    outline = np.clip((radius - np.hypot(y, x)) / 0.03, 0, 1).astype(np.float32)
    return torch.from_numpy(outline) * (0.05 * small.amax() + small)


def recolour(image: Image, rng: np.random.Generator) -> Image:
    """Give regions of similar intensity new means and scaled textures; edges stay as wide as they were.

    A table of grey levels would draw a rim of the levels between wherever two tissues meet; so regions are labelled
    first, rims are given to their neighbours, and regions are mixed over about a pixel.
    """
    smooth = _smoothed(image, 1.0)
    inside = metrics.object_mask(image)
    n = int(rng.integers(3, 8))
    shares = np.sort(rng.uniform(0.03, 0.97, n - 1))
    bounds = torch.quantile(smooth[inside][:: max(int(inside.sum()) // 20000, 1)], torch.from_numpy(shares).float())
    labels = torch.bucketize(smooth, bounds)
    labels = torch.where(inside, labels, n)
    member = torch.nn.functional.one_hot(labels[:, 0], n + 1).movedim(-1, 1).float()
    member = torch.nn.functional.one_hot(_smoothed(member, 1.5).argmax(1), n + 1).movedim(-1, 1).float()
    member = _smoothed(member, rng.uniform(0.5, 0.8))
    result = torch.zeros_like(image)
    ground = smooth * member[:, n:]
    for k in range(n):
        share = member[:, k : k + 1]
        mean = (smooth * share).sum() / share.sum().clamp_min(1e-6)
        texture = rng.uniform(0.3, 1.5) * (image - mean)
        level = rng.uniform(0.05, 1.5)
        result = result + share * (level + texture * level / mean.clamp_min(0.1)).clamp_min(0)
    return result + ground


def noise_level(image: Image) -> float:
    """Standard deviation of an image's noise, by the median of its diagonal Haar coefficients where there is signal.

    References
    ----------
    Donoho and Johnstone, Ideal spatial adaptation by wavelet shrinkage, Biometrika 1994, doi:10.1093/biomet/81.3.425.
    """
    h, w = (n - n % 2 for n in image.shape[2:])
    a, b, c, d = (image[..., i:h:2, j:w:2] for i in (0, 1) for j in (0, 1))
    diagonal, mean = (a - b - c + d) / 2, (a + b + c + d) / 4
    signal = diagonal.abs()[mean > 0.25 * mean.max()]
    return float(signal.median() / 0.6745) if signal.numel() else 0.0


def denoise(image: Image, noise: float, shifts: int = 4) -> Image:
    """Take white noise from an image: wavelet coefficients are shrunk, averaged over shifts of the grid.

    References
    ----------
    Coifman and Donoho, Translation-invariant de-noising, Wavelets and Statistics 1995, doi:10.1007/978-1-4612-2544-7_9.
    """
    shape = (image.shape[2], image.shape[3])
    transform = wavelet("sym4", shape)
    total = torch.zeros_like(image)
    for k in range(shifts):
        moved = image.roll((k, (3 * k) % 4), (2, 3))
        *details, rest = transform.forward(moved)
        kept = [torch.where(part.abs() > 2.7 * noise, part, 0.15 * part) for part in details]
        total += transform.inverse([*kept, rest], shape).roll((-k, -((3 * k) % 4)), (2, 3))
    return (total / shifts).clamp_min(0)


def _resized(image: Image, rng: np.random.Generator, config: TargetConfig) -> Image:
    """An image of another resolution: its k-space cropped, or a part of it taken, until it is small enough."""
    h, w = image.shape[2:]
    most = rng.uniform(config.smallest, config.largest) if rng.random() < 0.6 else config.largest
    factor = min(1.0, most / max(h, w) if rng.random() < 0.7 else rng.uniform(0.6, 1.0))
    factor = max(factor, min(1.0, config.smallest / min(h, w)))
    if factor < 1:
        image = interpolate(image, [round(h * factor), round(w * factor)], mode="bicubic", antialias=True).clamp_min(0)
    h, w = image.shape[2:]
    top, left = (int(rng.integers(max(n - config.largest, 0) + 1)) for n in (h, w))
    return image[..., top : top + config.largest, left : left + config.largest]


def _turned(image: Image, rng: np.random.Generator) -> Image:
    turn, *flips = rng.integers(2, size=3)
    return (image.transpose(2, 3) if turn else image).flip([2 + k for k in range(2) if flips[k]]).contiguous()


def _unit(image: Image) -> Image:
    return image / _rms(image)


def _rms(image: Image) -> float:
    inside = metrics.object_mask(image)
    return float(image[inside].square().mean().sqrt().clamp_min(1e-12))


def _smoothed(image: Tensor, sigma: float) -> Tensor:
    reach = max(int(3 * sigma + 0.5), 1)
    kernel = torch.exp(-0.5 * (torch.arange(-reach, reach + 1) / sigma) ** 2)
    kernel = kernel / kernel.sum()
    k = image.shape[1]
    padded = torch.nn.functional.pad(image, (reach,) * 4, mode="replicate")
    rows = torch.nn.functional.conv2d(padded, kernel.reshape(1, 1, -1, 1).expand(k, 1, -1, 1), groups=k)
    return torch.nn.functional.conv2d(rows, kernel.reshape(1, 1, 1, -1).expand(k, 1, 1, -1), groups=k)
