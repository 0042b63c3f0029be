"""Augmentation of degraded images together with the errors of their cells; local degradations."""

import math
from typing import Any

import numpy as np
import torch

from mriqf import metrics
from mriqf.training.groups.labels import CELL
from mriqf.training.local_degradation import degrade_locally, place


def varied(
    image: np.ndarray, cells: np.ndarray, nrmse: float, rng: np.random.Generator, flawed: float
) -> tuple[np.ndarray, np.ndarray, float]:
    """Augment an image and its errors; with probability `flawed`, add a local degradation."""
    if rng.random() < 0.5:
        image, cells = image.T, cells.transpose(0, 2, 1)
    for axis in (0, 1):
        if image.shape[axis] % CELL == 0 and rng.random() < 0.5:  # the cells of others would be displaced
            image, cells = np.flip(image, axis), np.flip(cells, axis + 1)
    image, cells = np.ascontiguousarray(image), np.ascontiguousarray(cells)
    if rng.random() < 0.1:
        image = _shifted(image, rng.uniform(-0.5, 0.5), rng.uniform(-0.5, 0.5))
    if rng.random() < 0.1:
        image, cells, nrmse = _turned(image, cells, nrmse, math.radians(rng.uniform(-15, 15)))
    if rng.random() < flawed:
        image, cells, nrmse = _flawed(image, cells, nrmse, rng)
    if rng.random() < 0.2:
        image, cells, nrmse = _cropped(image, cells, nrmse, rng)
    if rng.random() < 0.2:
        image, cells, nrmse = _shaded(image, cells, nrmse, rng)
    if rng.random() < 0.25:
        image = _masked(image, rng.uniform(0.01, 0.08) if rng.random() < 0.6 else 0.0)
    image = np.clip(image * math.exp(rng.uniform(-0.4, 0.08)), 0, 1)  # slices of a volume share its scale
    if rng.random() < 0.25:
        image = np.round(image * 255) / 255
    return image.astype(np.float32), cells.astype(np.float32), nrmse


def _shifted(image: np.ndarray, down: float, across: float) -> np.ndarray:
    """Shift by a part of a pixel, which leaves the errors of cells as they are."""
    h, w = image.shape
    phase = np.exp(-2j * np.pi * (down * np.fft.fftfreq(h)[:, None] + across * np.fft.fftfreq(w)))
    return np.abs(np.fft.ifft2(np.fft.fft2(image) * phase)).astype(np.float32)


def _turned(image: np.ndarray, cells: np.ndarray, nrmse: float, angle: float) -> tuple[np.ndarray, np.ndarray, float]:
    """Rotate by an angle in radians, with splines of order five; pixels from outside are empty."""
    from scipy.ndimage import affine_transform

    matrix = np.array([[math.cos(angle), math.sin(angle)], [-math.sin(angle), math.cos(angle)]])
    centre = (np.array(image.shape) - 1) / 2
    offset: Any = centre - matrix @ centre  # scipy's own hints know numbers alone
    turned = affine_transform(image, matrix, offset, order=5).clip(0, 1)
    i, j = (CELL * np.arange(n) + (CELL - 1) / 2 for n in cells.shape[1:])
    from_y = centre[0] + matrix[0, 0] * (i[:, None] - centre[0]) + matrix[0, 1] * (j - centre[1])
    from_x = centre[1] + matrix[1, 0] * (i[:, None] - centre[0]) + matrix[1, 1] * (j - centre[1])
    inside = (from_y >= 0) & (from_y < image.shape[0]) & (from_x >= 0) & (from_x < image.shape[1])
    rows = (from_y.clip(0, image.shape[0] - 1) / CELL).astype(int)
    columns = (from_x.clip(0, image.shape[1] - 1) / CELL).astype(int)
    return turned, np.where(inside, cells[:, rows, columns], -1), nrmse


