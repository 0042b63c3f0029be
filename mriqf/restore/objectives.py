"""Objectives without ground truth: distributions of colours, and Stein's unbiased risk estimate.

References
----------
Barrack, A deep learning approach to JPEG colour restoration without ground truth, poster, University of Toronto.
Stein, Estimation of the mean of a multivariate normal distribution, Ann Stat 1981, doi:10.1214/aos/1176345632.
Ramani, Blu, Unser, Monte-Carlo SURE, IEEE Trans Image Process 2008, doi:10.1109/TIP.2008.2001404.
Lam, Goodman, A mathematical analysis of the DCT coefficient distributions for images, IEEE Trans Image Process 2000,
doi:10.1109/83.869177 (they are Laplacian).
"""

from collections.abc import Callable
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float, Float64
from torch import Tensor
from torch.nn import functional

from mriqf.jpeg import BLOCK, block_dct, block_idct
from mriqf.jpeg.colour import halved, rgb, ycbcr

Images = Float[Tensor, "b ch h w"]
Function = Callable[[Tensor], Tensor]


def colour_kl(
    given: Images,
    restored: Images,
    reading: Literal["moments", "histogram"] = "moments",
    bins: int = 64,
) -> Float[Tensor, " b"]:
    """Σ_C KL(P_C ‖ Q_C) in nats: divergence of each channel's distribution from a Gaussian fitted to the given image.

    The poster calls Q "the distribution in the reconstructed image". To variances is added that of rounding to 8 bits,
    so that flat channels have one.

    Parameters
    ----------
    given, restored
        In [0, 1]; the gradient is meant for `restored`.
    reading
        "moments": Q is Gaussian as well, so that only means and variances count. "histogram": Q is a histogram in which
        each level is shared between the two nearest bins, and P what the Gaussian has in each bin, its tails in the
        outermost; a thousandth of Q is spread evenly, since it may have empty bins.
    bins
        Number of bins of the histogram.

    Raises
    ------
    ValueError
        If the reading is unknown.
    """
    p_mean, p_variance = _moments(given)
    if reading == "moments":
        q_mean, q_variance = _moments(restored)
        ratio = p_variance / q_variance
        return 0.5 * (ratio - 1 - ratio.log() + (p_mean - q_mean).square() / q_variance).sum(1)
    if reading != "histogram":
        raise ValueError(f"reading is {reading!r}: it is moments or histogram")
    inner = torch.arange(1, bins, device=given.device, dtype=given.dtype) / bins
    below = torch.special.ndtr((inner - p_mean[..., None]) / p_variance.sqrt()[..., None])
    p = functional.pad(functional.pad(below, (1, 0)), (0, 1), value=1.0).diff(dim=2)
    q = 0.999 * _histogram(restored, bins) + 0.001 / bins
    return (torch.xlogy(p, p) - p * q.log()).sum((1, 2))


def divergence(
    function: Function, given: Images, probe: Images, epsilon: int | float, value: Images | None = None
) -> Float[Tensor, ""]:
    """Sum over pixels of ∂f/∂y, from one finite difference along a probe; unbiased for linear functions.

    Parameters
    ----------
    function
        Images to images of the same size.
    given
        Point y of the evaluation.
    probe
        A draw of mean 0 and covariance 1. With another covariance C, the result is tr(C J), J the Jacobian.
    epsilon
        Length of the step, in probes: small beside what the function resolves, large beside rounding.
    value
        f(y), if it is known already.
    """
    value = function(given) if value is None else value
    return (probe * (function(given + epsilon * probe) - value)).sum() / epsilon


def sure(
    function: Function, given: Images, noise: Images, epsilon: int | float = 0.01, value: Images | None = None
) -> Float[Tensor, ""]:
    """Stein's unbiased estimate of the mean squared error of f(y) against the target, where y is target plus noise.

    The noise is Gaussian. The estimate can be negative.

    Parameters
    ----------
    function
        Images to images of the same size; it shall be differentiable nearly everywhere.
    given
        Noisy images y.
    noise
        Independent draw from the distribution of the noise in y, of any covariance; σ · `probe` for white noise.
    epsilon
        Length of the finite difference, in noises.
    value
        f(y), if it is known already.
    """
    value = function(given) if value is None else value
    gain = divergence(function, given, noise, epsilon, value) / given.numel()
    return functional.mse_loss(value, given) - noise.square().mean() + 2 * gain


