"""Statistics of a whole magnitude image: its k-space, and classical measures without a reference."""

import math

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import avg_pool1d, pad

BANDS = 8
"""Frequency bands, from none to the highest along either axis."""
PROFILE = ((0.03, 0.15), (0.15, 0.5), (0.5, 1.0))
"""Parts of an axis of k-space on which neighbouring lines are compared."""
LAGS = (2, 3, 4, 5, 6, 8)
"""Lines of k-space between two whose power may go together: undersampled ones repeat."""
PERCENTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
N_STATISTICS = 2 * BANDS + 2 * (2 * len(PROFILE) + len(LAGS) + 1) + 3 + len(PERCENTILES)


def statistics(images: Float[Tensor, "b 1 h w"]) -> Float[Tensor, "b n"]:
    """Statistics of images in [0, 1], hardly any of which changes with mirrors.

    Mean and spread of the logarithm of power over bands of k-space; differences of neighbouring lines, their
    correlation over several lines, and asymmetry, along both axes; entropy focus criterion, gradient entropy and
    concentration; percentiles of intensity.

    References
    ----------
    Atkinson et al., Automatic correction of motion artifacts in magnetic resonance images using an entropy focus
    criterion, IEEE TMI 1997, doi:10.1109/42.650886.
    """
    log_power = (_power(images[:, 0]) + 1e-8).log()
    values = _bands(log_power)
    for lines in (log_power.mean(2), log_power.mean(1)):
        values += _profile(lines)
    values += _sharpness(images)
    few = images.flatten(1)[:, ::7].sort(1).values
    last = few.shape[1] - 1
    values += [(few[:, (last * round(100 * share)) // 100] + 0.01).log() for share in PERCENTILES]
    return torch.stack(values, 1)


def _power(images: Float[Tensor, "b h w"]) -> Float[Tensor, "b h w"]:
    """Power of k-space, centred, orthonormal."""
    if not torch.onnx.is_in_onnx_export():
        k = torch.fft.fftshift(torch.fft.fft2(images, norm="ortho"), dim=(1, 2))
        return k.real.square() + k.imag.square()
    rows, columns = (
        _fourier(images[0, :, :1]),
        _fourier(images[0, :1].transpose(0, 1)),
    )  # no FFT in that format's older versions
    real, imag = (images @ part.transpose(0, 1) for part in columns)
    return (rows[0] @ real - rows[1] @ imag).square() + (rows[0] @ imag + rows[1] @ real).square()


def _fourier(line: Float[Tensor, "n 1"]) -> tuple[Float[Tensor, "n n"], Float[Tensor, "n n"]]:
    """Real and imaginary part of the centred, orthonormal Fourier transform along a line."""
    x = torch.ones_like(line[:, 0]).cumsum(0) - 1
    n = line.shape[0]  # `len` would fix it in an exported network
    k = x - n // 2
    angle = -2 * math.pi * ((k[:, None] * x) % n) / n
    return angle.cos() / n**0.5, angle.sin() / n**0.5


def _distance(line: Float[Tensor, "b n"]) -> Float[Tensor, " n"]:
    """Distance of the lines of k-space from its centre; 1 is the highest frequency."""
    n = line.shape[1]
    return (torch.ones_like(line[0]).cumsum(0) - 1 - n // 2).abs() / (n / 2)


def _bands(log_power: Float[Tensor, "b h w"]) -> list[Float[Tensor, " b"]]:
    k = torch.maximum(_distance(log_power[:, :, 0])[:, None], _distance(log_power[:, 0]))
    values = []
    for band in range(BANDS):
        high = (band + 1) / BANDS if band + 1 < BANDS else math.inf
        inside = (k > 0) & (k >= band / BANDS) & (k < high)
        share = inside.float()
        n = share.sum().clamp_min(1)
        mean = (log_power * share).sum((1, 2)) / n
        variance = ((log_power - mean[:, None, None]).square() * share).sum((1, 2)) / n
        values += [mean, (variance + 1e-8).sqrt()]
    return values


def _profile(lines: Float[Tensor, "b n"]) -> list[Float[Tensor, " b"]]:
    """Differences of neighbouring lines of k-space, from the mean logarithm of power of each, centred."""
    k = _distance(lines)
    first = (lines[:, 1:] - lines[:, :-1]).abs()
    second = (lines[:, 2:] - 2 * lines[:, 1:-1] + lines[:, :-2]).abs()
    values = []
    for low, high in PROFILE:
        inside = ((k >= low) & (k < high)).float()
        values.append((first * inside[1:]).sum(1) / inside[1:].sum().clamp_min(1))
        values.append((second * inside[1:-1]).sum(1) / inside[1:-1].sum().clamp_min(1))
    rough = lines - avg_pool1d(pad(lines[:, None], (4, 4), mode="replicate"), 9, 1)[:, 0]
    energy = rough.square().mean(1) + 1e-4
    values += [(rough[:, lag:] * rough[:, :-lag]).mean(1) / energy for lag in LAGS]
    centre, quarter = lines.shape[1] // 2, lines.shape[1] // 4
    right, left = lines[:, centre + 2 : centre + quarter], lines[:, centre - quarter + 1 : centre - 1].flip(1)
    return [*values, (right - left).abs().mean(1)]


def _sharpness(images: Float[Tensor, "b 1 h w"]) -> list[Float[Tensor, " b"]]:
    flat = images.flatten(1)
    share = flat / (flat.square().sum(1, keepdim=True) + 1e-18).sqrt()
    root = flat.shape[1] ** 0.5
    focus = -(share * (share + 1e-16).log()).sum(1) / (root * _log(root, flat))
    dy = images[..., 2:, 1:-1] - images[..., :-2, 1:-1]
    dx = images[..., 1:-1, 2:] - images[..., 1:-1, :-2]
    gradient = (dy.square() + dx.square() + 1e-12).sqrt().flatten(1)
    share = gradient / gradient.sum(1, keepdim=True)
    n = gradient.shape[1]
    entropy = -(share * (share + 1e-16).log()).sum(1) / _log(n, flat)
    return [focus, entropy, (n * share.square().sum(1)).log()]


def _log(n: int | float, like: Tensor) -> Tensor:
    return (like.new_ones(()) * n).log()  # of a size that stays open in an exported network
