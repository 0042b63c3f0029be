"""Local flaws: what is wrong in one place only, so that maps learn to say where."""

import numpy as np
from jaxtyping import Float32

SIGMA = 6.0
"""Pixels, of the Gaussian window in which errors are averaged, as those of the examples are."""
KINDS = ("blur", "noise", "copy", "stripes")


def degrade_locally(
    image: Float32[np.ndarray, "h w"], error: Float32[np.ndarray, "h w"], power: float, rng: np.random.Generator
) -> tuple[Float32[np.ndarray, "h w"], Float32[np.ndarray, "h w"]]:
    """Make an image worse inside a smooth spot, and its error there as much larger.

    The spot, of 12 to 45 pixels, is blurred, made noisy, overlaid by the image from elsewhere, or by stripes.

    Parameters
    ----------
    image
        Magnitude, any unit.
    error
        Local error relative to the object's root mean square, -1 outside the object.
    power
        Mean square of the object, in the square of the image's unit.
    rng
        Where everything that is random comes from.

    Returns
    -------
    The image and its error: what was wrong before and what is new add up as squares, as if they were independent.
    """
    from scipy.ndimage import gaussian_filter

    h, w = image.shape
    y, x = np.mgrid[:h, :w].astype(np.float32)
    inside = np.argwhere(error >= 0)
    centre = inside[rng.integers(len(inside))] if len(inside) else (h // 2, w // 2)
    radius = rng.uniform(12, 45, 2)
    distance = np.hypot((y - centre[0]) / radius[0], (x - centre[1]) / radius[1])
    spot = np.clip((1.15 - distance) / 0.3, 0, 1)
    rms = power**0.5
    match KINDS[int(rng.integers(len(KINDS)))]:
        case "blur":
            other = gaussian_filter(image, rng.uniform(0.7, 3.5))
        case "noise":
            noise = rng.standard_normal((2, h, w), dtype=np.float32) * (rms * np.exp(rng.uniform(-3.7, -1.2)))
            other = np.hypot(image + noise[0], noise[1])
        case "copy":
            shift = [int(rng.integers(n // 6, n - n // 6)) for n in (h, w)]
            shift[int(rng.integers(2))] = 0
            other = np.abs(image + rng.uniform(0.15, 0.7) * rng.choice((-1, 1)) * np.roll(image, shift, (0, 1)))
        case _:
            angle, period = rng.uniform(0, np.pi), rng.uniform(3, 14)
            wave = np.cos(2 * np.pi * (x * np.cos(angle) + y * np.sin(angle)) / period + rng.uniform(0, 2 * np.pi))
            other = np.abs(image + rms * np.exp(rng.uniform(-3.5, -1.0)) * wave)
    found = image + spot * (other - image)
    added = gaussian_filter(np.where(error >= 0, (found - image) ** 2, 0), SIGMA)
    share = np.maximum(gaussian_filter((error >= 0).astype(np.float32), SIGMA), 1e-6)
    worse = np.sqrt(np.maximum(error, 0) ** 2 + added / share / max(power, 1e-12))
    return found.astype(np.float32), np.where(error >= 0, worse, error).astype(np.float32)
