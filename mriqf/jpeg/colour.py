"""Colours as JPEG and the restoration papers' tables have them: BT.601 luma and chroma, chroma at half resolution.

References
----------
ITU-T T.871 (2011), the JPEG file interchange format (JFIF), clause 7; ITU-R BT.601-7 (2011); Independent JPEG Group,
libjpeg: `jcsample.c` and `jdsample.c` (4:2:0).
"""

from typing import Literal

import torch
from jaxtyping import Float, UInt8
from torch import Tensor
from torch.nn.functional import avg_pool2d, interpolate, pad

# Luma weights of red, green and blue; chroma is (blue − luma) / 1.772 and (red − luma) / 1.402.
_RED, _GREEN, _BLUE = 0.299, 0.587, 0.114
_CB, _CR = 2 * (1 - _BLUE), 2 * (1 - _RED)


def ycbcr(rgb: Float[Tensor, "*b 3 h w"]) -> Float[Tensor, "*b 3 h w"]:
    """Luma and chroma of full range: Y, Cb, Cr in [0, 1] for RGB in [0, 1], chroma of grey 0.5; differentiable.

    JPEG's 8-bit chroma of grey is 128, not 127.5: its level is ``255 * chroma + 0.5``.
    """
    red, green, blue = rgb.unbind(-3)
    y = _RED * red + _GREEN * green + _BLUE * blue
    return torch.stack((y, (blue - y) / _CB + 0.5, (red - y) / _CR + 0.5), -3)


def rgb(ycbcr: Float[Tensor, "*b 3 h w"]) -> Float[Tensor, "*b 3 h w"]:
    """Inverse of `ycbcr`; not clipped, since not every Y, Cb, Cr in [0, 1] is a colour in [0, 1]."""
    y, cb, cr = ycbcr.unbind(-3)
    red, blue = y + _CR * (cr - 0.5), y + _CB * (cb - 0.5)
    return torch.stack((red, (y - _RED * red - _BLUE * blue) / _GREEN, blue), -3)


def limited_luma(rgb8: UInt8[Tensor, "*b 3 h w"]) -> UInt8[Tensor, "*b 1 h w"]:
    """Luma of limited range, 16 (black) to 235 (white), rounded to 8 bit: what MATLAB's rgb2ycbcr gives.

    The grey images of the restoration papers' tables are made with it; with full-range luma, PSNR is 0.75 dB lower.
    """
    red, green, blue = rgb8.int().unsqueeze(-4).unbind(-3)
    # Whole numbers, so that every rounding comes out alike everywhere: 219 / 255 times the weights, in thousandths.
    luma = (65481 * red + 128553 * green + 24966 * blue + 127500) // 255000 + 16
    return luma.to(torch.uint8)


def to_8bit(images: Float[Tensor, "*b ch h w"]) -> Float[Tensor, "*b ch h w"]:
    """Clip to [0, 1] and round to multiples of 1/255, as in an 8-bit file."""
    return (255 * images.clamp(0, 1)).round() / 255


def coded_levels(
    images: Float[Tensor, "b ch h w"],
) -> tuple[Float[Tensor, "b ch h w"], list[Float[Tensor, "b h2 w2"]]]:
    """Grey levels of luma about 128, and for colour of Cb and Cr about their middle, at half size as in 4:2:0.

    Nothing is rounded. Grey, or RGB whose sides are even, in [0, 1].
    """
    if images.shape[1] == 1:
        levels = images * 255 - 128
        return levels, [levels[:, 0]]
    levels = ycbcr(images) * 255 - images.new_tensor((128.0, 127.5, 127.5))[:, None, None]
    half = avg_pool2d(levels[:, 1:], 2)
    return levels, [levels[:, 0], half[:, 0], half[:, 1]]


def halved(chroma: Float[Tensor, "b ch h w"]) -> Float[Tensor, "b ch i j"]:
    """Means of 2×2 levels, shifted by 1/8 so that rounding decides halves down and up in turn, as libjpeg does.

    To the right the last column is repeated before, to a multiple of 16: chroma of whole blocks. An odd last row is
    repeated once.
    """
    height, width = chroma.shape[-2:]
    mean = avg_pool2d(pad(chroma, (0, -width % 16, 0, height % 2), mode="replicate"), 2)
    return mean + _alternating(mean) / 8


def doubled(half: Float[Tensor, "b ch i j"], upsampling: Literal["fancy", "nearest"]) -> Float[Tensor, "b ch h w"]:
    """Twice the resolution: by libjpeg's triangular filter ("fancy", rounded as it does), or each level repeated.

    libjpeg has no filter for two columns or less, which it repeats.
    """
    if upsampling == "nearest" or half.shape[-1] <= 2:
        return half.repeat_interleave(2, -2).repeat_interleave(2, -1)
    full = interpolate(half, scale_factor=2, mode="bilinear", align_corners=False)
    return full - _alternating(full) / 32


def _alternating(like: Tensor) -> Tensor:
    """Alternating −1, +1, −1 … along columns."""
    return (2 * (torch.arange(like.shape[-1], device=like.device) % 2) - 1).to(like.dtype)
