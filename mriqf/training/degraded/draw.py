"""Degraded images with their errors, to train and test regressors that see no reference.

The families are those of `FAMILIES`. MoDL is not among them, so that learned reconstructions can test generalisation.
"""

import functools
import math
from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn.functional import interpolate

import recon
from mriqf import degrade, metrics
from mriqf.scoring.scale import normalise, percentile_scale
from mriqf.training.degraded.targets import resample
from mriqf.training.degraded.targets import vary as vary_target
from mriqf.training.draws import (
    blur_widths,
    draw_seed,
    geometric,
    ghost_phase,
    jpeg_quality,
    motion_path,
    noise_gain,
    stopped_cg,
)
from mriqf.training.scanner import Scanner
from recon.coils import calibration_size
from recon.scale import image_scale
from recon.simulate import SimulationConfig

FAMILIES = (
    "zero-filled", "cg-sense", "l1-wavelet", "noise", "blur", "truncation", "motion", "ghost", "over-smoothing", "jpeg",
)  # fmt: skip
"""Families that are trained on. MoDL is not: it stands for reconstructions unseen in training."""

SIDE = 256
SIGMA = 6.0
"""Pixels, of the Gaussian window in which errors are averaged."""

_SIMULATION = SimulationConfig()
_MIXED = 0.15  # share of images with a second, weaker degradation
_RESAMPLED = 0.15  # share of pairs of image and target that are resampled together
_ESTIMATED = 0.13  # share of reconstructions with coil maps by ESPIRiT
LEAST_OBJECT = 0.15  # least part of an image's area that the object takes
_POISSON = (1.15, 1.5, 2.0, 3.0, 4.0, 6.0, 8.0, 10.0)  # accelerations of the cached discs, which are slow to draw


@dataclass(frozen=True)
class Example:
    """A degraded image, as a predictor sees it, and its errors."""

    image: Float[np.ndarray, "h w"]
    """Magnitude in [0, 1], normalised as for scoring, from zero."""
    error: Float[np.ndarray, "h w"]
    """`local_error` in the object, -1 outside."""
    foreground: Bool[np.ndarray, "h w"]
    """The object of the target."""
    nrmse: float
    """In the object, after the best scaling."""
    ssim: float
    """In the object, after the best scaling."""
    acceleration: float
    """Effective undersampling rate; NaN where everything was sampled."""
    family: str
    level: float
    """Severity, 0–1; log NRMSE grows about linearly with it."""
    dataset: str
    subject: str


def draw(
    target: Float[np.ndarray, "h w"],
    family: str,
    level: int | float,
    seed: int | np.random.Generator,
    *,
    vary: bool = True,
    side: int = SIDE,
    dataset: str = "",
    subject: str = "",
) -> Example:
    """Degrade a magnitude image; the same arguments, with an integer seed, give the same example.

    The image gets a smooth random phase, 4 to 12 simulated coils and a noise of 0 to 1.5 % of its scale; then comes the
    degradation.

    Parameters
    ----------
    target
        Magnitude image, any unit.
    family
        One of `FAMILIES`.
    level
        Severity, 0 (hardly visible) to 1.
    seed
        Seed of every random choice, or a generator for it.
    vary
        Also vary the target (`targets.vary`), let a second, weaker degradation of another family follow in 15 %, and
        resample image and target together in 15 %, as viewers and later processing do. Without, only what the
        degradation itself leaves to chance is random.
    side
        Larger images are cut to at most this many pixels a side, after the degradation, where at least 15 % is object
        if there is such a part.
    dataset, subject
        Kept with the example.

    Raises
    ------
    ValueError
        If the family is unknown, the level is not in 0–1, or the target is empty.
    ImportError
        If sigpy is not installed.
    """
    if family not in FAMILIES:
        raise ValueError(f"family={family!r} is unknown: use one of {', '.join(FAMILIES)}")
    if not 0 <= level <= 1:
        raise ValueError(f"level={level} is out of range: use 0 to 1")
    if not target.any():
        raise ValueError(f"target {target.shape} is zero everywhere: leave empty slices out")
    rng = np.random.default_rng(seed)
    image = torch.from_numpy(np.ascontiguousarray(target, np.float32))[None, None]
    if vary:
        image = vary_target(image, rng)
    inside = metrics.object_mask(image)
    image = image / image_scale(image)
    scanner = _scanner((image.shape[2], image.shape[3]), rng)
    degraded, acceleration = _degrade(image, family, level, scanner, rng)
    if vary and rng.random() < _MIXED:
        second = rng.choice([name for name in FAMILIES[3:] if name != family])
        noiseless = replace(scanner, noise_std=0.0, rss=False)
        degraded, _ = _degrade(degraded / image_scale(degraded), str(second), rng.uniform(0, 0.4), noiseless, rng)
    if vary and rng.random() < _RESAMPLED:
        factor = rng.uniform(0.75, 1.3)
        degraded, image, inside = (resample(x.float(), factor) for x in (degraded, image, inside))
        inside = inside > 0.5
    window = _window(inside[0, 0].numpy(), side, rng)
    degraded, image, inside = (x[..., window[0], window[1]].contiguous() for x in (degraded, image, inside))
    matched = metrics.match_scale(degraded, image, inside)
    raw = degraded[0].numpy()
    return Example(
        image=normalise(raw, percentile_scale([raw]).from_zero())[0],
        error=local_error(matched[0, 0].numpy(), image[0, 0].numpy(), inside[0, 0].numpy()),
        foreground=inside[0, 0].numpy(),
        nrmse=metrics.nrmse(matched, image, inside).item(),
        ssim=metrics.ssim(matched, image, inside).item(),
        acceleration=acceleration,
        family=family, level=float(level), dataset=dataset, subject=subject,
    )  # fmt: skip


