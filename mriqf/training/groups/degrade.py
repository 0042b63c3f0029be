"""Groups of degraded images of one target each, with their errors: what error predictors learn from.

A group is one target, measured by one set of coils, and several images of it: one family of degradations at several
levels, several reconstructions of several undersampling rates, or a mixture. Errors are relative to the object's root
mean square, after the best scaling, and of two kinds: total, against the target, and excess, against what the same
scanner would have shown with all of its samples and the same noise.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

import recon
from mriqf import degrade, metrics
from mriqf.scoring.resolution import crop_to_support
from mriqf.training.draws import draw_seed, geometric
from mriqf.training.groups.artefacts import blurred, compressed, ghosted, moved, noisy, oversmoothed
from mriqf.training.groups.labels import cell_errors, limited, resampled
from mriqf.training.groups.reconstructions import RECONSTRUCTIONS, Learned, draw_mask, draw_method
from mriqf.training.groups.targets import Image, Target
from mriqf.training.scanner import Kspace, Scanner, draw_scanner
from recon.coils import calibration_region, white_noise

FAMILIES = (*RECONSTRUCTIONS, "noise", "blur", "motion", "ghost", "over-smoothing", "jpeg", "interpolated")
"""`interpolated` is no error: the same image on a finer grid, as scanners show it, whole or after truncation."""


@dataclass(frozen=True)
class Example:
    """A degraded image, as a predictor sees it, and its errors."""

    image: Float[Tensor, "h w"]
    """Magnitude, any unit, at its own resolution (`mriqf.scoring.resolution`)."""
    total: Float[Tensor, "i j"]
    """Mean square of the relative error against the target, of each cell; -1 outside the object, NaN if not known."""
    excess: Float[Tensor, "i j"]
    """The same against the noisy image of all samples."""
    nrmse: float
    """Root mean square of the excess over the object."""
    ssim: float
    """Structural similarity with the image of all samples, over the object."""
    family: str
    level: float
    acceleration: float
    """Effective undersampling rate; NaN where all was sampled."""
    method: str
    """Name of the reconstruction or network, or of the family."""


@dataclass(frozen=True)
class DegradeConfig:
    """Settings of degradation; shares are probabilities."""

    versions: int = 4
    """Images of a group."""
    kinds: tuple[float, float, float] = (0.35, 0.4, 0.25)
    """Shares of groups of reconstructions, of one family at several levels, and of a mixture."""
    n_coils: tuple[int, int] = (1, 8)
    """Receiver coils."""
    noiseless: float = 0.2
    """Groups whose scanner adds no noise."""
    noise_std: tuple[float, float] = (0.001, 0.06)
    """Noise of the others, in units of the target's root mean square; log-uniform."""
    second: float = 0.2
    """Images with a second, weaker degradation."""
    interpolated: float = 0.12
    """Images that are interpolated in the end, with no change of their error."""
    estimated: float = 0.3
    """Reconstructions with maps estimated by ESPIRiT from what was sampled."""
    families: tuple[str, ...] = field(default=FAMILIES)
    """Families that are drawn from."""


def draw_group(
    target: Target, rng: np.random.Generator, config: DegradeConfig, learned: Sequence[tuple[str, Learned]] = ()
) -> list[Example]:
    """Draw the images of one target.

    Parameters
    ----------
    target
        See `mriqf.training.groups.targets.draw_target`.
    learned
        Names and reconstructions of what the family ``learned`` draws from; without any, it is left out.
    """
    image = target.image
    scanner = draw_scanner((image.shape[2], image.shape[3]), rng, config.n_coils, config.noiseless, config.noise_std)
    clean = recon.fft2c(scanner.csm * scanner.phase * image)
    kspace = clean + white_noise(clean.shape, scanner.noise_std, draw_seed(rng))
    reference = scanner.combine(kspace)
    known_families = [f for f in config.families if f != "learned" or learned]
    reconstructions = [f for f in known_families if f in RECONSTRUCTIONS] or known_families
    others = [f for f in known_families if f not in RECONSTRUCTIONS]
    kind = int(rng.choice(3, p=config.kinds))
    one = str(rng.choice(known_families))
    levels = _levels(config.versions, rng)
    examples = []
    for level in levels:
        if kind == 0:
            family = str(rng.choice(reconstructions))
        else:
            family = one if kind == 1 else str(rng.choice(known_families))
        degraded = _degrade(kspace, reference, family, level, scanner, rng, learned, config)
        if rng.random() < config.second and set(others) - {family}:
            other = str(rng.choice([f for f in others if f != family]))
            shape = (degraded.image.shape[2], degraded.image.shape[3])
            phase = recon.smooth_phase(shape, draw_seed(rng), 1.0, 3)
            noiseless = Scanner(torch.ones(1, 1, *shape, dtype=torch.complex64), phase, 0.0, False)
            again = recon.fft2c(phase * degraded.image)
            second = _degrade(again, degraded.image, other, 0.6 * rng.random(), noiseless, rng, (), config)
            degraded = second.after(degraded)
        if rng.random() < config.interpolated:
            degraded = _interpolated(degraded, rng)
        examples.append(_labelled(degraded, target, reference, family, level))
    return examples


