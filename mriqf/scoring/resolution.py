"""Resolution that an image was acquired at: the support of its k-space, if a scanner or program interpolated it.

An image with an empty rim of k-space was zero-filled to a larger matrix, or truncated: the image cannot tell which.
Predictors of errors score it at its own resolution, so that interpolation changes nothing.
"""

import dataclasses
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float, Float32, Shaped
from torch import Tensor

from mriqf import metrics
from mriqf.io import Volume
from mriqf.scoring.scale import spread

Resolution = Literal["own", "as-is"]
"""Detail that an empty rim of k-space lacks counts for nothing, or as error."""
SLICES = 9
"""Slices of a volume that its support is looked for in, at most."""
DROP = 1.25
"""Fall of the mean logarithm of power at the edge of a support, at least. Of images that were not interpolated it stays
below 1.2, of interpolated ones it is 1.5 to 5: anatomies and noise of `data_manifests/modl.toml`."""
WINDOW = 5
"""Frequencies on either side of an edge, over which power is averaged."""
SOFT = 2.0
"""Width of the edge of the mask, pixels."""
LEAST = 0.25
"""Part of the frequencies that a support has, at least."""
FEWEST = 32
"""Samples along an axis that are kept, at least."""


def support(image: Float[Tensor, "1 1 h w"]) -> tuple[int, int]:
    """Rows and columns of k-space that an image fills; its own height and width where it has no empty rim.

    Parameters
    ----------
    image
        Magnitude, any unit.
    """
    image = image.detach().cpu()
    size = [image.shape[2], image.shape[3]]
    least = [max(LEAST * n, float(FEWEST)) for n in size]
    for _ in range(3):  # an image that was interpolated twice has two rims
        part = _cropped(image, (size[0], size[1]))
        smaller = _once(part, least)
        if smaller == size:
            break
        size = smaller
    return size[0], size[1]


def crop_to_support(image: Float[Tensor, "1 1 h w"]) -> tuple[Float[Tensor, "1 1 i j"], tuple[int, int]]:
    """The image at the resolution of its `support`, in the same unit, and that support."""
    size = support(image)
    return _cropped(image, size), size


