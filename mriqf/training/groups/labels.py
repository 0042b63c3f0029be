"""Errors of the cells of degraded images, and targets at the resolution of an image."""

import functools

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn.functional import avg_pool2d, pad

import recon
from mriqf import degrade
from mriqf.training.groups.targets import Image

CELL = 8
"""Pixels of a side of a cell, of which errors are kept."""

SIGMA = 6.0
"""Pixels, of the Gaussian window in which errors are averaged."""


def cell_errors(squares: Float[Tensor, "1 1 h w"], inside: Bool[Tensor, "1 1 h w"]) -> Float[Tensor, "i j"]:
    """Local mean of squared errors over the object, of cells of 8×8 pixels; -1 where less than half is object.

    Local means are weighted by a Gaussian of 6 pixels and taken over pixels of the object alone.
    """
    kernel = _kernel()
    weight = _window(inside.float(), kernel)
    mean = _window(torch.where(inside, squares, 0), kernel) / weight.clamp_min(1e-6)
    h, w = squares.shape[2:]
    margin = (0, -w % CELL, 0, -h % CELL)
    share = avg_pool2d(pad(inside.float(), margin), CELL)
    value = avg_pool2d(pad(torch.where(inside, mean, 0), margin), CELL) / share.clamp_min(1e-6)
    return torch.where(share > 0.5, value, -1.0)[0, 0]


@functools.cache
def _kernel() -> Tensor:
    reach = int(3 * SIGMA)
    kernel = torch.exp(-0.5 * (torch.arange(-reach, reach + 1) / SIGMA) ** 2)
    return kernel / kernel.sum()


def _window(x: Tensor, kernel: Tensor) -> Tensor:
    reach = len(kernel) // 2
    rows = torch.nn.functional.conv2d(pad(x, (0, 0, reach, reach)), kernel.reshape(1, 1, -1, 1))
    return torch.nn.functional.conv2d(pad(rows, (reach, reach, 0, 0)), kernel.reshape(1, 1, 1, -1))


def limited(image: Image, size: tuple[int, int]) -> Image:
    """The image with the centre of its k-space alone, at its own size."""
    fractions = tuple(min(n / m, 1.0) for n, m in zip(size, image.shape[2:], strict=True))
    return recon.ifft2c(degrade.truncate(recon.fft2c(image.to(torch.complex64)), (fractions[0], fractions[1]))).abs()


def resampled(image: Image, size: tuple[int, int]) -> Image:
    """The image on another grid of the same field of view, by cutting or padding its k-space."""
    h, w = image.shape[2:]
    spectrum = torch.fft.fftshift(torch.fft.fft2(image), dim=(-2, -1))
    spectrum = pad(spectrum, (max(size[1] - w, 0), max(size[1] - w, 0), max(size[0] - h, 0), max(size[0] - h, 0)))
    a, b = spectrum.shape[2] // 2 - size[0] // 2, spectrum.shape[3] // 2 - size[1] // 2
    part = torch.fft.ifftshift(spectrum[..., a : a + size[0], b : b + size[1]], dim=(-2, -1))
    return (torch.fft.ifft2(part).real * (size[0] * size[1] / (h * w))).clamp_min(0)
