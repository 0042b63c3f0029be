"""Changes of a magnitude image that leave its quality as it is: interpolation, flips, rotations, shifts, shading."""

from collections.abc import Callable

import numpy as np
from jaxtyping import Float32

Image = Float32[np.ndarray, "h w"]


def zero_filled(image: Image, down: float, across: float) -> Image:
    """Interpolate to a finer grid by zero-filling k-space, as scanners do."""
    h, w = image.shape
    size = max(2 * round(h * down / 2), h), max(2 * round(w * across / 2), w)
    spectrum = np.zeros(size, complex)
    top, left = size[0] // 2 - h // 2, size[1] // 2 - w // 2
    spectrum[top : top + h, left : left + w] = np.fft.fftshift(np.fft.fft2(image.astype(np.float64)))
    fine = np.abs(np.fft.ifft2(np.fft.ifftshift(spectrum)))
    return (fine * (size[0] * size[1] / (h * w))).astype(np.float32)


def middle(image: Image) -> tuple[slice, slice]:
    """Slices of the central half of the field of view."""
    return tuple(slice(n // 4, n // 4 + n // 2) for n in image.shape)  # pyright: ignore[reportReturnType]


def padded(image: Image) -> Image:
    """Place off-centre on an empty canvas of twice the size."""
    return np.pad(image, [(n // 3, n - n // 3) for n in image.shape])


def shifted(image: Image, down: float, across: float) -> Image:
    """Shift by parts of a pixel, in k-space."""
    h, w = image.shape
    phase = np.exp(-2j * np.pi * (down * np.fft.fftfreq(h)[:, None] + across * np.fft.fftfreq(w)))
    return np.abs(np.fft.ifft2(np.fft.fft2(image.astype(np.float64)) * phase)).astype(np.float32)


def turned(image: Image, degrees: float) -> Image:
    """Rotate with splines of order five."""
    from scipy.ndimage import rotate

    return np.clip(rotate(image.astype(np.float64), degrees, reshape=False, order=5), 0, None).astype(np.float32)


def rounded(image: Image, bits: int) -> Image:
    """Quantise to a number of bits."""
    top = 2**bits - 1
    return np.round(image * (top / image.max())).astype(np.float32)


def shaded(image: Image) -> Image:
    """Multiply by a smooth field of 0.7 to 1.4, as of a surface coil."""
    h, w = image.shape
    wave = np.cos(np.pi * np.linspace(0, 1, h))[:, None] + np.cos(np.pi * np.linspace(0, 1, w))
    return (image * np.sqrt(0.7 * 1.4) * np.sqrt(2) ** (wave / 2)).astype(np.float32)


CHANGES: dict[str, Callable[[Image], Image]] = {
    **{
        f"zero-filled ×{factor:g} {name}": lambda image, d=down * (factor - 1) + 1, a=across * (factor - 1) + 1: (
            zero_filled(image, d, a)
        )
        for factor in (1.25, 1.5, 2)
        for name, down, across in (("both axes", 1, 1), ("rows", 1, 0), ("columns", 0, 1))
    },
    "padded to twice the size": padded,
    "mirrored left-right": lambda image: image[:, ::-1],
    "mirrored upside down": lambda image: image[::-1],
    "turned by 90°": lambda image: np.rot90(image),
    "turned by 180°": lambda image: np.rot90(image, 2),
    "turned by 270°": lambda image: np.rot90(image, 3),
    "transposed": lambda image: image.T,
    "shifted by half a pixel": lambda image: shifted(image, 0.5, 0.5),
    "shifted by 0.25 and 0.4 pixels": lambda image: shifted(image, 0.25, 0.4),
    "turned by 10°": lambda image: turned(image, 10),
    "turned by -10°": lambda image: turned(image, -10),
    "in 16 bits": lambda image: rounded(image, 16),
    "in 8 bits": lambda image: rounded(image, 8),
    "shaded ×0.7 to 1.4": shaded,
}
"""Changes of an image that say nothing of its quality."""