def _cropped(
    image: np.ndarray, cells: np.ndarray, nrmse: float, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray, float]:
    """A part of the field of view, half of each side or more; errors are relative to the part's object."""
    places = []
    for n in image.shape:
        size = max(math.ceil(n * rng.uniform(0.5, 1.0) / CELL) * CELL, 64)
        first = CELL * int(rng.integers(max(n - size, 0) // CELL + 1))
        places.append(slice(first, min(first + size, n)))
    rows, columns = (slice(p.start // CELL, -(-p.stop // CELL)) for p in places)
    part, inside = cells[:, rows, columns], cells[0, rows, columns] >= 0
    if inside.mean() < 0.1:
        return image, cells, nrmse
    small = image[tuple(places)]
    return _relative(small, part, _rms(image, cells) / _rms(small, part))


def _shaded(
    image: np.ndarray, cells: np.ndarray, nrmse: float, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray, float]:
    """Smooth shading by factors of 0.7 to 1.4, of image and errors alike."""
    if not (cells[0] >= 0).any():
        return image, cells, nrmse
    y, x = (np.linspace(-1, 1, n) for n in image.shape)
    waves = rng.normal(0, 0.5, (2, 2))
    field = (waves[0, 0] * y + waves[1, 0] * np.cos(2 * y))[:, None] + waves[0, 1] * x + waves[1, 1] * np.cos(2 * x)
    field -= field.mean()
    field = np.exp(0.34 * field / max(np.abs(field).max(), 1e-6))
    bright = image * field.astype(np.float32)
    bright *= min(1.0, 1 / max(float(bright.max()), 1e-6))
    coarse = field[CELL // 2 :: CELL, CELL // 2 :: CELL]
    coarse = np.pad(coarse, [(0, n - m) for n, m in zip(cells.shape[1:], coarse.shape, strict=True)], mode="edge")
    scale = _rms(image, cells) / _rms(image * field, cells)
    return _relative(bright, cells, scale * coarse.astype(np.float32))


def _relative(image: np.ndarray, cells: np.ndarray, factor: float | np.ndarray) -> tuple[np.ndarray, np.ndarray, float]:
    """Errors of cells times a factor, and the object's error that goes with them."""
    cells = np.where(cells >= 0, cells * factor, cells)  # NaN stays
    return image, cells, float(np.sqrt(np.mean(cells[0][cells[0] >= 0] ** 2)))


def _rms(image: np.ndarray, cells: np.ndarray) -> float:
    """Root mean square of the object, which is where cells have errors."""
    return float(np.sqrt(np.mean(image[_object(image, cells)] ** 2)).clip(1e-6))


def _object(image: np.ndarray, cells: np.ndarray) -> np.ndarray:
    """Pixels of cells that have errors."""
    h, w = image.shape
    return np.kron(cells[0] >= 0, np.ones((CELL, CELL), bool))[:h, :w]


def _masked(image: np.ndarray, threshold: float = 0.0) -> np.ndarray:
    """Set to zero around the object, as skull-stripping and defacing do, and where darker than a threshold."""
    from scipy.ndimage import binary_dilation

    inside = metrics.object_mask(torch.from_numpy(image)[None, None])[0, 0].numpy()
    return np.where((image >= threshold) & np.asarray(binary_dilation(inside, iterations=3), bool), image, 0)


def _flawed(
    image: np.ndarray, cells: np.ndarray, nrmse: float, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray, float]:
    """Add a local degradation, whose squared error is added to that of cells and object."""
    inside = _object(image, cells)
    if not inside.any():
        return image, cells, nrmse
    power = float(np.mean(image[inside] ** 2))
    image, error = degrade_locally(image, np.where(inside, 0, -1).astype(np.float32), power, rng)
    added = _cell_means(np.maximum(error, 0) ** 2)
    worse = np.where(cells >= 0, np.sqrt(np.maximum(cells, 0) ** 2 + added), cells)  # NaN stays
    return image, worse.astype(np.float32), math.sqrt(nrmse**2 + float(added[cells[0] >= 0].mean()))


def spliced(
    image: np.ndarray, cells: np.ndarray, other: np.ndarray, of_other: np.ndarray, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray, float]:
    """An image with another of the same target in one place; squared errors of cells mix as the images do.

    Parameters
    ----------
    image, cells
        Magnitude, and errors of its cells: excess and total.
    other, of_other
        The same of the other image, of the same size and object; it is brought to the first one's scale.
    """
    inside = _object(image, cells)
    other = other * float((image * other)[inside].sum() / max((other[inside] ** 2).sum(), 1e-12))
    share = place(inside, rng)
    of_cells = _cell_means(share)
    mixed = np.sqrt((1 - of_cells) * np.maximum(cells, 0) ** 2 + of_cells * np.maximum(of_other, 0) ** 2)
    mixed = np.where(cells < 0, -1, mixed).astype(np.float32)  # NaN, where one is not known, stays
    blend = (image + share * (other - image)).astype(np.float32)
    return blend, mixed, float(np.sqrt(np.mean(mixed[0][mixed[0] >= 0] ** 2)))


def _cell_means(pixels: np.ndarray) -> np.ndarray:
    """Mean of the pixels of each cell; cells at the edges are filled by their last pixels."""
    padded = np.pad(pixels, [(0, -n % CELL) for n in pixels.shape], mode="edge")
    return padded.reshape(padded.shape[0] // CELL, CELL, -1, CELL).mean((1, 3))
