"""Simulated scanners: coils, phase, noise, and how coils are combined."""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Complex, Float
from torch import Tensor
from torch.nn.functional import interpolate

import recon
from mriqf.training.draws import draw_seed, geometric

Kspace = Complex[Tensor, "1 c h w"]


@dataclass(frozen=True)
class Scanner:
    """Coils, phase and noise, shared by all degradations of one image."""

    csm: Complex[Tensor, "1 c h w"]
    phase: Complex[Tensor, "1 1 h w"]
    noise_std: float
    rss: bool
    """Combine coils by root sum of squares, with its noise floor, rather than by their maps."""

    def measure(self, image: Float[Tensor, "1 1 h w"], rng: np.random.Generator) -> Kspace:
        """K-space of a magnitude image, with its noise."""
        return recon.simulate_kspace(image * self.phase, self.csm, self.noise_std, draw_seed(rng))

    def combine(self, kspace: Kspace) -> Float[Tensor, "1 1 _ _"]:
        """Magnitude image of fully sampled k-space; of cropped k-space, an image of larger pixels."""
        images, csm = recon.ifft2c(kspace), self.csm
        if self.rss:
            return recon.rss(images)
        if images.shape != csm.shape:
            parts = (interpolate(part, images.shape[2:], mode="bilinear") for part in (csm.real, csm.imag))
            csm = torch.complex(*parts)
        return (csm.conj() * images).sum(1, keepdim=True).abs()


def draw_scanner(
    shape: tuple[int, int],
    rng: np.random.Generator,
    n_coils: tuple[int, int],
    noiseless: float,
    noise_std: tuple[float, float],
) -> Scanner:
    """Draw a scanner.

    Parameters
    ----------
    shape
        Height and width of the image.
    n_coils
        Least and largest number of coils.
    noiseless
        Share of scanners without noise.
    noise_std
        Least and largest noise of the others, log-uniform.
    """
    n = int(rng.integers(n_coils[0], n_coils[1] + 1))
    if n == 1:
        csm = torch.ones(1, 1, *shape, dtype=torch.complex64)
    elif rng.random() < 0.3:
        csm = recon.birdcage(n, shape)
    else:
        csm = recon.surface_coils(n, shape, draw_seed(rng))
    phase = recon.smooth_phase(shape, draw_seed(rng), rng.uniform(0.3, 1.5), int(rng.integers(2, 6)))
    std = 0.0 if rng.random() < noiseless else geometric(rng.random(), *noise_std)
    return Scanner(csm, phase, std, bool(rng.random() < 0.4))