def quantisation_variance(
    given: Float[Tensor, "1 ch h w"], tables: Float[Tensor, "1 t 8 8"]
) -> Float64[Tensor, "ch 8 8"]:
    """Expected squared error of the DCT coefficients of a decoded JPEG: of luma and, in colour, of both chromas.

    An error that is uniform over the step q has q²/12. Most coefficients are zero, and their error is what they were:
    a Laplacian one whose magnitude is above q/2 with probability p loses (q²/2a²)(1 − a/sinh a), a = −ln p, that is,
    q²/12 for p = 1 and its whole variance for p = 0. p is the share of blocks that are not zero there; where none is,
    magnitudes are taken to fall with the frequency, as 1/f or faster. Grain finer than that is lost unseen.

    Parameters
    ----------
    given
        In [0, 1], its blocks starting at the first pixel; colour is taken for 4:2:0.
    tables
        Quantisation steps, 1–255, in natural order: of luma, and for colour of chroma.

    Returns
    -------
    Variances in squared grey levels, natural order. Their mean is that of a pixel of the component: the DCT is
    orthonormal.
    """
    steps = tables[0].double().to(given.device)
    axis = torch.arange(BLOCK, device=given.device).double()
    frequency = torch.hypot(axis[:, None], axis).clamp_min(1)
    variances = []
    for k, component in enumerate(_components(given)):
        step = steps[min(k, 1)]
        coefficients = block_dct(component)[0, 0].flatten(0, 1)
        coded = (coefficients.abs() > step / 2).double()
        share = (coded.sum(0) + 0.5) / (len(coded) + 1)
        scale = step / (-2 * share.log())  # scale parameter of the Laplacian
        scale[0, 0] = torch.inf  # the DC coefficient has no peak at 0: its error is uniform
        falling = (frequency * scale).cummin(0).values.cummin(1).values / frequency
        scale = torch.where(coded.any(0), scale, falling)
        a = step / (2 * scale)
        variances.append(torch.where(a > 0, 2 * scale.square() * (1 - a / a.sinh()), step.square() / 12))
    return torch.stack(variances)


def draw_quantisation_noise(
    variance: Float64[Tensor, "ch 8 8"], like: Float[Tensor, "1 ch h w"], rng: np.random.Generator
) -> Float[Tensor, "1 ch h w"]:
    """Draw Gaussian noise of given variances of DCT coefficients, in [0, 1] units: model of JPEG's error in `sure`.

    It is an approximation, and rough at low quality: a JPEG's error is a function of the image, neither Gaussian nor
    independent of it, and the error of a coefficient that was set to zero is its negative, so that there is no noise
    to remove. The loss by 4:2:0 subsampling of chroma is not included.
    """
    h, w = like.shape[2:]
    parts = []
    for k, spread in enumerate(variance.sqrt()):
        unit = BLOCK if k == 0 else 2 * BLOCK  # of pixels
        normal = torch.from_numpy(rng.standard_normal((-(-h // unit), -(-w // unit), BLOCK, BLOCK), dtype=np.float32))
        part = block_idct(normal.to(like) * spread.to(like))[None, None] / 255
        if k:
            part = functional.interpolate(part, scale_factor=2, mode="bilinear", align_corners=False)
        parts.append(part[..., :h, :w])
    if len(parts) == 1:
        return parts[0]
    return rgb(torch.cat((parts[0], parts[1] + 0.5, parts[2] + 0.5), 1))


def _components(given: Float[Tensor, "1 ch h w"]) -> list[Float64[Tensor, "1 1 i j"]]:
    """Luma, and chroma at half resolution, in grey levels about 0, padded to whole blocks."""
    planes = [given.double()]
    if given.shape[1] == 3:
        luma, chroma = ycbcr(given.double()).split((1, 2), 1)
        planes = [luma, *(halved(255 * chroma) / 255).split(1, 1)]
    filled = (functional.pad(x, (0, -x.shape[3] % BLOCK, 0, -x.shape[2] % BLOCK), mode="replicate") for x in planes)
    return [255 * x - 128 for x in filled]


def _moments(image: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and variance of each channel."""
    variance, mean = torch.var_mean(image, (2, 3), correction=0)
    return mean, variance + 1 / (12 * 255**2)


def _histogram(image: Tensor, bins: int) -> Tensor:
    """Histogram (b, ch, bins), normalised to 1; each level is divided between the two nearest bins."""
    place = (image.flatten(2) * bins - 0.5).clamp(0, bins - 1)
    lower = place.detach().floor().clamp_max(bins - 2)
    upper_share = place - lower
    counts = image.new_zeros((*image.shape[:2], bins))
    counts = counts.scatter_add(2, lower.long(), 1 - upper_share).scatter_add(2, lower.long() + 1, upper_share)
    return counts / place.shape[2]
