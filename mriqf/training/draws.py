"""Random draws that both kinds of degraded images share: `degraded`, single ones, and `groups`, many of a target."""

import math

import numpy as np
import torch
from jaxtyping import Complex, Float
from torch import Tensor

import recon
from mriqf import degrade


def draw_seed(rng: np.random.Generator) -> int:
    """Draw the seed of another generator."""
    return int(rng.integers(2**31))


def geometric(level: int | float, low: float, high: float) -> float:
    """From `low` at level 0 to `high` at 1, evenly in the logarithm."""
    return low * (high / low) ** level


def noise_gain(shape: tuple[int, int], rng: np.random.Generator) -> Float[Tensor, "1 1 h w"]:
    """Smooth map by which noise is stronger in places, as parallel imaging leaves it (g-factor)."""
    return torch.exp(1.5 * recon.smooth_phase(shape, draw_seed(rng), 0.6, int(rng.integers(3, 7))).angle())


def motion_path(
    width: int, level: int | float, turn: float, rng: np.random.Generator
) -> tuple[Float[Tensor, "w 2"], Float[Tensor, " w"]]:
    """Rigid motion between lines or shots, by up to 6 pixels; as `degrade.motion` takes it.

    Parameters
    ----------
    width
        Phase-encoding columns.
    level
        Severity, 0 to 1.
    turn
        Rotation, degrees.
    rng
        Generator of the draws.
    """
    shots = int(rng.integers(2, 9)) if rng.random() < 0.35 else 1
    n_events = int(rng.integers(1 + round(3 * level), 3 + round(6 * level)))
    return degrade.random_motion(width, geometric(level, 0.3, 6.0), n_events, draw_seed(rng), turn, shots)


def ghost_phase(rng: np.random.Generator) -> float:
    """Phase of a ghost in radians: a quarter turn in 30 %, else any."""
    return math.pi / 2 if rng.random() < 0.3 else rng.uniform(0, 2 * math.pi)


def blur_widths(sigma: float, rng: np.random.Generator) -> list[float]:
    """Standard deviations of a blur along both axes: equal, or in 35 % smaller along the second."""
    return [sigma, sigma * rng.random()] if rng.random() < 0.35 else [sigma, sigma]


def jpeg_quality(level: int | float) -> int:
    """JPEG quality of a severity, 0 to 1: libjpeg's tables become coarser evenly in the logarithm."""
    coarseness = geometric(level, 0.04, 10.0)  # relative to the tables of quality 50
    return round(100 - 50 * coarseness if coarseness < 1 else 50 / coarseness)


def stopped_cg(
    kspace: Complex[Tensor, "b c h w"], sense: recon.Sense, lam: float, n_iter: int
) -> Complex[Tensor, "b m h w"]:
    """CG-SENSE after a number of iterations, converged or not."""
    start = sense.adjoint(kspace)
    return recon.cg(lambda x: sense.gram(x) + lam * x, start, n_iter, separate=sense.separate, warn=False)
