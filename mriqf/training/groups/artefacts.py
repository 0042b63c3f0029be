"""Artefacts of fully sampled images that are drawn at random: noise, blur, motion, ghosts, smoothing, JPEG."""

import math

import numpy as np
import torch
from torch.nn.functional import pad

import recon
from mriqf import degrade
from mriqf.training.draws import (
    blur_widths,
    draw_seed,
    geometric,
    ghost_phase,
    jpeg_quality,
    motion_path,
    noise_gain,
)
from mriqf.training.groups.targets import Image, denoise
from mriqf.training.scanner import Kspace, Scanner
from recon.wavelets import wavelet


def noisy(kspace: Kspace, std: float, scanner: Scanner, rng: np.random.Generator) -> Image:
    """White noise of the coils, or stronger in places as parallel imaging leaves it, or made coarse by a filter."""
    chance = rng.random()
    if chance < 0.5:
        return scanner.combine(degrade.noise(kspace, std, draw_seed(rng)))
    shape = (kspace.shape[2], kspace.shape[3])
    white = recon.ifft2c(degrade.noise(torch.zeros_like(kspace), std, draw_seed(rng)))
    if chance < 0.8:
        gain = noise_gain(shape, rng)
        return scanner.combine(kspace + recon.fft2c(white * gain / gain.square().mean().sqrt()))
    ky, kx = (torch.fft.fftshift(torch.fft.fftfreq(n)).abs() for n in shape)
    keep = torch.exp(-((ky[:, None].square() + kx.square()) / rng.uniform(0.15, 0.5) ** 2))
    return scanner.combine(kspace + recon.fft2c(white) * keep / keep.square().mean().sqrt())


def moved(kspace: Kspace, level: float, scanner: Scanner, rng: np.random.Generator) -> Image:
    """Rigid motion between lines or shots, or breathing."""
    if kspace.shape[1] > 4:  # each pose turns every coil image
        kspace, _ = recon.compress_coils(kspace, 4)
        scanner = Scanner(scanner.csm, scanner.phase, scanner.noise_std, True)
    turn = geometric(level, 0.2, 4.0) if rng.random() < 0.5 else 0.0
    w = kspace.shape[3]
    if rng.random() < 0.25:  # breathing: a smooth, periodic shift
        phase = 2 * math.pi * (rng.uniform(2, 12) * torch.arange(w) / w + rng.random())
        shift = geometric(level, 0.2, 5.0) * torch.stack((phase.sin() * rng.random(), phase.sin()), 1)
        shift[w // 2 - w // 50 : w // 2 + w // 50 + 1] = 0
        return scanner.combine(degrade.motion(kspace, shift.float()))
    return scanner.combine(degrade.motion(kspace, *motion_path(w, level, turn, rng)))


def ghosted(kspace: Kspace, reference: Image, level: float, scanner: Scanner, rng: np.random.Generator) -> Image:
    """A copy displaced by half the field of view, of one coil or of all."""
    phase = ghost_phase(rng)
    one_coil = rng.random() < 0.6  # the known maps of many coils suppress a copy
    source = recon.fft2c(scanner.phase * reference) if one_coil else kspace
    doubled = degrade.ghost(source, geometric(level, 0.02, 0.5), phase)
    return recon.ifft2c(doubled).abs() if one_coil else scanner.combine(doubled)


def blurred(image: Image, level: float, rng: np.random.Generator) -> Image:
    """A Gaussian blur, or a window on k-space, as wide along both axes or narrower along one."""
    sigma = geometric(level, 0.25, 2.5)
    widths = blur_widths(sigma, rng)
    return _filtered(image, widths, rng) if rng.random() < 0.4 else degrade.blur(image, (widths[0], widths[1]))


def _filtered(image: Image, widths: list[float], rng: np.random.Generator) -> Image:
    """A window on k-space, as scanners apply it: Hann's, Gauss's or Fermi's, as wide as a blur."""
    factors = []
    for n, sigma in zip(image.shape[2:], widths, strict=True):
        k = torch.fft.fftfreq(n).abs()
        edge = min(0.19 / max(sigma, 1e-3), 4.0)  # cycles a pixel, where the blur's transfer has fallen to a half
        kind = int(rng.integers(3))
        if kind == 0:
            factors.append(0.5 + 0.5 * torch.cos(math.pi * (k / (2 * edge)).clamp_max(1)))
        elif kind == 1:
            factors.append(torch.exp(-math.log(2) * (k / edge) ** 2))
        else:
            factors.append(1 / (1 + torch.exp((k - edge) / (0.05 + 0.1 * edge))))
    return torch.fft.ifft2(torch.fft.fft2(image) * factors[0][:, None] * factors[1]).real.clamp_min(0)


def oversmoothed(kspace: Kspace, level: float, scanner: Scanner, rng: np.random.Generator) -> Image:
    """More noise, and a denoiser: total variation, thresholded or shrunk wavelets, a median or a bilateral filter."""
    image = scanner.combine(degrade.noise(kspace, geometric(rng.random(), 0.002, 0.06) * level, draw_seed(rng)))
    kind = int(rng.choice(5, p=(0.3, 0.2, 0.15, 0.2, 0.15)))
    if kind == 0:
        return degrade.oversmooth(image, geometric(level, 0.004, 0.8), 40)
    if kind == 1:
        shape = (image.shape[2], image.shape[3])
        transform = wavelet(str(rng.choice(["db4", "sym4", "haar"])), shape)
        *details, rest = transform.forward(image)
        threshold = geometric(level, 0.01, 1.5)
        shrunk = [part.sign() * (part.abs() - threshold).clamp_min(0) for part in details]
        return transform.inverse([*shrunk, rest], shape).clamp_min(0)
    if kind == 2:
        size = 1 + 2 * round(1 + 3 * level)  # an even one would displace the image by half a pixel
        return _median(image, size)
    if kind == 3:
        return bilateral(image, geometric(level, 0.03, 0.8), int(rng.integers(1, 4)))
    return denoise(image, geometric(level, 0.005, 0.5), 4)


def _median(image: Image, size: int) -> Image:
    windows = pad(image, (size // 2,) * 4, mode="reflect").unfold(2, size, 1).unfold(3, size, 1)
    return windows.flatten(-2).median(-1).values


def bilateral(image: Image, range_std: float, radius: int) -> Image:
    """Mean of neighbours of similar value, as edge-preserving filters take it.

    References
    ----------
    Tomasi and Manduchi, Bilateral filtering for gray and color images, ICCV 1998, doi:10.1109/ICCV.1998.710815.
    """
    padded = pad(image, (radius,) * 4, mode="reflect")
    h, w = image.shape[2:]
    total, weights = torch.zeros_like(image), torch.zeros_like(image)
    for dy in range(2 * radius + 1):
        for dx in range(2 * radius + 1):
            moved = padded[..., dy : dy + h, dx : dx + w]
            weight = torch.exp(-((moved - image) / range_std).square() / 2)
            total += weight * moved
            weights += weight
    return total / weights


def compressed(image: Image, level: float, rng: np.random.Generator) -> Image:
    """JPEG with its grid at any offset, in part of the draws at another pixel size."""
    top = image.quantile(0.999) * rng.uniform(1, 1.2)
    dy, dx = rng.integers(8, size=2).tolist() if rng.random() < 0.6 else (0, 0)
    step = rng.uniform(0.9, 1.1) if rng.random() < 0.25 else 1.0
    return degrade.jpeg((image / top).clamp(0, 1), jpeg_quality(level), (dy, dx), step) * top
