"""Scanners that are drawn at random: coils, phase, noise, and how coils are combined."""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Complex
from torch import Tensor

import recon
from mriqf.training.groups.targets import Image

Kspace = Complex[Tensor, "1 c h w"]


@dataclass(frozen=True)
class Scanner:
    """Properties shared by all images of a group."""

    csm: Complex[Tensor, "1 c h w"]
    phase: Complex[Tensor, "1 1 h w"]
    noise_std: float
    rss: bool
    """Whether coils are combined by root sum of squares, with its noise floor, or by their maps."""

    def combine(self, kspace: Kspace) -> Image:
        """Magnitude image of fully sampled k-space."""
        images = recon.ifft2c(kspace)
        return recon.rss(images) if self.rss else (self.csm.conj() * images).sum(1, keepdim=True).abs()


def draw_scanner(
    shape: tuple[int, int],
    rng: np.random.Generator,
    n_coils: tuple[int, int],
    noiseless: float,
    noise_std: tuple[float, float],
) -> Scanner:
    """Draw coils, of the least to the largest number, phase, and noise, but for a share of scanners without any."""
    n = int(rng.integers(n_coils[0], n_coils[1] + 1))
    if n == 1:
        csm = torch.ones(1, 1, *shape, dtype=torch.complex64)
    elif rng.random() < 0.3:
        csm = recon.birdcage(n, shape)
    else:
        csm = recon.surface_coils(n, shape, seed(rng))
    phase = recon.smooth_phase(shape, seed(rng), rng.uniform(0.3, 1.5), int(rng.integers(2, 6)))
    std = 0.0 if rng.random() < noiseless else geometric(rng.random(), *noise_std)
    return Scanner(csm, phase, std, bool(rng.random() < 0.4))


def geometric(level: float, low: float, high: float) -> float:
    """From `low` at level 0 to `high` at 1, evenly in the logarithm."""
    return low * (high / low) ** level


def seed(rng: np.random.Generator) -> int:
    """Draw the seed of another generator."""
    return int(rng.integers(2**31))