def local_error(
    image: Float[np.ndarray, "h w"], target: Float[np.ndarray, "h w"], inside: Bool[np.ndarray, "h w"]
) -> Float[np.ndarray, "h w"]:
    """Root of the local mean squared error over the target's mean square in the object; -1 outside.

    Local means are weighted by a Gaussian of 6 pixels and taken over pixels of the object alone. The mean of the
    squares is about the squared NRMSE.

    Parameters
    ----------
    image
        In the scale of the target, see `mriqf.metrics.match_scale`.
    target
        Any unit.
    inside
        The object.
    """
    from scipy.ndimage import gaussian_filter

    squares = np.where(inside, (image.astype(np.float64) - target) ** 2, 0)
    weight = gaussian_filter(inside.astype(np.float64), SIGMA, mode="constant")
    mean = gaussian_filter(squares, SIGMA, mode="constant") / np.maximum(weight, 1e-12)
    error = np.sqrt(mean / np.mean(target[inside].astype(np.float64) ** 2))
    return np.where(inside, error, -1).astype(np.float32)


def _window(inside: np.ndarray, side: int, rng: np.random.Generator) -> tuple[slice, slice]:
    """Part of at most `side`² pixels, with enough of the object if ten tries find one."""
    window = (slice(None), slice(None))
    for _ in range(10):
        corner = [int(rng.integers(max(n - side, 0) + 1)) for n in inside.shape]
        window = (slice(corner[0], corner[0] + side), slice(corner[1], corner[1] + side))
        if inside[window].mean() > LEAST_OBJECT:
            break
    return window


def _scanner(shape: tuple[int, int], rng: np.random.Generator) -> Scanner:
    n_coils = int(rng.integers(4, 13))
    ring = rng.random() < _SIMULATION.birdcage
    csm = recon.birdcage(n_coils, shape) if ring else recon.surface_coils(n_coils, shape, draw_seed(rng))
    phase = recon.smooth_phase(shape, draw_seed(rng), _SIMULATION.phase_std, int(rng.integers(2, 6)))
    noise_std = 0.0 if rng.random() < 0.2 else geometric(rng.random(), 0.001, 0.015)
    return Scanner(csm, phase, noise_std, bool(rng.random() < 0.4))


def _degrade(
    image: Tensor, family: str, level: int | float, scanner: Scanner, rng: np.random.Generator
) -> tuple[Tensor, float]:
    """Degraded magnitude of a target with a scale of 1, and its effective acceleration if it was undersampled."""
    if family == "ghost" and rng.random() < 0.6:  # one coil: the known maps of many coils suppress a copy
        scanner = replace(scanner, csm=torch.ones_like(scanner.csm[:, :1]))
    kspace = scanner.measure(image, rng)
    if family in FAMILIES[:3]:
        return _reconstruct(kspace, family, level, scanner, rng)
    return _degrade_sampled(kspace, family, level, scanner, rng), math.nan


def _degrade_sampled(
    kspace: Tensor, family: str, level: int | float, scanner: Scanner, rng: np.random.Generator
) -> Tensor:
    """Degraded magnitude of fully sampled k-space. Levels are scaled so that log NRMSE is spread evenly."""
    if family == "noise":
        return _noisy(kspace, geometric(level, 0.005, 0.25), scanner, rng)
    if family == "truncation":
        return _truncated(kspace, level, scanner, rng)
    if family == "motion":
        turn = geometric(level, 0.2, 4.0) if rng.random() < 0.6 else 0.0
        return scanner.combine(degrade.motion(kspace, *motion_path(kspace.shape[3], level, turn, rng)))
    if family == "ghost":
        phase = ghost_phase(rng)
        return scanner.combine(degrade.ghost(kspace, geometric(level, 0.02, 0.5), phase))
    combined = scanner.combine(kspace)
    if family == "blur":
        widths = blur_widths(geometric(level, 0.3, 2.5), rng)
        return degrade.blur(combined, tuple(rng.permutation(widths).tolist()))
    if family == "over-smoothing":
        return _oversmoothed(kspace, level, scanner, rng)
    return _compressed(combined, level, rng)