@dataclass(frozen=True)
class _Degraded:
    image: Image
    acceleration: float = math.nan
    method: str = ""
    size: tuple[int, int] | None = None
    """Rows and columns of the target's k-space that the image has, if fewer than all."""

    def after(self, first: "_Degraded") -> "_Degraded":
        """Combine with the degradation that came before."""
        size = self.size or first.size
        if self.size and first.size:
            size = (min(self.size[0], first.size[0]), min(self.size[1], first.size[1]))
        return _Degraded(self.image, first.acceleration, first.method, size)


def _levels(n: int, rng: np.random.Generator) -> list[float]:
    """Severities: one of each part of 0 to 1, in random order."""
    return [float(x) for x in rng.permutation((np.arange(n) + rng.random(n)) / n)]


def _degrade(
    kspace: Kspace,
    reference: Image,
    family: str,
    level: float,
    scanner: Scanner,
    rng: np.random.Generator,
    learned: Sequence[tuple[str, Learned]],
    config: DegradeConfig,
) -> _Degraded:
    if family in RECONSTRUCTIONS:
        return _reconstruct(kspace, family, level, scanner, rng, learned, config)
    if family == "noise":
        image = noisy(kspace, geometric(level, 0.005, 0.3), scanner, rng)
    elif family == "motion":
        image = moved(kspace, level, scanner, rng)
    elif family == "ghost":
        image = ghosted(kspace, reference, level, scanner, rng)
    elif family == "blur":
        image = blurred(reference, level, rng)
    elif family == "over-smoothing":
        image = oversmoothed(kspace, level, scanner, rng)
    elif family == "jpeg":
        image = compressed(reference, level, rng)
    else:
        truncated = _truncated(kspace, level, scanner, rng)
        return _interpolated(truncated, rng) if rng.random() < 0.6 else truncated
    return _Degraded(image, method=family)


def _reconstruct(
    kspace: Kspace,
    family: str,
    level: float,
    scanner: Scanner,
    rng: np.random.Generator,
    learned: Sequence[tuple[str, Learned]],
    config: DegradeConfig,
) -> _Degraded:
    shape = (kspace.shape[2], kspace.shape[3])
    mask = draw_mask(shape, 1 + 9 * level ** (1.6 if family == "zero-filled" else 1.2), rng)
    measured = mask * kspace
    csm = scanner.csm
    if csm.shape[1] > 1 and rng.random() < config.estimated and min(calibration_region(measured)) >= 8:
        csm = recon.espirit(measured, crop=0.0)
    sense = recon.Sense(mask, csm)
    method, reconstruct = draw_method(family, rng, learned)
    return _Degraded(reconstruct(measured, sense).abs(), recon.effective_acceleration(mask), method)


def _truncated(kspace: Kspace, level: float, scanner: Scanner, rng: np.random.Generator) -> _Degraded:
    """Fewer rows, columns or both of k-space: an image of larger pixels, without error at its own resolution."""
    h, w = kspace.shape[2:]
    part = 1 - 0.6 * level * rng.random()
    fraction = [(part, part), (part, 1.0), (1.0, part)][int(rng.integers(3))]
    size = (min(max(round(h * fraction[0]), 64), h), min(max(round(w * fraction[1]), 64), w))
    kept = degrade.truncate(kspace, (size[0] / h, size[1] / w))
    return _Degraded(scanner.combine(kept), method="interpolated", size=size)


def _interpolated(degraded: _Degraded, rng: np.random.Generator) -> _Degraded:
    """The same image on a finer grid, by an empty rim of k-space."""
    h, w = degraded.image.shape[2:]
    factor = rng.uniform(1.1, 1.8)
    rows, columns = [(factor, factor), (factor, 1.0), (1.0, factor)][int(rng.choice(3, p=(0.5, 0.25, 0.25)))]
    n, m = max(min(round(h * rows), 384), h), max(min(round(w * columns), 384), w)
    spectrum = torch.fft.fftshift(torch.fft.fft2(degraded.image), dim=(-2, -1))
    larger = torch.zeros(1, 1, n, m, dtype=spectrum.dtype)
    larger[..., n // 2 - h // 2 : n // 2 - h // 2 + h, m // 2 - w // 2 : m // 2 - w // 2 + w] = spectrum
    image = torch.fft.ifft2(torch.fft.ifftshift(larger, dim=(-2, -1))).real * (n * m / (h * w))
    size = degraded.size or (h, w)
    return _Degraded(image.abs(), degraded.acceleration, degraded.method, size)


def _labelled(degraded: _Degraded, target: Target, reference: Image, family: str, level: float) -> Example:
    """Compare the image with both references, at its own resolution."""
    image, size = crop_to_support(degraded.image)
    truths = []
    for truth in (target.image, reference):
        if degraded.size is not None:  # lower resolution is no error
            truth = limited(truth, degraded.size)
        truths.append(resampled(truth, size) if tuple(truth.shape[2:]) != size else truth)
    inside = metrics.object_mask(truths[1])
    power = truths[1][inside].square().mean()
    maps = []
    for truth in truths:
        matched = metrics.match_scale(image, truth, inside)
        maps.append(cell_errors((matched - truth).square() / power, inside))
    total, excess = maps
    matched = metrics.match_scale(image, truths[1], inside)
    nrmse = metrics.nrmse(matched, truths[1], inside).item()
    ssim = metrics.ssim(matched, truths[1], inside).item()
    # The total error is not known where the target's own noise is as large.
    if target.noise > 0.003 and nrmse < 4 * target.noise:
        total = torch.full_like(total, math.nan)
    return Example(
        image[0, 0], total, excess, nrmse, ssim, family, level, degraded.acceleration, degraded.method or family
    )
