"""Quantisation cell of a JPEG image: all images that JPEG codes by the same coefficients.

The original image lies in it. A restored image may lie outside, where it contradicts the file.

References
----------
Zakhor, Iterative procedures for reduction of blocking effects in transform image coding, IEEE Trans Circuits Syst Video
Technol 1992, doi:10.1109/76.134377.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import interpolate, pad

from mriqf.jpeg.codec import BLOCK, block_dct, block_idct
from mriqf.jpeg.colour import coded_levels, rgb, ycbcr


@dataclass(frozen=True)
class Cell:
    """Coefficients of JPEG images, and their quantisation steps."""

    centres: tuple[Float[Tensor, "b _ _ 8 8"], ...]
    """Coefficients of luma, and for colour of Cb and Cr with half as many blocks each way: multiples of the steps."""
    steps: tuple[Float[Tensor, "b 1 1 8 8"], ...]
    """Quantisation steps of each component."""


def code(images: Float[Tensor, "b ch h w"], tables: Float[Tensor, "b t 8 8"]) -> Cell:
    """Cell of images before their compression; colour is coded 4:2:0.

    Parameters
    ----------
    images
        Grey or RGB, in [0, 1]; sides are filled up to whole blocks (colour: to 16 pixels) by their last pixels.
    tables
        Quantisation steps, 1–255, in natural order: of luma, and for colour of chroma.

    Raises
    ------
    ValueError
        If there are not 1 or 3 channels, or not as many tables as they have.
    """
    channels = images.shape[1]
    if channels not in (1, 3) or tables.shape[1] != (1 if channels == 1 else 2):
        raise ValueError(
            f"images have {channels} channels and {tables.shape[1]} tables: give grey ones with one, RGB with two"
        )
    steps = tuple(tables[:, min(k, 1), None, None].to(images) for k in range(channels))
    return Cell(tuple((c / s).round() * s for c, s in zip(_coefficients(images), steps, strict=True)), steps)


def project(images: Float[Tensor, "b ch h w"], cell: Cell) -> Float[Tensor, "b ch h w"]:
    """Project images onto the cell, up to rounding to grey levels; differentiable.

    Chroma moves by the same amount in 2×2 pixels. Exact where sides are whole blocks (colour: of 16 pixels); elsewhere
    the last, incomplete blocks are near it.
    """
    h, w = images.shape[2:]
    moved = []
    for coefficients, centre, step in zip(_coefficients(images), cell.centres, cell.steps, strict=True):
        inside = torch.minimum(torch.maximum(coefficients, centre - step / 2), centre + step / 2)
        moved.append(block_idct(inside - coefficients)[:, None] / 255)
    if len(moved) == 1:
        return images + moved[0][..., :h, :w]
    luma, chroma = moved[0], interpolate(torch.cat(moved[1:], 1), scale_factor=2.0, mode="nearest")
    added = torch.cat((luma, chroma), 1)[..., :h, :w]
    return rgb(ycbcr(images) + added)


def outside(images: Float[Tensor, "b ch h w"], cell: Cell, slack: int | float = 1.0) -> Float[Tensor, " b"]:
    """Fraction of coefficients outside the cell by more than `slack` grey levels, 0–1.

    Rounding the pixels to 8 bit moves a coefficient by a few tenths.
    """
    coefficients = _coefficients(images)
    far = [
        ((f - centre).abs() > step / 2 + slack).flatten(1)
        for f, centre, step in zip(coefficients, cell.centres, cell.steps, strict=True)
    ]
    return torch.cat(far, 1).double().mean(1).to(images)


def _coefficients(images: Float[Tensor, "b ch h w"]) -> list[Float[Tensor, "b i j 8 8"]]:
    """Coefficients of luma, and for colour of Cb and Cr at half the resolution; not rounded."""
    side = BLOCK * (1 if images.shape[1] == 1 else 2)
    padded = pad(images, (0, -images.shape[3] % side, 0, -images.shape[2] % side), mode="replicate")
    return [block_dct(levels) for levels in coded_levels(padded)[1]]
