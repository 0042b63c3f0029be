"""MRI reconstruction on complex tensors: masks, coils, the SENSE operator and solvers.

K-space is (b, c, h, w) and an image (b, 1, h, w), both complex; masks are bool. The Fourier transform is centred and
orthonormal, and coil maps are normalised, so operators have norm at most 1 and weights need no data scale.
"""

from recon import masks
from recon.cholesky import factorise
from recon.coils import (
    birdcage,
    compress_coils,
    espirit,
    rss,
    simulate_kspace,
    smooth_phase,
    surface_coils,
)
from recon.fourier import fft2c, ifft2c
from recon.inference import for_inference
from recon.masks import effective_acceleration
from recon.methods import cg_sense, zero_filled
from recon.modl import MoDL, MoDLConfig
from recon.operator import Sense
from recon.pipeline import reconstruct
from recon.solve import NotConverged, cg, data_consistency
from recon.sparse import l1_wavelet, total_variation
from recon.stacked import Stacked
from recon.validate import estimate_noise, held_out_residual, sure
from recon.varnet import VarNet, VarNetConfig

fast = for_inference  # the earlier name, for one release

__all__ = [
    "MoDL",
    "MoDLConfig",
    "NotConverged",
    "Sense",
    "Stacked",
    "VarNet",
    "VarNetConfig",
    "birdcage",
    "cg",
    "cg_sense",
    "compress_coils",
    "data_consistency",
    "effective_acceleration",
    "espirit",
    "estimate_noise",
    "factorise",
    "fft2c",
    "for_inference",
    "held_out_residual",
    "ifft2c",
    "l1_wavelet",
    "masks",
    "reconstruct",
    "rss",
    "simulate_kspace",
    "smooth_phase",
    "sure",
    "surface_coils",
    "total_variation",
    "zero_filled",
]
