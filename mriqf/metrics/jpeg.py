"""Full-reference measures of 8-bit pictures as papers on JPEG print them; those of MR magnitudes are in `metrics`.

All take images in [0, 1] (the peak is 1), compute in double precision, and return one value an image.

References
----------
Wang et al., Image quality assessment: from error visibility to structural similarity, IEEE Trans Image Process 2004,
doi:10.1109/TIP.2003.819861.
Yim, Bovik, Quality assessment of deblocked images, IEEE Trans Image Process 2011, doi:10.1109/TIP.2010.2092440.
"""

import math
from collections.abc import Callable
from typing import Literal

import torch
from jaxtyping import Float, Float64
from torch import Tensor
from torch.nn.functional import avg_pool2d, conv2d

from mriqf.jpeg import BLOCK
from mriqf.jpeg.colour import ycbcr

Images = Float[Tensor, "b ch h w"]

SATURATED = 0.1
"""Saturation of the target above which hue is compared."""
NO_HUE = 90.0
"""Degrees: shift of a pixel that has lost its colour, as much as a hue at random would have on average."""


def psnr(image: Images, target: Images) -> Float64[Tensor, " b"]:
    """Peak signal-to-noise ratio in decibels, from the mean squared error of all channels together."""
    return _decibels(_squared_error(image, target).mean(1))


def ssim_gaussian(image: Images, target: Images) -> Float64[Tensor, " b"]:
    """Structural similarity in Gaussian windows of 11×11, standard deviation 1.5, averaged over windows and channels.

    As Wang et al. publish it: windows lie inside the image, variances are weighted, not unbiased. The literature on
    restoration after FBCNN (Jiang et al., 2021, arXiv:2109.14573) takes it of each channel.

    Raises
    ------
    ValueError
        If the images are smaller than a window.
    """
    _check_size(target, 11)
    offset = torch.arange(11, device=target.device).double() - 5
    kernel = torch.exp(-offset.square() / (2 * 1.5**2))
    kernel = kernel / kernel.sum()

    def window(x: Tensor) -> Tensor:
        flat = conv2d(x.flatten(0, 1)[:, None], kernel.view(1, 1, -1, 1))
        return conv2d(flat, kernel.view(1, 1, 1, -1)).view(*x.shape[:2], x.shape[2] - 10, x.shape[3] - 10)

    return _ssim(image, target, window)


def ssim_uniform(image: Images, target: Images, side: int = 8, unbiased: bool = False) -> Float64[Tensor, " b"]:
    """Structural similarity in uniform windows, averaged over windows and channels; windows lie inside the image.

    The defaults give the JPEG rows that QGAC prints (Ehrlich et al., ECCV 2020, arXiv:2004.09320), and the grey ones of
    QGCN (Li et al., 2020, doi:10.1109/TIP.2020.3020389); 7 and unbiased variances, QGCN's colour rows.

    Parameters
    ----------
    image, target
        In [0, 1].
    side
        Side of the windows, in pixels.
    unbiased
        Use the unbiased variance (divided by n - 1) of each window, as scikit-image does.

    Raises
    ------
    ValueError
        If the images are smaller than a window.
    """
    _check_size(target, side)
    weight = side**2 / (side**2 - 1) if unbiased else 1.0
    return _ssim(image, target, lambda x: avg_pool2d(x, side, stride=1), weight)


def psnr_b(
    image: Images, target: Images, blocking: Literal["luma", "channels", "summed"] = "luma"
) -> Float64[Tensor, " b"]:
    """Peak signal-to-noise ratio in decibels that also counts steps across the borders of JPEG's blocks.

    To the mean squared error is added how much more, in the mean square, neighbouring pixels of `image` differ across
    borders of 8×8 blocks than within blocks, times log₂ 8 / log₂ of the image's shorter side; nothing if they do not.
    The blocks start at the first pixel. Grey images have one definition (Yim and Bovik's), colours three.

    Parameters
    ----------
    image, target
        In [0, 1]; the blocking is that of `image`.
    blocking
        For colours. "luma": the blocking of BT.601 luma of limited range, as FBCNN's tables have it; "channels": a
        figure of each channel, averaged in decibels, as QGAC's; "summed": that of red, green and blue added up, QGCN's.

    Raises
    ------
    ValueError
        If the images have less than two blocks in a row or column, or `blocking` is no such definition.
    """
    _check_size(target, 2 * BLOCK)
    image = image.double()
    error = _squared_error(image, target)
    if image.shape[1] == 1:
        return _decibels((error + _blocking(image))[:, 0])
    match blocking:
        case "luma":
            luma = ycbcr(image)[:, :1] * (219 / 255)
            return _decibels(error.mean(1) + _blocking(luma)[:, 0])
        case "channels":
            return _decibels(error + _blocking(image)).mean(1)
        case "summed":
            return _decibels(error.mean(1) + _blocking(image).sum(1))
    raise ValueError(f"blocking is {blocking!r}: it is one of luma, channels, summed")


