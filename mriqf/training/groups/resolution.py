"""Resolution that an image was acquired at: the support of its k-space, if a scanner or program interpolated it.

An image with an empty rim of k-space was zero-filled to a larger matrix, or truncated: the image cannot tell which.
"""

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import avg_pool2d

from mriqf import metrics

DROP = 1.25
"""Fall of the mean logarithm of power at the edge of a support, at least. Of images that were not interpolated it stays
below 1.2, of interpolated ones it is 1.5 to 5: anatomies and noise of `data_manifests/modl.toml`."""
WINDOW = 5
"""Frequencies on either side of an edge, over which power is averaged."""
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
    size = [image.shape[2], image.shape[3]]
    least = [max(LEAST * n, float(FEWEST)) for n in size]
    for _ in range(3):  # an image that was interpolated twice has two rims
        part = crop_to(image, (size[0], size[1]))
        found = _once(part, least)
        if found == size:
            break
        size = found
    return size[0], size[1]


def crop_to_support(image: Float[Tensor, "1 1 h w"]) -> tuple[Float[Tensor, "1 1 i j"], tuple[int, int]]:
    """The image at the resolution of its `support`, in the same unit, and that support."""
    size = support(image)
    return crop_to(image, size), size


def _once(image: Tensor, least: list[float]) -> list[int]:
    # The background of a magnitude image fills all of k-space with noise, wherever the object's support ends.
    inside = metrics.object_mask(image).float()
    soft = avg_pool2d(avg_pool2d(inside, 5, 1, 2), 5, 1, 2)
    power = torch.fft.fft2((image * soft).double()[0, 0]).abs().square()
    logs = (power / power.amax().clamp_min(1e-300) + 1e-14).log()
    return [_extent(logs if axis == 0 else logs.mT, least[axis]) for axis in (0, 1)]


def _extent(logs: Float[Tensor, "n m"], least: float) -> int:
    """Lines inside the sharpest fall of k-space's power towards an empty rim, or all of them."""
    n = len(logs)
    half = (n - 1) // 2
    if half < least / 2 + 2 or half < 3 * WINDOW:
        return n
    signs = torch.stack((logs.mean(1)[1 : half + 1], logs.mean(1)[-half:].flip(0)))  # frequencies 1 to half
    points = logs.quantile(0.95, 1)
    mean, high = signs.mean(0), (points[1 : half + 1] + points[-half:].flip(0)) / 2
    at = torch.arange(WINDOW + 1, half - 2)
    fall, inner = _fall(mean, at)
    # Smooth images fall everywhere, but not more steeply in one place: the fall next to an edge does not count.
    around = torch.nn.functional.pad(fall, (2 * WINDOW, 2 * WINDOW))
    edge = fall - torch.maximum(around[: len(fall)], around[4 * WINDOW :]) > 0.8 * DROP
    # Undersampled images have an edge where their centre ends, but lines or points beyond it that are as strong.
    strongest = signs.amax(0).flip(0).cummax(0).values.flip(0)[at + 1]
    empty = (inner - strongest > 0.8 * DROP) & (_fall(high, at)[0] > DROP / 2)
    fall, k = torch.where(edge & empty & (at >= least / 2), fall, 0).max(0)
    return 2 * int(at[k]) + 1 if fall > DROP else n


def _fall(profile: Float[Tensor, " k"], at: Tensor) -> tuple[Float[Tensor, " m"], Float[Tensor, " m"]]:
    """Difference of the means before and after frequencies, one left out on either side, and the mean before."""
    sums = torch.cat((profile.new_zeros(1), profile.cumsum(0)))
    last = (at + 1 + WINDOW).clamp_max(len(profile))
    inner = (sums[at - 1] - sums[at - 1 - WINDOW]) / WINDOW
    return inner - (sums[last] - sums[at + 1]) / (last - at - 1), inner


def crop_to(image: Float[Tensor, "1 1 h w"], size: tuple[int, int]) -> Float[Tensor, "1 1 i j"]:
    """The image with the centre of its k-space alone; its first pixel stays where it was."""
    h, w = image.shape[2:]
    if size == (h, w):
        return image
    spectrum = torch.fft.fftshift(torch.fft.fft2(image.double()), dim=(-2, -1))
    top, left = h // 2 - size[0] // 2, w // 2 - size[1] // 2
    part = torch.fft.ifftshift(spectrum[..., top : top + size[0], left : left + size[1]], dim=(-2, -1))
    factor = size[0] * size[1] / (h * w)
    return (torch.fft.ifft2(part).real * factor).clamp_min(0).to(image.dtype)
