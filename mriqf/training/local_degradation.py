"""Local degradations: errors in one place only, from which predictors learn to localise."""

import numpy as np
from jaxtyping import Bool, Float32

SIGMA = 6.0
"""Pixels, of the Gaussian window in which errors are averaged, as those of the examples are."""
KINDS = ("blur", "noise", "copy", "stripes", "aliasing")


def degrade_locally(
    image: Float32[np.ndarray, "h w"], error: Float32[np.ndarray, "h w"], power: float, rng: np.random.Generator
) -> tuple[Float32[np.ndarray, "h w"], Float32[np.ndarray, "h w"]]:
    """Make an image worse in one place (`place`), and its error there as much larger.

    The place is blurred, made noisy, overlaid by the image from elsewhere or by stripes, or undersampled.

    Parameters
    ----------
    image
        Magnitude, any unit.
    error
        Local error relative to the object's root mean square, -1 outside the object.
    power
        Mean square of the object, in the square of the image's unit.
    rng
        Generator of all draws.

    Returns
    -------
    The image and its error: what was wrong before and what is new add up as squares, as if they were independent.
    """
    from scipy.ndimage import gaussian_filter

    h, w = image.shape
    share = place(error >= 0, rng)
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
        case "aliasing":
            other = _undersampled(image, rng)
        case _:
            y, x = np.mgrid[:h, :w].astype(np.float32)
            angle, period = rng.uniform(0, np.pi), rng.uniform(3, 14)
            wave = np.cos(2 * np.pi * (x * np.cos(angle) + y * np.sin(angle)) / period + rng.uniform(0, 2 * np.pi))
            other = np.abs(image + rms * np.exp(rng.uniform(-3.5, -1.0)) * wave)
    blend = image + share * (other - image)
    added = gaussian_filter(np.where(error >= 0, (blend - image) ** 2, 0), SIGMA)
    inside = np.maximum(gaussian_filter((error >= 0).astype(np.float32), SIGMA), 1e-6)
    worse = np.sqrt(np.maximum(error, 0) ** 2 + added / inside / max(power, 1e-12))
    return blend.astype(np.float32), np.where(error >= 0, worse, error).astype(np.float32)


def place(inside: Bool[np.ndarray, "h w"], rng: np.random.Generator) -> Float32[np.ndarray, "h w"]:
    """Draw a part of an image, 1 in it and 0 elsewhere with a smooth edge: a spot, or what lies between two lines.

    A spot has radii of 12 to 45 pixels, or of up to 0.4 of the image's sides; two lines cross within the object.
    """
    h, w = inside.shape
    y, x = np.mgrid[:h, :w].astype(np.float32)
    points = np.argwhere(inside)
    centre = points[rng.integers(len(points))] if len(points) else (h // 2, w // 2)
    kind = rng.random()
    if kind < 0.6:
        sizes = (45, 45) if kind < 0.35 else (max(0.4 * h, 13), max(0.4 * w, 13))
        radius = [rng.uniform(12, size) for size in sizes]
        distance = np.hypot((y - centre[0]) / radius[0], (x - centre[1]) / radius[1])
        return np.clip((1.15 - distance) / 0.3, 0, 1).astype(np.float32)
    first = rng.uniform(0, 2 * np.pi)
    second = first + (np.pi / 2 if rng.random() < 0.5 else rng.uniform(0, np.pi))
    edge = rng.uniform(2, 8)
    sides = ((y - centre[0]) * np.sin(angle) + (x - centre[1]) * np.cos(angle) for angle in (first, second))
    return np.prod([np.clip(0.5 + side / (2 * edge), 0, 1) for side in sides], 0).astype(np.float32)


def _undersampled(image: Float32[np.ndarray, "h w"], rng: np.random.Generator) -> Float32[np.ndarray, "h w"]:
    """Every second to fourth line of k-space, and some in the centre, along one axis; zero-filled."""
    axis, rate = int(rng.integers(2)), int(rng.integers(2, 5))
    n = image.shape[axis]
    k = np.fft.fftfreq(n)
    sampled = (np.arange(n) % rate == rng.integers(rate)) | (np.abs(k) < rng.uniform(0.01, 0.06))
    kept = np.fft.fft(image, axis=axis) * np.expand_dims(np.where(sampled, 1.0, 0.0), 1 - axis)
    zero_filled = np.abs(np.fft.ifft(kept, axis=axis)).astype(np.float32)
    return zero_filled * float((image * zero_filled).sum() / max((zero_filled**2).sum(), 1e-12))