def volume_support(volume: Volume) -> tuple[int, int]:
    """Rows and columns of k-space that a magnitude volume fills: the median of some of its slices' `support`.

    Slices in which there is nothing do not count.
    """
    slices = (volume.read_slice(k) for k in spread(range(volume.n_slices), SLICES))
    sizes = [support(torch.tensor(image)[None]) for image in slices if np.ptp(image) > 0]
    rows, columns = (sorted(axis)[len(sizes) // 2] for axis in zip(*sizes, strict=True)) if sizes else volume.shape
    return rows, columns


def resolved_volume(volume: Volume, size: tuple[int, int]) -> Volume:
    """The volume at the resolution of a support; itself, if that is its own size. What is empty stays empty."""
    if size == volume.shape:
        return volume

    def read_slice(index: int) -> Float32[np.ndarray, "ch h w"]:
        return resolve(torch.tensor(volume.read_slice(index))[None], size)[0].numpy()

    return dataclasses.replace(volume, shape=size, read_slice=read_slice)


def resolve(image: Float[Tensor, "1 1 h w"], size: tuple[int, int]) -> Float[Tensor, "1 1 i j"]:
    """The centre of an image's k-space alone, with a gradient; pixels that are exactly zero stay zero."""
    if size == tuple(image.shape[2:]):
        return image
    rows, columns = (
        (torch.arange(m, device=image.device) * n / m).round().long()
        for n, m in zip(image.shape[2:], size, strict=True)
    )
    return torch.where(image[..., rows[:, None], columns] == 0, 0, _cropped(image, size))


def unresolved_error(image: Float[Tensor, "1 1 i j"], shape: tuple[int, int]) -> float:
    """Error that an empty rim of k-space stands for, relative to the image's root mean square.

    A power law of frequency, fitted to the outer seven eighths of the measured disc of k-space, is continued into the
    rim: what an image of that matrix would hold there.

    Parameters
    ----------
    image
        Magnitude at its own resolution.
    shape
        Rows and columns of the matrix that it was interpolated to.
    """
    power = torch.fft.fft2(image.detach()[0, 0].double()).abs().square().cpu()
    radius = _radius((power.shape[0], power.shape[1])).round().long()
    last = min(power.shape) // 2 - 1
    count = torch.bincount(radius.flatten())[: last + 1]
    mean = torch.bincount(radius.flatten(), power.flatten())[: last + 1] / count
    at = torch.arange(max(last // 8, 1), last + 1)
    known = mean[at] > 0
    if known.sum() < 2:
        return 0.0
    falls, level = np.polyfit(at[known].double().log().numpy(), mean[at][known].log().numpy(), 1)
    rim = _radius(shape).clamp_min(1)
    h, w = power.shape
    row, column = (torch.fft.fftfreq(n, 1 / n).abs() for n in shape)
    outside = (row[:, None] >= h / 2) | (column >= w / 2)
    missing = float((np.exp(level) * rim[outside].double() ** min(falls, 0.0)).sum())
    return (missing / float(power.sum())) ** 0.5


def on_grid(
    at_own: Shaped[np.ndarray, "i j"], shape: tuple[int, int], *, nearest: bool = False
) -> Shaped[np.ndarray, "h w"]:
    """A map at an image's own resolution, brought to the image's grid: bilinear, or the nearest pixel."""
    resampled = at_own
    for axis, (n, m) in enumerate(zip(shape, at_own.shape, strict=True)):
        place = np.minimum(np.arange(n) * m / n, m - 1)
        if nearest:
            resampled = np.take(resampled, place.round().astype(int), axis)
            continue
        low = place.astype(int)
        share = (place - low).astype(resampled.dtype).reshape(-1, *[1] * (1 - axis))
        high = np.minimum(low + 1, m - 1)
        resampled = (1 - share) * np.take(resampled, low, axis) + share * np.take(resampled, high, axis)
    return resampled


def _radius(shape: tuple[int, int]) -> Float[Tensor, "h w"]:
    """Frequency of each sample of k-space, in cycles per field of view."""
    row, column = (torch.fft.fftfreq(n, 1 / n) for n in shape)
    return torch.hypot(row[:, None], column)


def _once(image: Tensor, least: list[float]) -> list[int]:
    from scipy.ndimage import gaussian_filter

    # The background of a magnitude image fills all of k-space with noise, wherever the object's support ends. The edge
    # of the mask is smooth: one of boxes would have zeros of its own in k-space.
    inside = metrics.object_mask(image)[0, 0].cpu().double().numpy()
    soft = torch.from_numpy(gaussian_filter(inside, SOFT)).to(image.device)
    power = torch.fft.fft2(image.double()[0, 0] * soft).abs().square()
    logs = (power / power.amax().clamp_min(1e-300) + 1e-14).log()
    extents = []
    for axis in (0, 1):
        lines = logs if axis == 0 else logs.mT
        low = torch.fft.fftfreq(lines.shape[1], device=lines.device).abs() < 0.25
        # Where the other axis was interpolated, too, half of each line or more is empty from end to end.
        extents.append(min(_extent(lines, least[axis], DROP), _extent(lines[:, low], least[axis], 1.6 * DROP)))
    return extents


def _extent(logs: Float[Tensor, "n m"], least: float, drop: float) -> int:
    """Lines inside the sharpest fall of k-space's power towards an empty rim, or all of them."""
    n = len(logs)
    half = (n - 1) // 2
    if half < least / 2 + 2 or half < 3 * WINDOW:
        return n
    signs = torch.stack((logs.mean(1)[1 : half + 1], logs.mean(1)[-half:].flip(0)))  # frequencies 1 to half
    points = logs.quantile(0.95, 1)
    mean, high = signs.mean(0), (points[1 : half + 1] + points[-half:].flip(0)) / 2
    at = torch.arange(WINDOW + 1, half - 2, device=logs.device)
    inner, before, beyond = _levels(mean, at)
    fall = torch.minimum(inner, before) - beyond  # of shapes with few frequencies the last may stand out: no edge
    # Smooth images fall everywhere, but not more steeply in one place: the fall next to an edge does not count, nor
    # does one that goes on as it began.
    around = torch.nn.functional.pad(fall, (2 * WINDOW, 2 * WINDOW))
    edge = fall - torch.maximum(around[: len(fall)], around[4 * WINDOW :]) > 0.8 * drop
    breaks = fall - (before - inner).clamp_min(0) * (WINDOW + 2) / WINDOW > drop / 2
    # Undersampled images have an edge where their centre ends, but lines or points beyond it that are as strong.
    strongest = signs.amax(0).flip(0).cummax(0).values.flip(0)[at + 1]
    inner_high, _, beyond_high = _levels(high, at)
    empty = (inner - strongest > 0.8 * drop) & (inner_high - beyond_high > drop / 2)
    fall, k = torch.where(edge & breaks & empty & (at >= least / 2), fall, 0).max(0)
    if fall <= drop:
        return n
    # Not a line that is empty: the last that is filled on both sides.
    middle, last = (inner[k] + beyond[k]) / 2, int(at[k])
    filled = signs.amin(0)[last - 3 : last + 2] > middle  # frequencies last - 2 to last + 2
    return max(2 * (last - 3 + int(filled.cumprod(0).sum())) + 1, int(least))


def _levels(
    profile: Float[Tensor, " k"], at: Tensor
) -> tuple[Float[Tensor, " m"], Float[Tensor, " m"], Float[Tensor, " m"]]:
    """Means before frequencies, of the window before that, and behind them; one sample on either side is left out."""
    sums = torch.cat((profile.new_zeros(1), profile.cumsum(0)))
    first, last = (at - 1 - 2 * WINDOW).clamp_min(0), (at + 1 + WINDOW).clamp_max(len(profile))
    inner = (sums[at - 1] - sums[at - 1 - WINDOW]) / WINDOW
    before = (sums[at - 1 - WINDOW] - sums[first]) / (at - 1 - WINDOW - first).clamp_min(1)
    return inner, torch.where(first < at - 1 - WINDOW, before, inner), (sums[last] - sums[at + 1]) / (last - at - 1)


def _cropped(image: Tensor, size: tuple[int, int]) -> Tensor:
    """The image with the centre of its k-space alone; its first pixel stays where it was."""
    h, w = image.shape[2:]
    if size == (h, w):
        return image
    spectrum = torch.fft.fftshift(torch.fft.fft2(image.double()), dim=(-2, -1))
    top, left = h // 2 - size[0] // 2, w // 2 - size[1] // 2
    part = torch.fft.ifftshift(spectrum[..., top : top + size[0], left : left + size[1]], dim=(-2, -1))
    factor = size[0] * size[1] / (h * w)
    return (torch.fft.ifft2(part).real * factor).clamp_min(0).to(image.dtype)
