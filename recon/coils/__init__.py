"""Coil sensitivity maps (csm), coil combination and compression, and simulated multi-coil k-space."""

from recon.coils.calibration import calibration_region, calibration_size, central, require_kspace
from recon.coils.combination import rss, whiten, whitening
from recon.coils.compression import compress_coils, principal_coils
from recon.coils.espirit import espirit
from recon.coils.simulated import birdcage, simulate_kspace, smooth_phase, surface_coils, white_noise
from recon.coils.virtual import virtual_coils

__all__ = [
    "birdcage",
    "calibration_region",
    "calibration_size",
    "central",
    "compress_coils",
    "espirit",
    "principal_coils",
    "require_kspace",
    "rss",
    "simulate_kspace",
    "smooth_phase",
    "surface_coils",
    "virtual_coils",
    "white_noise",
    "whiten",
    "whitening",
]