def hue_shift(images: Float[Tensor, "b 3 h w"], target: Float[Tensor, "1 3 h w"]) -> Float[Tensor, " b"]:
    """Mean angle between the hues of images and target in degrees, 0–180, where the target is saturated.

    Hue is the angle around the grey axis; a pixel without any is taken to be 90° away. NaN where nothing is saturated.
    """
    x, y = _opponents(images)
    a, b = _opponents(target)
    angle = torch.atan2(x * b - y * a, x * a + y * b).abs().rad2deg()
    angle = torch.where((x == 0) & (y == 0), NO_HUE, angle)
    saturation = 1 - target.amin(1) / target.amax(1).clamp_min(1e-6)
    inside = (saturation > SATURATED).expand_as(angle)
    return torch.where(inside, angle, 0).sum((1, 2)) / inside.sum((1, 2))


def _opponents(images: Float[Tensor, "b 3 h w"]) -> tuple[Float[Tensor, "b h w"], Float[Tensor, "b h w"]]:
    """The two coordinates of a colour around the grey axis, exactly 0 for grey."""
    red, green, blue = (255 * images).round().unbind(1)
    return 2 * red - green - blue, 3**0.5 * (green - blue)


def _blocking(image: Float64[Tensor, "b ch h w"]) -> Float64[Tensor, "b ch"]:
    """Blocking effect factor of each channel, after Yim and Bovik."""
    at_borders = everywhere = torch.zeros_like(image[:, :, 0, 0])
    n_borders = n = 0
    for axis in (2, 3):
        steps = image.diff(dim=axis).square().movedim(axis, 2).sum(3)
        at_borders = at_borders + steps[:, :, BLOCK - 1 :: BLOCK].sum(2)
        everywhere = everywhere + steps.sum(2)
        # One border too few where blocks do not fill the side; the papers' figures come out so and not otherwise.
        n_borders += image[0, 0].numel() // image.shape[axis] * (image.shape[axis] // BLOCK - 1)
        n += image[0, 0].numel() // image.shape[axis] * (image.shape[axis] - 1)
    excess = at_borders / n_borders - (everywhere - at_borders) / (n - n_borders)
    return excess.clamp_min(0) * math.log2(BLOCK) / math.log2(min(image.shape[-2:]))


def _ssim(
    image: Images, target: Images, window: Callable[[Tensor], Tensor], weight: float = 1.0
) -> Float64[Tensor, " b"]:
    a, b = image.double(), target.double()
    mean_a, mean_b = window(a), window(b)
    var_a, var_b = weight * (window(a * a) - mean_a**2), weight * (window(b * b) - mean_b**2)
    covariance = weight * (window(a * b) - mean_a * mean_b)
    c1, c2 = 0.01**2, 0.03**2
    values = ((2 * mean_a * mean_b + c1) * (2 * covariance + c2)) / (
        (mean_a**2 + mean_b**2 + c1) * (var_a + var_b + c2)
    )
    return values.mean((1, 2, 3))


def _squared_error(image: Images, target: Images) -> Float64[Tensor, "b ch"]:
    return (image.double() - target.double()).square().mean((2, 3))


def _decibels(error: Tensor) -> Tensor:
    return -10 * torch.log10(error)


def _check_size(target: Images, need: int) -> None:
    if min(target.shape[-2:]) < need:
        raise ValueError(f"images are {tuple(target.shape[-2:])}: this measure needs at least {need}×{need} pixels")
