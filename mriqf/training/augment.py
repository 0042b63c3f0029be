"""Batches of real images, cut, varied and compressed at a known quality.

Every random choice comes from a generator that the caller passes.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float
from PIL import Image
from torch import Tensor

from mriqf.jpeg import compress_pixels

Distribution = Literal["uniform", "log", "neglog"]
MARGIN = 16  # pixels around a patch whose grid is shifted


def draw_quality(rng: np.random.Generator, n: int, distribution: Distribution = "neglog") -> np.ndarray:
    """Qualities 1–100 to train on.

    `uniform` has no preference. `neglog` has density −log(1 − q/101), that of 1 − U·U′: 51 % above 80, as the report
    says of its draws. `log` has density log q, as the report writes it: 25 % above 80.
    """
    u = rng.random(n)
    if distribution == "uniform":
        quality = 100 * u
    elif distribution == "neglog":
        quality = 100 * (1 - u * rng.random(n))
    elif distribution == "log":
        grid = np.arange(1, 101)
        mass = np.cumsum(np.log(grid))
        return grid[np.searchsorted(mass / mass[-1], u)]
    else:
        raise ValueError(f"law is {distribution!r}: choose uniform, log or neglog")
    return np.clip(np.ceil(quality), 1, 100).astype(int)


@dataclass(frozen=True)
class Augmentation:
    """Probabilities of the variations of training patches, which keep the network from learning one scanner's look.

    Those down to `smooth` come before the compression; probabilities in [0, 1].
    """

    contrast: float = 0.5
    """Probability of a power law of the intensity, exponent 0.55–1.8."""
    gain: float = 0.4
    """Probability of a darker or clipped image, factor 0.5–1.15."""
    offset: float = 0.1
    """Probability of a raised black level, up to 0.1."""
    noise: float = 0.4
    """Probability of a noise floor, Rician or Gaussian, white or correlated, sd 0.002–0.06."""
    empty_background: float = 0.3
    """Probability of a background set to zero, or a black level taken off, as scanners, defacing and windowing do."""
    coarse_levels: float = 0.15
    """Probability of 60–255 grey levels only."""
    smooth: float = 0.35
    """Probability of an interpolated, blurred or band-limited image: smooth is not the same as compressed."""
    clean: float = 0.25
    """Share of patches that are not compressed: quality 100."""
    shifted_grid: float = 0.1
    """Share of patches whose 8×8 grid starts anywhere, as after cropping."""
    resampled: float = 0.02
    """Share of patches that were interpolated and rescaled (by up to 10 %) after compression: no lattice is left."""
    rescale: float = 0.3
    """Probability of the small change of scale that normalising the compressed image brings, up to 1.5 %."""


def check_images(pools: Sequence[Sequence[np.ndarray]], name: str, patch: int) -> None:
    """Raise ValueError where a pool is empty, or a patch of `patch`² pixels cannot be cut from each image.

    Parameters
    ----------
    name
        Name of the images' manifest.
    """
    if not pools or not all(pools):
        raise ValueError(f"manifest {name} has a training source without images, or none: name one that has")
    height, width = min((image.shape[:2] for pool in pools for image in pool), key=min)
    if min(height, width) < patch:
        raise ValueError(f"patch is {patch}, and manifest {name} has an image of {height}×{width}: use smaller patches")


def make_batch(
    pools: Sequence[Sequence[np.ndarray]],
    weights: Sequence[float],
    rng: np.random.Generator,
    n: int,
    size: int,
    distribution: Distribution = "neglog",
    augmentation: Augmentation = Augmentation(),
) -> tuple[Float[Tensor, "b ch h w"], Float[Tensor, " b"]]:
    """Draw `n` compressed patches of `size`² pixels, in [0, 1], and their qualities, 0–100.

    Parameters
    ----------
    pools
        Images of each source.
    weights
        Relative frequency of each source.
    """
    share = np.asarray(weights, float) / np.sum(weights)
    quality = draw_quality(rng, n, distribution)
    patches = []
    for k in range(n):
        pool = pools[int(rng.choice(len(pools), p=share))]
        image = pool[int(rng.integers(len(pool)))]
        clean = rng.random() < augmentation.clean
        if clean:
            quality[k] = 100
        patches.append(_patch(image, rng, size, int(quality[k]), clean, augmentation))
    stacked = np.stack([p[None] if p.ndim == 2 else np.moveaxis(p, -1, 0) for p in patches])
    return torch.from_numpy(np.ascontiguousarray(stacked, np.float32)), torch.from_numpy(quality.astype(np.float32))


def _patch(
    image: np.ndarray, rng: np.random.Generator, size: int, quality: int, clean: bool, aug: Augmentation
) -> np.ndarray:
    chance = rng.random()
    resampled, shifted = chance < aug.resampled, chance < aug.resampled + aug.shifted_grid
    margin = MARGIN if shifted else 0
    y, x = (rng.integers(n - size - margin + 1) for n in image.shape[:2])
    patch = image[y : y + size + margin, x : x + size + margin]
    patch = np.rot90(patch, int(rng.integers(4)))
    patch = vary(patch[:, ::-1] if rng.random() < 0.5 else patch, rng, aug)
    if not clean:
        patch = compress_pixels(np.round(patch * 255).astype(np.uint8), quality).astype(np.float32) / 255
    elif rng.random() < 0.5:
        patch = np.round(patch * 255) / 255
    if resampled:
        step = rng.uniform(0.9, 1.1)
        top, left = rng.uniform(0, size + margin - size * step, 2)
        patch = np.clip(resample(patch, size, top, left, step) * rng.uniform(0.9, 1.1), 0, 1)
    elif shifted:
        dy, dx = rng.integers(8, size=2)
        patch = patch[dy : dy + size, dx : dx + size]
    if rng.random() < aug.rescale:
        patch = np.clip(patch * rng.uniform(0.985, 1.015) - rng.uniform(0, 0.008), 0, 1)
    return patch


def vary(patch: np.ndarray, rng: np.random.Generator, aug: Augmentation) -> np.ndarray:
    """Random contrast, gain, noise floor and grey levels of an uncompressed patch in [0, 1]."""
    chance = rng.random(7)
    if chance[0] < aug.contrast:
        patch = patch ** np.exp(rng.uniform(-0.6, 0.6))
    if chance[1] < aug.gain:
        patch = patch * rng.uniform(0.5, 1.15)
    if chance[2] < aug.offset:
        patch = 0.9 * patch + rng.uniform(0, 0.1)
    if chance[3] < aug.noise:
        patch = _noisy(patch, rng)
    if chance[6] < aug.smooth:
        patch = _smooth(np.clip(patch, 0, 1), rng)
    if chance[4] < aug.empty_background:
        level = rng.uniform(0.02, 0.25)
        patch = np.where(patch < level, 0, patch) if rng.random() < 0.5 else np.clip(patch - level, 0, 1) / (1 - level)
    if chance[5] < aug.coarse_levels:
        levels = rng.integers(60, 256)
        patch = np.round(patch * levels) / levels
    return np.clip(patch, 0, 1)


def _smooth(patch: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Interpolated, blurred, or cut to the middle of k-space, as scanners interpolate."""
    from scipy.ndimage import gaussian_filter

    kind = rng.integers(3)
    if kind == 0:
        step = rng.uniform(0.45, 1)
        top, left = rng.uniform(0, len(patch) * (1 - step), 2)
        return resample(patch, len(patch), top, left, step)
    if kind == 1:
        sd = rng.uniform(0.3, 1.3)
        return gaussian_filter(patch, (sd, sd, 0)[: patch.ndim])
    kspace = np.fft.rfft2(patch, axes=(0, 1))
    row, column = rng.uniform(0.4, 1, 2) * 0.5
    kspace[np.abs(np.fft.fftfreq(len(patch))) > row] = 0
    kspace[:, np.fft.rfftfreq(patch.shape[1]) > column] = 0
    return np.abs(np.fft.irfft2(kspace, patch.shape[:2], axes=(0, 1))).astype(np.float32)


def resample(patch: np.ndarray, size: int, top: float, left: float, step: float) -> np.ndarray:
    """Bicubic `size`² samples, `step` pixels apart, from `(top, left)` on."""
    box = (left, top, left + size * step, top + size * step)
    planes = patch.astype(np.float32).reshape(*patch.shape[:2], -1)
    cut = [
        np.asarray(Image.fromarray(planes[..., k]).resize((size, size), Image.Resampling.BICUBIC, box))
        for k in range(planes.shape[-1])
    ]
    return np.stack(cut, -1).reshape(size, size, *patch.shape[2:])


def _noisy(patch: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    from scipy.ndimage import gaussian_filter

    sd = np.exp(rng.uniform(np.log(0.002), np.log(0.06)))
    real, imaginary = rng.standard_normal((2, *patch.shape), dtype=np.float32) * sd
    if rng.random() < 0.35:  # interpolated images have correlated noise
        spread = (0.7, 0.7, 0)[: patch.ndim]
        real, imaginary = gaussian_filter(real, spread) * 1.8, gaussian_filter(imaginary, spread) * 1.8
    return np.hypot(patch + real, imaginary) if rng.random() < 0.7 else patch + real