def _reconstruct(
    kspace: Tensor, family: str, level: int | float, scanner: Scanner, rng: np.random.Generator
) -> tuple[Tensor, float]:
    shape = (kspace.shape[2], kspace.shape[3])
    mask = _mask(shape, 1 + 9 * level ** (1.6 if family == "zero-filled" else 1.2), rng)
    csm, sampled = scanner.csm, mask * kspace
    if rng.random() < _ESTIMATED and calibration_size(sampled) >= 8:
        csm = recon.espirit(sampled)
    sense = recon.Sense(mask, csm)
    if family == "cg-sense":
        lam, n_iter = geometric(rng.random(), 1e-4, 3e-2), int(rng.integers(5, 21))
        image = stopped_cg(kspace, sense, lam, n_iter)
    elif family == "l1-wavelet":
        image = recon.l1_wavelet(kspace, sense, geometric(rng.random(), 1e-3, 5e-2), max_iter=40)
    else:
        image = recon.rss(recon.ifft2c(sampled)) if scanner.rss else recon.zero_filled(kspace, sense)
    return image.abs(), recon.effective_acceleration(mask)


def _mask(shape: tuple[int, int], acceleration: float, rng: np.random.Generator) -> Tensor:
    family = str(rng.choice(_SIMULATION.families))
    center = rng.uniform(*_SIMULATION.center)
    if family == "poisson":
        nearest = min(_POISSON, key=lambda r: abs(math.log(r / acceleration)))
        mask = _disc(shape, nearest, int(rng.integers(2)))
        for axis in range(2):
            if rng.random() < 0.5:  # even sides have their zero frequency right of the middle
                mask = mask.flip(axis).roll(1 - shape[axis] % 2, axis)
        return mask
    if family == "equispaced":
        acceleration = max(round(acceleration), 2)
    return recon.masks.draw(family, shape, acceleration, center / acceleration, draw_seed(rng))


@functools.cache
def _disc(shape: tuple[int, int], acceleration: float, seed: int) -> Tensor:
    center = np.random.default_rng(seed).uniform(*_SIMULATION.center) / acceleration
    return recon.masks.poisson(shape, acceleration, center**0.5 / 2, seed)


def _noisy(kspace: Tensor, std: float, scanner: Scanner, rng: np.random.Generator) -> Tensor:
    """White noise of the coils, or in a third noise that parallel imaging has made stronger in places."""
    if rng.random() > 1 / 3:
        return scanner.combine(degrade.noise(kspace, std, draw_seed(rng)))
    shape = (kspace.shape[2], kspace.shape[3])
    gain = noise_gain(shape, rng)
    white = recon.ifft2c(degrade.noise(torch.zeros_like(kspace), std, draw_seed(rng)))
    return scanner.combine(kspace + recon.fft2c(white * gain / gain.square().mean().sqrt()))


def _truncated(kspace: Tensor, level: int | float, scanner: Scanner, rng: np.random.Generator) -> Tensor:
    part = 1 - 0.75 * level**0.6
    fraction = [(part, part), (part, 1.0), (1.0, part)][int(rng.choice(3, p=(0.65, 0.15, 0.2)))]
    if rng.random() < 0.65:
        return scanner.combine(degrade.truncate(kspace, fraction))
    small = scanner.combine(degrade.truncate(kspace, fraction, crop=True))  # as a viewer enlarges it
    mode = str(rng.choice(["bilinear", "bicubic"]))
    return interpolate(small, kspace.shape[2:], mode=mode).clamp_min(0)


def _oversmoothed(kspace: Tensor, level: int | float, scanner: Scanner, rng: np.random.Generator) -> Tensor:
    noisy = scanner.combine(degrade.noise(kspace, geometric(rng.random(), 0.002, 0.04) * level, draw_seed(rng)))
    kind = rng.choice(3, p=(0.5, 0.3, 0.2))
    if kind == 0:
        return degrade.oversmooth(noisy, geometric(level, 0.004, 0.8))
    if kind == 1:
        return degrade.shrink(noisy, geometric(level, 0.01, 1.5), str(rng.choice(["db4", "sym4", "haar"])))
    from scipy.ndimage import median_filter

    size = 1 + 2 * round(4 * level)  # an even one would displace the image by half a pixel
    return torch.from_numpy(median_filter(noisy.numpy(), size=(1, 1, size, size)))


def _compressed(image: Tensor, level: int | float, rng: np.random.Generator) -> Tensor:
    unit = (image / (image.quantile(0.999) * rng.uniform(1, 1.2))).clamp(0, 1)
    dy, dx = rng.integers(8, size=2).tolist()
    step = rng.uniform(0.9, 1.1) if rng.random() < 1 / 3 else 1.0
    return degrade.jpeg(unit, jpeg_quality(level), (dy, dx), step)
