"""Evidence of a reconstruction's error in its own measurement, for a predictor: a few numbers, and a few images.

No reference is needed, and everything means the same whatever method made the image. Nothing here is an estimate of the
error by itself: each finding is biased in its own way, which a predictor learns from simulations.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Complex, Float
from torch import Tensor
from torch.nn.functional import max_pool2d, pad

from recon.coils import white_noise
from recon.fourier import ifft2c
from recon.operator import Sense
from recon.scale import magnitude
from recon.validate import central, compare_held_out, deal, divergence_along, risk, robust_std

FINDINGS = (
    "spread", "held_out", "missing", "inconsistency", "sure", "noise", "noise_gain", "expected", "filled", "change",
    "mismatch", "acceleration", "centre", "coils", "side_lobe", "extent",
)  # fmt: skip
"""Names of the findings, which `gather` explains."""
CHANNELS = ("image", "spread", "noise", "held_out", "inconsistency")
"""Names of the local channels."""
BOUNDS = 1e-5, 1e3
"""Findings are between these: their logarithms are finite."""
KEEP_CENTER = 0.08
"""Part of each side about the zero frequency that is never held out."""
GROUPS = 10
"""Number of parts that the lines outside the centre are dealt into, if there are as many."""
OUTERMOST = 0.05
"""Share of the samples, those farthest from the zero frequency, that show the noise."""
LEAST_STEP = 1e-3
"""Least step of a probe, relative to the root mean square of the measured samples, above the rounding of methods."""
RINGS = 48
"""Distances from the zero frequency that energy is averaged over."""


@dataclass(frozen=True)
class Evidence:
    """A reconstruction, and the evidence of its own measurement. All numbers are finite."""

    image: Complex[Tensor, "b m h w"]
    findings: Float[Tensor, "b n"]
    """In the order of `FINDINGS`; positive, without a unit."""
    channels: Float[Tensor, "b k h w"]
    """In the order of `CHANNELS`; not negative, in the unit of the image."""
    folds: tuple[Complex[Tensor, "b m h w"], ...]
    """Images made without the samples of each fold: `recon.held_out_residual` takes them as `known`."""
    divergence: Float[Tensor, " b"]
    """Divergence of the predicted by the actual measurement, as `recon.validate.risk` takes it."""


@torch.no_grad()
def gather(
    method: Callable[[Tensor, Sense], Tensor],
    kspace: Complex[Tensor, "b c h w"],
    sense: Sense,
    image: Complex[Tensor, "b m h w"] | None = None,
    *,
    folds: int = 1,
    seed: int = 0,
) -> Evidence:
    """Reconstruct, and reconstruct again from fewer samples and from noisier ones.

    It costs one reconstruction, one more for each fold, and one with noise. The findings, relative to the norm of the
    image unless said otherwise:

    * ``spread``: difference of the images that lack a tenth of the lines outside the centre;
    * ``held_out``: residual in those lines, relative to them; ``missing``: its error carried over to all that was not
      sampled, without noise (`recon.held_out_residual`);
    * ``inconsistency``: residual in the samples measured, relative to them; ``sure``: Stein's estimate of the error in
      them (`recon.sure`);
    * ``noise``: of k-space, as the outermost samples show it; ``noise_gain``: noise of the image over that of k-space,
      1 for the adjoint of a fully sampled operator;
    * ``expected``: root of the energy that the samples not measured would have, as the mean over measured ones of the
      same distance from the zero frequency, without noise, relative to that of all; ``filled``: root of the energy
      that the image has there, relative to that;
    * ``change``: difference to the zero-filled image;
    * ``mismatch``: part of the centre of k-space that the maps cannot express, relative to that;
    * ``acceleration``, effective; ``centre``: share of the columns that are sampled about the zero frequency without a
      gap; ``coils``, their number; ``side_lobe``: the highest of the mask's point spread, relative to its peak;
    * ``extent``: share of the pixels that hold the image's energy.

    Where nothing can be held out or told from noise, ``spread`` and ``missing`` are as ``expected``, ``held_out`` is 1,
    and ``sure`` as ``inconsistency``. The scale of k-space changes nothing if the method is homogeneous, and samples of
    a batch do not influence each other.

    Parameters
    ----------
    method
        Reconstruction of k-space by an operator, into complex images; deterministic.
    kspace
        Measured k-space, any unit; values outside the mask are ignored.
    sense
        Operator with the mask and coil maps of the measurement.
    image
        Reconstruction of the measurement by the method, if there already: it saves one.
    folds
        Number of tenths of the lines that are held out in turn, 1 to 10.
    seed
        Seed of the dealing and of the noise: the same arguments give the same result.

    Raises
    ------
    ValueError
        If folds is out of range.
    """
    if not 1 <= folds <= GROUPS:
        raise ValueError(f"folds={folds} is out of range: use 1 to {GROUPS}")
    b, c, h, w = kspace.shape
    plane = sense.mask[:, :, :1] if sense.separable else sense.mask
    measured = sense.mask * kspace
    image = method(measured, sense) if image is None else image
    size = _norm(image)
    whole = Sense(torch.ones_like(sense.mask), sense.csm)(image)
    predicted, unmeasured = sense.mask * whole, ~sense.mask * whole
    n_samples = sense.mask.expand(b, 1, h, w).sum((1, 2, 3)).double() * c

    noise_std = outermost_noise(measured, sense.mask)
    step = torch.maximum(noise_std, LEAST_STEP * _norm(measured) / n_samples.sqrt()).clamp_min(1e-30)
    step = step.to(kspace.real.dtype)
    # The same noise for every sample, so that no sample's evidence depends on its batch.
    probe = sense.mask * white_noise((1, c, h, w), 1.0, seed, kspace.real.dtype).to(kspace.device)
    moved = method(measured + step[:, None, None, None] * probe, sense)
    divergence = divergence_along(probe, sense(moved) - predicted, step)
    gain = _norm(moved - image) / (step * math.sqrt(2 * h * w))

    held = held_out_folds(plane, folds, seed)
    others = [method(measured * ~part, Sense(plane & ~part, sense.csm)) for part in held]
    compared = compare_held_out(others, held, measured, sense, keep_center=KEEP_CENTER, noise_std=0.0)
    noiseless = compare_held_out(others, held, measured, sense, keep_center=KEEP_CENTER, noise_std=noise_std)
    spread = torch.stack([magnitude(other - image) for other in others]).square().mean(0).sqrt()
    left = sum(
        magnitude(_adjoint(part, sense, other, measured)).square() for part, other in zip(held, others, strict=True)
    )

    expected, gaps = expected_missing(measured, sense.mask, noise_std)
    known = torch.stack(held).flatten(2).any(2).any(0).expand(b)
    numbers = {
        "spread": torch.where(known, _ratio(_norm(spread), size), expected),
        "held_out": compared.residual.double().nan_to_num(1.0),
        "missing": torch.where(noiseless.missing.isnan(), expected, noiseless.missing.double()),
        "inconsistency": _ratio(_norm(predicted - measured), _norm(measured)),
        "noise": _ratio(noise_std.double() * math.sqrt(2 * h * w), size),
        "noise_gain": gain,
        "expected": expected,
        "filled": torch.where(gaps > 0, _ratio(_norm(unmeasured), gaps), 1.0),
        "change": _ratio(_norm(image - sense.adjoint(measured)), size),
        "mismatch": _mismatch(measured, sense),
        "acceleration": h * w * c / n_samples.clamp_min(1),
        "centre": _centre(plane).expand(b),
        "coils": torch.full_like(size, c),
        "side_lobe": side_lobe(plane).expand(b),
        "extent": _extent(image),
    }
    sure = risk(measured, predicted, sense, noise_std, divergence).nrmse.double()
    numbers["sure"] = torch.where(sure.isnan(), numbers["inconsistency"], sure)
    findings = torch.stack([numbers[name].double() for name in FINDINGS], 1)
    findings = findings.nan_to_num(BOUNDS[1], BOUNDS[1], BOUNDS[0]).clamp(*BOUNDS)
    noise = magnitude(moved - image) * (noise_std / step)[:, None, None, None]
    residual = magnitude(sense.adjoint(predicted - measured))
    channels = torch.cat((magnitude(image), spread, noise, torch.as_tensor(left).sqrt(), residual), 1)
    return Evidence(image, findings.float(), channels.nan_to_num(0.0, 0.0, 0.0), tuple(others), divergence)


def outermost_noise(kspace: Complex[Tensor, "b c h w"], mask: Bool[Tensor, "#b 1 #h w"]) -> Float[Tensor, " b"]:
    """Noise of k-space from the sampled points farthest from its centre, wherever those are; see `estimate_noise`.

    Always a number, too high where an image reaches as far as it was sampled, and 0 where all of them are zero.

    Parameters
    ----------
    kspace
        Measured k-space, any unit.
    mask
        True where it was sampled.
    """
    distance = _distance((kspace.shape[2], kspace.shape[3])).to(kspace.device)
    deviations = []
    for samples, plane in zip(kspace, mask.expand(len(kspace), 1, *kspace.shape[2:])[:, 0], strict=True):
        place = plane & (samples != 0).any(0)  # not padding
        if not place.any():
            deviations.append(samples.real.new_zeros(()))
            continue
        far = torch.quantile(distance[place].float()[:: 1 + int(place.sum()) // 2**20], 1 - OUTERMOST)
        numbers = torch.view_as_real(samples[:, place & (distance >= far)])
        deviations.append(robust_std(numbers))
    return torch.stack(deviations)


def expected_missing(
    kspace: Complex[Tensor, "b c h w"], mask: Bool[Tensor, "#b 1 #h w"], noise_std: Float[Tensor, " b"]
) -> tuple[Float[Tensor, " b"], Float[Tensor, " b"]]:
    """Root of the energy that the samples not measured would have, relative to that of all; and in the unit of k-space.

    Each is expected to have the mean energy of measured samples at its distance from the zero frequency, without the
    noise. Between distances at which something was measured, and beyond them, energy follows a power law.

    Parameters
    ----------
    kspace
        Measured k-space, any unit, zero outside the mask.
    mask
        True where it was sampled.
    noise_std
        Standard deviation of the real, and of the imaginary, part of its noise.
    """
    b, c, h, w = kspace.shape
    ring = (_distance((h, w)) / math.sqrt(2) * RINGS).long().clamp_max(RINGS - 1).flatten()
    energy = kspace.abs().double().square().sum(1).flatten(1).cpu()
    planes = mask.expand(b, 1, h, w).flatten(1).cpu()
    noise = 2 * c * noise_std.double().square().cpu()
    missing, total = [], []
    for power, plane, floor in zip(energy, planes, noise, strict=True):
        measured = torch.bincount(ring[plane], minlength=RINGS)
        absent = torch.bincount(ring[~plane], minlength=RINGS)
        mean = torch.bincount(ring[plane], power[plane], minlength=RINGS) / measured.clamp_min(1) - floor
        mean = torch.from_numpy(_continued(mean.clamp_min(0).numpy(), measured.numpy() > 0))
        missing.append((mean * absent).sum())
        total.append((mean * (measured + absent)).sum())
    energies = torch.stack(missing).to(kspace.device), torch.stack(total).to(kspace.device)
    return _ratio(energies[0], energies[1]).sqrt(), energies[0].sqrt()


def side_lobe(mask: Bool[Tensor, "b 1 #h w"]) -> Float[Tensor, " b"]:
    """Highest local maximum of a mask's point spread beside its peak, relative to that: a measure of aliasing.

    Parameters
    ----------
    mask
        True where k-space is sampled; of one row for a mask of columns.
    """
    spread = torch.fft.fft2(mask.double()).abs()
    around = tuple(1 if n > 2 else 0 for n in (spread.shape[3], spread.shape[3], spread.shape[2], spread.shape[2]))
    sides = (1 + 2 * around[2], 1 + 2 * around[0])
    highest = max_pool2d(pad(spread, around, mode="circular"), sides, stride=1)
    peaks = torch.where(spread >= highest, spread, 0)
    peak = peaks[..., 0, 0].clone()
    peaks[..., 0, 0] = 0
    return _ratio(peaks.amax((1, 2, 3)), peak[:, 0])


def held_out_folds(plane: Bool[Tensor, "b 1 #h w"], folds: int, seed: int) -> list[Bool[Tensor, "b 1 #h w"]]:
    """Samples of each fold; of a mask with few lines outside its centre in fewer groups, of one with one line none."""
    outside = plane & ~central(plane.shape[2:], KEEP_CENTER).to(plane.device)
    held = plane.new_zeros((folds, *plane.shape))
    for k, part in enumerate(outside):
        n_groups = min(GROUPS, int(part.sum()))
        if n_groups > 1:
            for fold, chosen in zip(held, deal(part[None], n_groups, seed), strict=False):
                fold[k] = chosen[0]
    return list(held)


def _adjoint(held: Tensor, sense: Sense, image: Tensor, kspace: Tensor) -> Tensor:
    """Residual of an image in some samples, brought to the image."""
    part = Sense(held, sense.csm)
    return part.adjoint(part(image) - held * kspace)


def _distance(shape: tuple[int, int]) -> Float[Tensor, "h w"]:
    """Distance of samples from the zero frequency: 1 in the middle of each side."""
    y, x = (2 * (torch.arange(n, dtype=torch.float64) - n // 2) / n for n in shape)
    return torch.hypot(y[:, None], x)


def _continued(mean: Float[np.ndarray, " n"], known: Bool[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
    """Interpolate and extrapolate a profile by distance, known in part, by power laws."""
    at = np.flatnonzero(known & (mean > 0))
    if at.size < 2:
        return np.where(known, mean, mean[at].mean() if at.size else 0.0)
    place, logs = np.log(np.arange(len(mean)) + 0.5), np.log(mean[at])
    profile = np.interp(place, place[at], logs)
    outer = at >= at[-1] // 2
    if outer.sum() > 1:
        beyond = np.arange(len(mean)) > at[-1]
        slope = min(np.polyfit(place[at][outer], logs[outer], 1)[0], 0.0)
        profile[beyond] = logs[-1] + slope * (place[beyond] - place[at[-1]])
    return np.where(known, mean, np.exp(profile))


def _mismatch(kspace: Tensor, sense: Sense) -> Tensor:
    """Part of coil images that maps cannot express, at a low resolution, which aliasing leaves alone."""
    inside = central((kspace.shape[2], kspace.shape[3]), KEEP_CENTER).to(kspace.device)
    seen = ifft2c(inside * kspace)
    csm = sense.csm if sense.csm.ndim == 5 else sense.csm[:, None]
    combined = (csm.conj() * seen[:, None]).sum(2, keepdim=True)
    known = (sense.csm != 0).any(1, keepdim=True) if sense.csm.ndim == 4 else (csm != 0).any((1, 2))[:, None]
    return _ratio(_norm(known * (seen - (csm * combined).sum(1))), _norm(seen))


def _centre(plane: Tensor) -> Tensor:
    """Columns sampled about the zero frequency without a gap, relative to all."""
    row = plane[:, 0, plane.shape[2] // 2].long()
    middle = row.shape[1] // 2
    right, left = row[:, middle:].cumprod(1).sum(1), row[:, :middle].flip(1).cumprod(1).sum(1)
    return torch.where(row[:, middle] > 0, left + right, 0).double() / row.shape[1]


def _extent(image: Tensor) -> Tensor:
    energy = image.abs().double().square().sum(1)
    energy = energy / energy.amax((1, 2), keepdim=True).clamp_min(1e-300)
    return _ratio(energy.sum((1, 2)).square(), energy.square().sum((1, 2)) * energy[0].numel())


def _norm(x: Tensor) -> Tensor:
    # Raw data of 1e-7 have squares that single precision does not know.
    return x.abs().double().square().sum((1, 2, 3)).sqrt()


def _ratio(a: Tensor, b: Tensor) -> Tensor:
    return torch.where(b > 0, a / b.clamp_min(1e-300), 0.0)
