"""Errors of a reconstruction estimated from the measurement: held-out samples, and SURE for the measured ones."""

from recon.validate.held_out import HeldOut, central, compare_held_out, deal, held_out_residual
from recon.validate.noise import FEWEST, estimate_noise, robust_std
from recon.validate.sure import Sure, divergence_along, risk, sure

__all__ = [
    "FEWEST",
    "HeldOut",
    "Sure",
    "central",
    "compare_held_out",
    "deal",
    "divergence_along",
    "estimate_noise",
    "held_out_residual",
    "risk",
    "robust_std",
    "sure",
]
