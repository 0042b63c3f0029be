"""Full-reference measures of reconstructions, against a target; within the object where one is given."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn.functional import avg_pool2d

Region = Bool[Tensor, "#b 1 h w"] | None


def psnr(
    image: Float[Tensor, "b 1 h w"], target: Float[Tensor, "b 1 h w"], region: Region = None
) -> Float[Tensor, " b"]:
    """Peak signal-to-noise ratio in decibels, of each image; the peak is the target's largest value in the region.

    Parameters
    ----------
    image, target
        Magnitudes, any unit, the same for both.
    region
        Pixels to compare; all if not given.
    """
    peak = torch.where(_region(region, target), target, 0).amax((1, 2, 3))
    return 10 * torch.log10(peak.square() / _mean((image - target).square(), region))


def nmse(
    image: Float[Tensor, "b 1 h w"], target: Float[Tensor, "b 1 h w"], region: Region = None
) -> Float[Tensor, " b"]:
    """Mean squared error over the target's mean square, of each image, as fastMRI has it; 0 is perfect."""
    return _mean((image - target).square(), region) / _mean(target.square(), region)


def nrmse(
    image: Float[Tensor, "b 1 h w"], target: Float[Tensor, "b 1 h w"], region: Region = None
) -> Float[Tensor, " b"]:
    """Root of the mean squared error over that of the target's mean square, of each image; 0 is perfect."""
    return (_mean((image - target).square(), region) / _mean(target.square(), region)).sqrt()


def ssim(
    image: Float[Tensor, "b 1 h w"], target: Float[Tensor, "b 1 h w"], region: Region = None
) -> Float[Tensor, " b"]:
    """Structural similarity in uniform windows of 7×7, averaged over those centred in the region.

    The data range is the target's largest value in the region, as fastMRI has it; windows lie inside the image.

    References
    ----------
    Wang et al., Image quality assessment: from error visibility to structural similarity, IEEE Trans Image Process
    2004, doi:10.1109/TIP.2003.819861.
    """
    inside = _region(region, target)
    peak = torch.where(inside, target, 0).amax((1, 2, 3), keepdim=True)
    # In double precision: the variances are differences of nearly equal numbers.
    a, b = (image / peak).double(), (target / peak).double()
    mean_a, mean_b = _window(a), _window(b)
    unbiased = 49 / 48
    var_a = unbiased * (_window(a * a) - mean_a**2)
    var_b = unbiased * (_window(b * b) - mean_b**2)
    covariance = unbiased * (_window(a * b) - mean_a * mean_b)
    c1, c2 = 0.01**2, 0.03**2
    values = ((2 * mean_a * mean_b + c1) * (2 * covariance + c2)) / (
        (mean_a**2 + mean_b**2 + c1) * (var_a + var_b + c2)
    )
    return _mean(values, inside[..., 3:-3, 3:-3]).to(target.dtype)


def match_scale(
    image: Float[Tensor, "b 1 h w"], target: Float[Tensor, "b 1 h w"], region: Region = None
) -> Float[Tensor, "b 1 h w"]:
    """Return each image times the factor that brings it nearest to the target, by least squares."""
    return image * (_mean(image * target, region) / _mean(image.square(), region))[:, None, None, None]


def _region(region: Region, like: Tensor) -> Tensor:
    return torch.ones_like(like, dtype=torch.bool) if region is None else region.expand_as(like)


def _mean(x: Tensor, region: Region) -> Tensor:
    inside = _region(region, x)
    return torch.where(inside, x, 0).sum((1, 2, 3)) / inside.sum((1, 2, 3))


def _window(x: Tensor) -> Tensor:
    return avg_pool2d(x, 7, stride=1)
