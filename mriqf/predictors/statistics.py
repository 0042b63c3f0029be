"""Statistics of a whole magnitude image: its k-space, and classical measures without a reference."""

import math

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import avg_pool1d, pad

BANDS = 8
"""Of frequencies, from none to the highest along either axis."""
PROFILE = ((0.03, 0.15), (0.15, 0.5), (0.5, 1.0))
"""Parts of an axis of k-space on which neighbouring lines are compared."""
LAGS = (2, 3, 4, 5, 6, 8)
"""Lines of k-space between two whose power may go together: undersampled ones repeat."""
PERCENTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
N_STATISTICS = 2 * BANDS + 2 * (2 * len(PROFILE) + len(LAGS) + 1) + 3 + len(PERCENTILES)


def statistics(images: Float[Tensor, "b 1 h w"]) -> Float[Tensor, "b n"]:
    """Statistics of images in [0, 1], none of which changes with mirrors.

    Mean and spread of the logarithm of power over bands of k-space; differences of neighbouring lines, their
    correlation over several lines, and asymmetry, along both axes; entropy focus criterion, gradient entropy and
    concentration; percentiles of intensity.

    References
    ----------
    Atkinson et al., Automatic correction of motion artifacts in magnetic resonance images using an entropy focus
    criterion, IEEE TMI 1997, doi:10.1109/42.650886.
    """
    h, w = images.shape[2:]
    log_power = (torch.fft.fft2(images[:, 0]).abs().square() / (h * w) + 1e-8).log()
    values = _bands(log_power)
    for profile in (log_power.mean(2), log_power.mean(1)):
        values += _profile(torch.fft.fftshift(profile, dim=1))
    values += _sharpness(images)
    few = images.flatten(1)[:, ::7]
    values += list((torch.quantile(few, few.new_tensor(PERCENTILES), dim=1) + 0.01).log())
    return torch.stack(values, 1)


def _bands(log_power: Float[Tensor, "b h w"]) -> list[Float[Tensor, " b"]]:
    h, w = log_power.shape[1:]
    ky, kx = (2 * torch.fft.fftfreq(n, device=log_power.device).abs() for n in (h, w))
    k = torch.maximum(ky[:, None], kx)
    band = (k * BANDS).long().clamp_max(BANDS - 1)
    values = []
    for number in range(BANDS):
        inside = ((band == number) & (k > 0)).float()
        n = inside.sum().clamp_min(1)
        mean = (log_power * inside).sum((1, 2)) / n
        variance = ((log_power - mean[:, None, None]).square() * inside).sum((1, 2)) / n
        values += [mean, (variance + 1e-8).sqrt()]
    return values


def _profile(lines: Float[Tensor, "b n"]) -> list[Float[Tensor, " b"]]:
    """How unlike neighbouring lines of k-space are, from the mean logarithm of power of each, centred."""
    n = lines.shape[1]
    centre = n // 2
    k = (torch.arange(n, device=lines.device) - centre).abs() / (n / 2)
    first, second = lines.diff(dim=1).abs(), lines.diff(n=2, dim=1).abs()
    values = []
    for low, high in PROFILE:
        inside = ((k >= low) & (k < high)).float()
        values.append((first * inside[1:]).sum(1) / inside[1:].sum().clamp_min(1))
        values.append((second * inside[1:-1]).sum(1) / inside[1:-1].sum().clamp_min(1))
    rough = lines - avg_pool1d(pad(lines[:, None], (4, 4), mode="replicate"), 9, 1)[:, 0]
    energy = rough.square().mean(1) + 1e-4
    values += [(rough[:, lag:] * rough[:, :-lag]).mean(1) / energy for lag in LAGS]
    reach = n // 4
    right, left = lines[:, centre + 2 : centre + reach], lines[:, centre - reach + 1 : centre - 1].flip(1)
    return [*values, (right - left).abs().mean(1)]


def _sharpness(images: Float[Tensor, "b 1 h w"]) -> list[Float[Tensor, " b"]]:
    flat = images.flatten(1)
    share = flat / (flat.square().sum(1, keepdim=True) + 1e-18).sqrt()
    root = math.sqrt(flat.shape[1])
    focus = -(share * (share + 1e-16).log()).sum(1) / (root * math.log(root))
    dy = images[..., 2:, 1:-1] - images[..., :-2, 1:-1]
    dx = images[..., 1:-1, 2:] - images[..., 1:-1, :-2]
    gradient = (dy.square() + dx.square() + 1e-12).sqrt().flatten(1)
    share = gradient / gradient.sum(1, keepdim=True)
    entropy = -(share * (share + 1e-16).log()).sum(1) / math.log(gradient.shape[1])
    return [focus, entropy, (gradient.shape[1] * share.square().sum(1)).log()]
