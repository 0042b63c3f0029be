"""Protocols of three lines of papers to compress, decode and compare photographs; their figures do not mix.

On the 29 images of LIVE1 at quality 10, colour JPEGs get 25.69 dB in the first protocol and 25.59 dB in the others;
PSNR-B differs by up to 3 dB. So the row of JPEG itself, which every table has, comes first: it tells whether tables
compare.

References
----------
Jiang et al., Towards flexible blind JPEG artifacts removal (FBCNN), ICCV 2021, arXiv:2109.14573.
Ehrlich et al., Quantization guided JPEG artifact correction (QGAC), ECCV 2020, arXiv:2004.09320.
Li et al., Learning a single model with a wide range of quality factors for JPEG image artifacts removal (QGCN), IEEE
Trans Image Process 2020, doi:10.1109/TIP.2020.3020389.
"""

import functools
import math
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from mriqf.jpeg import compress, compress_differentiable, tables
from mriqf.jpeg.colour import limited_luma
from mriqf.metrics.jpeg import psnr, psnr_b, ssim_gaussian, ssim_uniform

Restorer = Callable[[Float[Tensor, "b ch h w"], Float[Tensor, "b t 8 8"]], Float[Tensor, "b ch h w"]]
"""Function from decoded images in [0, 1] and their quantisation tables to restored images of the same size."""

Measure = Callable[[Tensor, Tensor], Tensor]

JPEG = "jpeg"  # method of the rows that nothing restored


@dataclass(frozen=True)
class Protocol:
    """Protocol: conversion to grey, compression, decoding, metrics."""

    name: str
    upsampling: Literal["fancy", "nearest"]
    """Upsampling of chroma by the decoder: the triangular filter of all common decoders, or repetition."""
    blocking: Literal["luma", "channels", "summed"]
    """Definition of PSNR-B for colours, see `mriqf.metrics.jpeg.psnr_b`."""
    ssim_colour: Measure
    ssim_grey: Measure

    def reference(self, pixels: UInt8[Tensor, "b _ h w"], colour: bool) -> Float[Tensor, "b ch h w"]:
        """Image to compress, in [0, 1]: the photograph, or its luma of limited range, rounded to 8 bit.

        Grey photographs are their own luma.

        Raises
        ------
        ValueError
            If they are to be compressed in colour.
        """
        if pixels.shape[1] == 1 and colour:
            raise ValueError("the photograph is grey: measure luma")
        return (pixels if colour or pixels.shape[1] == 1 else limited_luma(pixels)).float() / 255

    def decoded(self, images: Float[Tensor, "b ch h w"], quality: int) -> Float[Tensor, "b ch h w"]:
        """The images after JPEG, as the protocol's decoder returns them, in [0, 1] and 8 bit."""
        if images.shape[1] == 1 or self.upsampling == "fancy":
            return compress(images, quality)
        with torch.no_grad():
            return compress_differentiable(images, quality, upsampling=self.upsampling)

    def compare(self, image: Float[Tensor, "b ch h w"], target: Float[Tensor, "b ch h w"]) -> dict[str, Tensor]:
        """Columns ``psnr`` and ``psnr_b`` in decibels and ``ssim``, of each image, after rounding to 8 bit."""
        image = (image.clamp(0, 1) * 255).round() / 255
        ssim = self.ssim_grey if target.shape[1] == 1 else self.ssim_colour
        return {
            "psnr": psnr(image, target),
            "ssim": ssim(image, target),
            "psnr_b": psnr_b(image, target, self.blocking),
        }


FBCNN = Protocol("fbcnn", "fancy", "luma", ssim_gaussian, ssim_gaussian)
"""Colour rows of FBCNN and QAIRN; grey rows of FBCNN, SwinIR and ART."""
QGAC = Protocol("qgac", "nearest", "channels", ssim_uniform, ssim_uniform)
"""Colour and grey rows of QGAC."""
QGCN = Protocol("qgcn", "nearest", "summed", functools.partial(ssim_uniform, side=7, unbiased=True), ssim_uniform)
"""Colour and grey rows of QGCN, which print two kinds of SSIM."""
PROTOCOLS = {protocol.name: protocol for protocol in (FBCNN, QGAC, QGCN)}


@dataclass(frozen=True)
class Measured:
    """Figures of an image at one quality, decoded or restored."""

    image: str
    quality: int
    method: str
    """Name of the restorer, or "jpeg"."""
    psnr: float
    """Decibels."""
    ssim: float
    psnr_b: float
    """Decibels."""
    seconds: float = math.nan
    """Seconds of the method; NaN for JPEG."""


def measure(
    protocol: Protocol,
    images: Iterable[tuple[str, UInt8[Tensor, "_ _ _"]]],
    qualities: Sequence[int],
    restorers: Mapping[str, Restorer],
    colour: bool = True,
) -> Iterator[Measured]:
    """Figures of each image at each quality: of JPEG itself first, then of each restorer, one at a time.

    Parameters
    ----------
    protocol
        Compression and comparison.
    images
        Names and pixels (3 or 1, h, w) of photographs that were never compressed, each of any size.
    qualities
        Quality factors, 1–100.
    restorers
        Methods by name; none measures JPEG alone.
    colour
        Compress colours; luma if not.

    Raises
    ------
    ValueError
        If a restorer has the name "jpeg", or returns images of another size.
    """
    if JPEG in restorers:
        raise ValueError(f"a restorer is called {JPEG!r}, as the rows without any are: give it another name")
    for name, pixels in images:
        target = protocol.reference(pixels[None], colour)
        for quality in qualities:
            decoded = protocol.decoded(target, quality)
            steps = tables(quality, target.shape[1])[None]
            for method, restore in {JPEG: _as_it_is, **restorers}.items():
                began = time.perf_counter()
                with torch.inference_mode():
                    restored = restore(decoded, steps)
                seconds = math.nan if method == JPEG else time.perf_counter() - began
                if restored.shape != target.shape:
                    raise ValueError(
                        f"{method} returned {tuple(restored.shape)} for images of {tuple(target.shape)}: a restorer "
                        "keeps the size"
                    )
                figures = protocol.compare(restored, target)
                yield Measured(name, quality, method, **{k: v.item() for k, v in figures.items()}, seconds=seconds)


def _as_it_is(images: Tensor, _: Tensor) -> Tensor:
    return images
