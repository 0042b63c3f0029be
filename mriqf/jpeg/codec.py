"""JPEG as in libjpeg: compression, with or without a gradient, block DCT, quantisation tables.

References
----------
ITU-T T.81 (1992), annexes A and K; Independent JPEG Group, libjpeg: `jcparam.c` (quality scaling).
"""

import io
import math
from collections.abc import Sequence
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float, Int
from PIL import Image
from torch import Tensor
from torch.nn.functional import pad

from mriqf.jpeg.colour import doubled, halved, rgb, ycbcr

BLOCK = 8

# Tables K.1 and K.2 of T.81, natural order: the quality-50 tables of libjpeg.
_BASE = {
    "luma": (
        (16, 11, 10, 16, 24, 40, 51, 61),
        (12, 12, 14, 19, 26, 58, 60, 55),
        (14, 13, 16, 24, 40, 57, 69, 56),
        (14, 17, 22, 29, 51, 87, 80, 62),
        (18, 22, 37, 56, 68, 109, 103, 77),
        (24, 35, 55, 64, 81, 104, 113, 92),
        (49, 64, 78, 87, 103, 121, 120, 101),
        (72, 92, 95, 98, 112, 100, 103, 99),
    ),
    "chroma": (
        (17, 18, 24, 47, 99, 99, 99, 99),
        (18, 21, 26, 66, 99, 99, 99, 99),
        (24, 26, 56, 99, 99, 99, 99, 99),
        (47, 66, 99, 99, 99, 99, 99, 99),
        (99, 99, 99, 99, 99, 99, 99, 99),
        (99, 99, 99, 99, 99, 99, 99, 99),
        (99, 99, 99, 99, 99, 99, 99, 99),
        (99, 99, 99, 99, 99, 99, 99, 99),
    ),
}


