"""MRI reconstruction on complex tensors: masks, coils, the SENSE operator and solvers.

K-space is (b, c, h, w) and an image (b, 1, h, w), both complex; masks are bool. The Fourier transform is centred and
orthonormal, and coil maps are normalised, so operators have norm at most 1 and weights need no data scale.
"""

from recon import masks
from recon.baselines import cg_sense, zero_filled
from recon.coils import birdcage, rss, simulate_kspace, smooth_phase
from recon.fourier import fft2c, ifft2c
from recon.masks import effective_acceleration
from recon.operator import Sense
from recon.solve import cg, data_consistency

__all__ = [
    "Sense",
    "birdcage",
    "cg",
    "cg_sense",
    "data_consistency",
    "effective_acceleration",
    "fft2c",
    "ifft2c",
    "masks",
    "rss",
    "simulate_kspace",
    "smooth_phase",
    "zero_filled",
]