def quantization_table(quality: int, component: Literal["luma", "chroma"] = "luma") -> Int[Tensor, "8 8"]:
    """Quantisation steps that libjpeg uses at one quality, in natural (row, column) order.

    Parameters
    ----------
    quality
        Quality factor, 1 (worst) to 100 (best).
    component
        Which of the two standard tables.

    Raises
    ------
    ValueError
        If `quality` is not in 1–100.
    """
    _check_quality(quality)
    scale = 5000 // quality if quality < 50 else 200 - 2 * quality
    return ((torch.tensor(_BASE[component]) * scale + 50) // 100).clamp(1, 255)


def tables(quality: int, channels: int) -> Float[Tensor, "t 8 8"]:
    """Quantisation steps, 1–255, of an image at one quality: of luma for 1 channel, of luma and chroma for 3."""
    components: tuple[Literal["luma", "chroma"], ...] = ("luma",) if channels == 1 else ("luma", "chroma")
    return torch.stack([quantization_table(quality, component) for component in components]).float()


def compress(images: Float[Tensor, "b ch h w"], quality: int | Sequence[int]) -> Float[Tensor, "b ch h w"]:
    """Round trip of each image through a baseline libjpeg file; no gradient.

    Parameters
    ----------
    images
        Grey (1 channel) or RGB (3 channels, coded 4:2:0), in [0, 1]; rounded to 8 bit first.
    quality
        Quality factor, 1–100, one for all images or one an image.

    Returns
    -------
    The decoded images, in [0, 1], on the device and in the type of the input.

    Raises
    ------
    ValueError
        If a quality is out of range, the number of qualities is not the batch size, or there are not 1 or 3 channels.

    Examples
    --------
    >>> import torch
    >>> ramp = torch.linspace(0, 1, 64).expand(2, 1, 64, 64)
    >>> error = (compress(ramp, [10, 90]) - ramp).abs().mean((1, 2, 3))  # one quality an image
    >>> bool(error[0] > 3 * error[1])
    True
    """
    qualities = _qualities(images, quality)
    batch, channels = images.shape[:2]
    pixels = (images.detach().clamp(0, 1) * 255).round().to(torch.uint8).permute(0, 2, 3, 1).cpu().numpy()
    decoded = np.stack(
        [compress_pixels(p.squeeze(-1) if channels == 1 else p, q) for p, q in zip(pixels, qualities, strict=True)]
    )
    tensor = torch.from_numpy(decoded).reshape(batch, *images.shape[2:], channels).permute(0, 3, 1, 2)
    return tensor.to(images.device, images.dtype).contiguous() / 255


def compress_differentiable(
    images: Float[Tensor, "b ch h w"],
    quality: int | Sequence[int],
    *,
    rounding: Literal["straight-through", "smooth"] = "straight-through",
    upsampling: Literal["fancy", "nearest"] = "fancy",
) -> Float[Tensor, "b ch h w"]:
    """Round trip of each image through JPEG, written in differentiable steps; nearly always the pixels of `compress`.

    Values are rounded as in libjpeg: input, luma and chroma, chroma of half resolution, each pass of the DCT,
    coefficients, decoded components, output. Clipping to 8 bit passes the gradient on.

    Parameters
    ----------
    images
        Grey (1 channel) or RGB (3 channels, coded 4:2:0), in [0, 1], in single or double precision.
    quality
        Quality factor, 1–100, one for all images or one an image.
    rounding
        "straight-through": rounded, with the gradient of the identity. "smooth": a coefficient x in units of its step
        becomes ⌊x⌉ + (x − ⌊x⌉)³, as Shin and Song propose, and nothing else is rounded, so that the gradient is that of
        what is computed; the result is a little off what a decoder gives.
    upsampling
        Upsampling of chroma in the decoder: "fancy" is the triangular filter that decoders use unless told
        otherwise, "nearest" repeats each sample.

    Returns
    -------
    The decoded images, in [0, 1].

    Raises
    ------
    ValueError
        If a quality is out of range, the number of qualities is not the batch size, there are not 1 or 3 channels, or
        the kind of rounding or upsampling does not exist.

    References
    ----------
    Bengio et al., Estimating or propagating gradients through stochastic neurons, 2013, arXiv:1308.3432; Shin, Song,
    JPEG-resistant adversarial images, NIPS Workshop on Machine Learning and Computer Security, 2017.
    """
    if rounding not in _ROUNDING or upsampling not in ("fancy", "nearest"):
        raise ValueError(
            f"rounding={rounding!r}, upsampling={upsampling!r}: use straight-through or smooth, and fancy or nearest"
        )
    coefficient, level = _ROUNDING[rounding]
    height, width = images.shape[-2:]
    steps = torch.stack([tables(q, images.shape[1]) for q in _qualities(images, quality)]).to(images)
    basis = (dct_basis() * 8**0.5).to(images)  # frequencies 0 and 4 exactly ±1: no tie is broken
    centre = images.new_tensor((0.0, 0.5, 0.5))[:, None, None]  # level 128, not 127.5, is chroma of grey

    def levels(x: Tensor) -> Tensor:
        x = level(x)
        return x + (x.clamp(0, 255) - x).detach()

    def component(x: Tensor, table: Tensor) -> Tensor:
        """Decoded component; the DCT is rounded after each pass to the precision of libjpeg."""
        rows, columns = x.shape[-2:]
        x = pad(x, (0, -columns % BLOCK, 0, -rows % BLOCK), mode="replicate") - 128
        blocks = x.unflatten(-2, (-1, BLOCK)).unflatten(-1, (-1, BLOCK)).transpose(-3, -2)
        eighths = level(basis @ level(blocks @ basis.T * 4) / 4)
        table = table[:, None, None, None]
        dequantised = coefficient(eighths / (8 * table)) * table
        blocks = level(level(basis.T @ dequantised * 4) @ basis / 32)
        return levels(blocks.transpose(-3, -2).flatten(-4, -3).flatten(-2, -1) + 128)[..., :rows, :columns]

    # Full precision under autocast, too.
    with torch.autocast(images.device.type, enabled=False):
        pixels = levels(images * 255)
        if images.shape[1] == 1:
            return component(pixels, steps[:, 0]) / 255
        # A little less than the centre: halves of chroma, frequent where two colours are equal, are rounded down.
        luma, chroma = levels(ycbcr(pixels / 255) * 255 + centre * 0.998).split((1, 2), 1)
        half = component(level(halved(chroma)), steps[:, 1])[..., : -(-height // 2), : -(-width // 2)]
        chroma = level(doubled(half, upsampling))[..., :height, :width]
        decoded = torch.cat((component(luma, steps[:, 0]), chroma), 1)
        return levels(rgb((decoded - centre) / 255) * 255) / 255


def compress_pixels(
    pixels: np.ndarray, quality: int, sampling: Literal["4:2:0", "4:2:2", "4:4:4"] = "4:2:0"
) -> np.ndarray:
    """One 8-bit image, `(h, w)` grey or `(h, w, 3)` RGB, through a baseline libjpeg file at `quality` (1–100).

    `sampling` is the resolution of an RGB image's chroma.
    """
    _check_quality(quality)
    buffer = io.BytesIO()
    image = Image.fromarray(np.ascontiguousarray(pixels))
    image.save(buffer, "JPEG", quality=quality, subsampling=sampling if pixels.ndim == 3 else -1)
    return np.asarray(Image.open(buffer))


def block_dct(levels: Float[Tensor, "*b h w"]) -> Float[Tensor, "*b i j 8 8"]:
    """Orthonormal 8×8 DCT-II of each whole block: JPEG's coefficients, for grey levels from which 128 was taken.

    Rows and columns that do not fill a block are left out.
    """
    rows, columns = levels.shape[-2] // BLOCK, levels.shape[-1] // BLOCK
    blocks = levels[..., : rows * BLOCK, : columns * BLOCK].unflatten(-2, (rows, BLOCK)).unflatten(-1, (columns, BLOCK))
    basis = dct_basis().to(levels)
    return torch.einsum("ux, ...ixjy, vy -> ...ijuv", basis, blocks, basis)


def block_idct(coefficients: Float[Tensor, "*b i j 8 8"]) -> Float[Tensor, "*b h w"]:
    """Inverse of `block_dct`."""
    basis = dct_basis().to(coefficients)
    blocks = torch.einsum("ux, ...ijuv, vy -> ...ixjy", basis, coefficients, basis)
    return blocks.flatten(-4, -3).flatten(-2, -1)


def dct_basis() -> Float[Tensor, "8 8"]:
    """Orthonormal DCT-II of eight samples: row u holds frequency u."""
    u, x = torch.arange(BLOCK).double()[:, None], torch.arange(BLOCK).double()[None]
    basis = torch.cos((2 * x + 1) * u * math.pi / (2 * BLOCK)) * math.sqrt(2 / BLOCK)
    basis[0] /= math.sqrt(2)
    return basis


def _away_from_zero(x: Tensor) -> Tensor:
    """Round to the nearest whole number, with the tie rule of libjpeg's quantisation."""
    return x.sign() * (x.abs() + 0.5).floor()


def _smooth(x: Tensor) -> Tensor:
    nearest = _away_from_zero(x.detach())
    return nearest + (x - nearest) ** 3


# Rounding of coefficients, and of all other values.
_ROUNDING = {
    "straight-through": (
        lambda x: x + (_away_from_zero(x) - x).detach(),
        lambda x: x + ((x + 0.5).floor() - x).detach(),
    ),
    "smooth": (_smooth, lambda x: x),
}


def _qualities(images: Float[Tensor, "b ch h w"], quality: int | Sequence[int]) -> list[int]:
    """One quality for each image."""
    batch, channels = images.shape[:2]
    qualities = [quality] * batch if isinstance(quality, int) else [int(q) for q in quality]
    if len(qualities) != batch:
        raise ValueError(f"quality has {len(qualities)} values for {batch} images: give one, or one an image")
    if channels not in (1, 3):
        raise ValueError(f"images have {channels} channels: JPEG takes 1 (grey) or 3 (RGB)")
    return qualities


def _check_quality(quality: int) -> None:
    if not 1 <= quality <= 100:
        raise ValueError(f"quality is {quality}: JPEG's quality factor runs from 1 to 100")
