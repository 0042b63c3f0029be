"""Groups of degraded images of one target each, with their errors: what error predictors learn from.

A group is one target, measured by one set of coils, and several images of it: one family of degradations at several
levels, several reconstructions of several undersampling rates, or a mixture. Errors are relative to the object's root
mean square, after the best scaling, and of two kinds: total, against the target, and excess, against what the same
scanner would have shown with all of its samples and the same noise.
"""

import functools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from jaxtyping import Bool, Complex, Float
from torch import Tensor
from torch.nn.functional import avg_pool2d, pad

import recon
from mriqf import degrade, metrics
from mriqf.scoring.resolution import crop_to_support
from mriqf.training.groups.targets import Image, Target, denoise
from recon.coils import calibration_region, white_noise
from recon.simulate import varied_disc
from recon.wavelets import wavelet

RECONSTRUCTIONS = ("zero-filled", "cg-sense", "l1-wavelet", "total-variation", "learned")
FAMILIES = (*RECONSTRUCTIONS, "noise", "blur", "motion", "ghost", "over-smoothing", "jpeg", "interpolated")
"""`interpolated` is no error: the same image on a finer grid, as scanners show it, whole or after truncation."""

CELL = 8
"""Pixels of a side of a cell, of which errors are kept."""
SIGMA = 6.0
"""Pixels, of the Gaussian window in which errors are averaged."""

Kspace = Complex[Tensor, "1 c h w"]
Learned = Callable[[Tensor, recon.Sense], Tensor]


@dataclass(frozen=True)
class Example:
    """A degraded image, as a predictor sees it, and what is wrong with it."""

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
class Scanner:
    """Properties shared by all images of a group."""

    csm: Complex[Tensor, "1 c h w"]
    phase: Complex[Tensor, "1 1 h w"]
    noise_std: float
    rss: bool
    """Whether coils are combined by root sum of squares, with its noise floor, or by their maps."""

    def combine(self, kspace: Kspace) -> Image:
        """Magnitude image of fully sampled k-space."""
        images = recon.ifft2c(kspace)
        return recon.rss(images) if self.rss else (self.csm.conj() * images).sum(1, keepdim=True).abs()


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
    """Which ones."""


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
    scanner = draw_scanner((image.shape[2], image.shape[3]), rng, config)
    clean = recon.fft2c(scanner.csm * scanner.phase * image)
    kspace = clean + white_noise(clean.shape, scanner.noise_std, _seed(rng))
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
        found = _degrade(kspace, reference, family, level, scanner, rng, learned, config)
        if rng.random() < config.second and set(others) - {family}:
            other = str(rng.choice([f for f in others if f != family]))
            shown = (found.image.shape[2], found.image.shape[3])
            phase = recon.smooth_phase(shown, _seed(rng), 1.0, 3)
            quiet = Scanner(torch.ones(1, 1, *shown, dtype=torch.complex64), phase, 0.0, False)
            again = recon.fft2c(phase * found.image)
            worse = _degrade(again, found.image, other, 0.6 * rng.random(), quiet, rng, (), config)
            found = worse.after(found)
        if rng.random() < config.interpolated:
            found = _interpolated(found, rng)
        examples.append(_labelled(found, target, reference, family, level))
    return examples


@dataclass(frozen=True)
class _Degraded:
    image: Image
    acceleration: float = math.nan
    method: str = ""
    size: tuple[int, int] | None = None
    """Of the target's k-space that the image has, if it has less."""

    def after(self, first: "_Degraded") -> "_Degraded":
        """The same as done to an image that was degraded before."""
        size = self.size or first.size
        if self.size and first.size:
            size = (min(self.size[0], first.size[0]), min(self.size[1], first.size[1]))
        return _Degraded(self.image, first.acceleration, first.method, size)


def _levels(n: int, rng: np.random.Generator) -> list[float]:
    """Severities: one of each part of 0 to 1, in random order."""
    return [float(x) for x in rng.permutation((np.arange(n) + rng.random(n)) / n)]


def draw_scanner(shape: tuple[int, int], rng: np.random.Generator, config: DegradeConfig) -> Scanner:
    """Draw coils, phase and noise."""
    n_coils = int(rng.integers(config.n_coils[0], config.n_coils[1] + 1))
    if n_coils == 1:
        csm = torch.ones(1, 1, *shape, dtype=torch.complex64)
    elif rng.random() < 0.3:
        csm = recon.birdcage(n_coils, shape)
    else:
        csm = recon.surface_coils(n_coils, shape, _seed(rng))
    phase = recon.smooth_phase(shape, _seed(rng), rng.uniform(0.3, 1.5), int(rng.integers(2, 6)))
    low, high = config.noise_std
    noise = 0.0 if rng.random() < config.noiseless else _geometric(rng.random(), low, high)
    return Scanner(csm, phase, noise, bool(rng.random() < 0.4))


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
        image = _noisy(kspace, _geometric(level, 0.005, 0.3), scanner, rng)
    elif family == "motion":
        image = _moved(kspace, level, scanner, rng)
    elif family == "ghost":
        angle = math.pi / 2 if rng.random() < 0.3 else rng.uniform(0, 2 * math.pi)
        one = rng.random() < 0.6  # of one coil: many coils' maps, known well, suppress a copy
        source = recon.fft2c(scanner.phase * reference) if one else kspace
        ghosted = degrade.ghost(source, _geometric(level, 0.02, 0.5), angle)
        image = recon.ifft2c(ghosted).abs() if one else scanner.combine(ghosted)
    elif family == "blur":
        sigma = _geometric(level, 0.25, 2.5)
        sides = [sigma, sigma * rng.random()] if rng.random() < 0.35 else [sigma, sigma]
        image = (
            _filtered(reference, sides, rng) if rng.random() < 0.4 else degrade.blur(reference, (sides[0], sides[1]))
        )
    elif family == "over-smoothing":
        image = _oversmoothed(kspace, level, scanner, rng)
    elif family == "jpeg":
        image = _compressed(reference, level, rng)
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


def draw_method(
    family: str, rng: np.random.Generator, learned: Sequence[tuple[str, Learned]] = ()
) -> tuple[str, Learned]:
    """A reconstruction of a family, with its settings: the same function may run on other data again.

    Parameters
    ----------
    family
        One of `RECONSTRUCTIONS`.
    learned
        Names and reconstructions of what the family ``learned`` draws from.

    Returns
    -------
    Its name, and a function of k-space, zero outside the mask, and operator; real where coils are combined by root sum
    of squares.
    """
    if family == "zero-filled":
        weighted = rng.random() < 0.7
        return family, recon.zero_filled if weighted else lambda y, _: recon.rss(recon.ifft2c(y))
    if family == "cg-sense":
        lam, n_iter = _geometric(rng.random(), 1e-4, 5e-2), int(rng.integers(4, 25))

        def cg_sense(y: Tensor, sense: recon.Sense) -> Tensor:
            return recon.cg(
                lambda x: sense.gram(x) + lam * x, sense.adjoint(y), n_iter, separate=sense.separate, warn=False
            )

        return family, cg_sense
    if family == "l1-wavelet":
        name = str(rng.choice(["db4", "sym4", "haar"]))
        lam, n_iter = _geometric(rng.random(), 5e-4, 0.06), int(rng.integers(8, 30))
        return family, lambda y, sense: recon.l1_wavelet(y, sense, lam, n_iter, name)
    if family == "total-variation":
        lam, n_iter = _geometric(rng.random(), 5e-4, 0.03), int(rng.integers(8, 25))
        return family, lambda y, sense: recon.total_variation(y, sense, lam, n_iter, n_inner=3)
    return learned[int(rng.integers(len(learned)))]


def draw_mask(shape: tuple[int, int], acceleration: float, rng: np.random.Generator) -> Bool[Tensor, "1 1 _ w"]:
    """Columns at random, regular, or denser in the centre, with many or few central lines; or a disc of points."""
    w = shape[1]
    family = str(rng.choice(["random", "equispaced", "gaussian", "poisson"], p=[0.32, 0.36, 0.12, 0.2]))
    if family == "poisson":
        disc = varied_disc((256, 256), acceleration, rng)  # of one size, since they are slow to draw
        return _centred(disc, shape)[None, None]
    if family == "equispaced":
        acceleration = max(round(acceleration), 1)
    lines = int(rng.choice([0, 8, 12, 20, 24])) if rng.random() < 0.4 else rng.uniform(0.2, 0.45) * w / acceleration
    fraction = min(lines / w, 0.8 / acceleration)
    if family != "equispaced":
        fraction = max(fraction, 4 / w)
    mask = recon.masks.draw(family, shape, acceleration, min(fraction, 1 / acceleration), _seed(rng))
    return mask[None, None, None]


def _centred(mask: Tensor, shape: tuple[int, int]) -> Tensor:
    """A larger or smaller mask's centre, with False around it."""
    h, w = shape
    a, b = mask.shape
    padded = pad(mask, (max(w - b, 0), max(w - b, 0), max(h - a, 0), max(h - a, 0)))
    top, left = padded.shape[0] // 2 - h // 2, padded.shape[1] // 2 - w // 2
    return padded[top : top + h, left : left + w]


def _noisy(kspace: Kspace, std: float, scanner: Scanner, rng: np.random.Generator) -> Image:
    """White noise of the coils, or stronger in places as parallel imaging leaves it, or made coarse by a filter."""
    fate = rng.random()
    if fate < 0.5:
        return scanner.combine(degrade.noise(kspace, std, _seed(rng)))
    shape = (kspace.shape[2], kspace.shape[3])
    white = recon.ifft2c(degrade.noise(torch.zeros_like(kspace), std, _seed(rng)))
    if fate < 0.8:
        gain = torch.exp(1.5 * recon.smooth_phase(shape, _seed(rng), 0.6, int(rng.integers(3, 7))).angle())
        return scanner.combine(kspace + recon.fft2c(white * gain / gain.square().mean().sqrt()))
    ky, kx = (torch.fft.fftshift(torch.fft.fftfreq(n)).abs() for n in shape)
    keep = torch.exp(-((ky[:, None].square() + kx.square()) / rng.uniform(0.15, 0.5) ** 2))
    return scanner.combine(kspace + recon.fft2c(white) * keep / keep.square().mean().sqrt())


def _moved(kspace: Kspace, level: float, scanner: Scanner, rng: np.random.Generator) -> Image:
    if kspace.shape[1] > 4:  # each pose turns every coil image
        kspace, _ = recon.compress_coils(kspace, 4)
        scanner = Scanner(scanner.csm, scanner.phase, scanner.noise_std, True)
    turn = _geometric(level, 0.2, 4.0) if rng.random() < 0.5 else 0.0
    w = kspace.shape[3]
    if rng.random() < 0.25:  # breathing: a smooth, periodic shift
        phase = 2 * math.pi * (rng.uniform(2, 12) * torch.arange(w) / w + rng.random())
        shift = _geometric(level, 0.2, 5.0) * torch.stack((phase.sin() * rng.random(), phase.sin()), 1)
        shift[w // 2 - w // 50 : w // 2 + w // 50 + 1] = 0
        return scanner.combine(degrade.motion(kspace, shift.float()))
    shots = int(rng.integers(2, 9)) if rng.random() < 0.35 else 1
    n_events = int(rng.integers(1 + round(3 * level), 3 + round(6 * level)))
    path = degrade.random_motion(w, _geometric(level, 0.3, 6.0), n_events, _seed(rng), turn, shots)
    return scanner.combine(degrade.motion(kspace, *path))


def _filtered(image: Image, sides: list[float], rng: np.random.Generator) -> Image:
    """A window on k-space, as scanners apply it: Hann's, Gauss's or Fermi's, as wide as a blur."""
    factors = []
    for n, sigma in zip(image.shape[2:], sides, strict=True):
        k = torch.fft.fftfreq(n).abs()
        edge = min(0.19 / max(sigma, 1e-3), 4.0)  # cycles a pixel, where the blur's transfer has fallen to a half
        kind = int(rng.integers(3))
        if kind == 0:
            factors.append(0.5 + 0.5 * torch.cos(math.pi * (k / (2 * edge)).clamp_max(1)))
        elif kind == 1:
            factors.append(torch.exp(-math.log(2) * (k / edge) ** 2))
        else:
            factors.append(1 / (1 + torch.exp((k - edge) / (0.05 + 0.1 * edge))))
    return torch.fft.ifft2(torch.fft.fft2(image) * factors[0][:, None] * factors[1]).real.clamp_min(0)


def _oversmoothed(kspace: Kspace, level: float, scanner: Scanner, rng: np.random.Generator) -> Image:
    noisy = scanner.combine(degrade.noise(kspace, _geometric(rng.random(), 0.002, 0.06) * level, _seed(rng)))
    kind = int(rng.choice(5, p=(0.3, 0.2, 0.15, 0.2, 0.15)))
    if kind == 0:
        return degrade.oversmooth(noisy, _geometric(level, 0.004, 0.8), 40)
    if kind == 1:
        shape = (noisy.shape[2], noisy.shape[3])
        transform = wavelet(str(rng.choice(["db4", "sym4", "haar"])), shape)
        *details, rest = transform.forward(noisy)
        threshold = _geometric(level, 0.01, 1.5)
        shrunk = [part.sign() * (part.abs() - threshold).clamp_min(0) for part in details]
        return transform.inverse([*shrunk, rest], shape).clamp_min(0)
    if kind == 2:
        size = 1 + 2 * round(1 + 3 * level)  # an even one would displace the image by half a pixel
        return _median(noisy, size)
    if kind == 3:
        return bilateral(noisy, _geometric(level, 0.03, 0.8), int(rng.integers(1, 4)))
    return denoise(noisy, _geometric(level, 0.005, 0.5), 4)


def _median(image: Image, size: int) -> Image:
    windows = pad(image, (size // 2,) * 4, mode="reflect").unfold(2, size, 1).unfold(3, size, 1)
    return windows.flatten(-2).median(-1).values


def bilateral(image: Image, range_std: float, reach: int) -> Image:
    """Mean of neighbours of similar value, as edge-preserving filters take it.

    References
    ----------
    Tomasi and Manduchi, Bilateral filtering for gray and color images, ICCV 1998, doi:10.1109/ICCV.1998.710815.
    """
    padded = pad(image, (reach,) * 4, mode="reflect")
    h, w = image.shape[2:]
    total, weights = torch.zeros_like(image), torch.zeros_like(image)
    for dy in range(2 * reach + 1):
        for dx in range(2 * reach + 1):
            moved = padded[..., dy : dy + h, dx : dx + w]
            weight = torch.exp(-((moved - image) / range_std).square() / 2)
            total += weight * moved
            weights += weight
    return total / weights


def _compressed(image: Image, level: float, rng: np.random.Generator) -> Image:
    coarseness = _geometric(level, 0.04, 10.0)  # of libjpeg's tables, relative to those of quality 50
    quality = round(100 - 50 * coarseness if coarseness < 1 else 50 / coarseness)
    top = image.quantile(0.999) * rng.uniform(1, 1.2)
    dy, dx = rng.integers(8, size=2).tolist() if rng.random() < 0.6 else (0, 0)
    step = rng.uniform(0.9, 1.1) if rng.random() < 0.25 else 1.0
    return degrade.jpeg((image / top).clamp(0, 1), quality, (dy, dx), step) * top


def _truncated(kspace: Kspace, level: float, scanner: Scanner, rng: np.random.Generator) -> _Degraded:
    """Fewer rows, columns or both of k-space: an image of larger pixels, without error at its own resolution."""
    h, w = kspace.shape[2:]
    part = 1 - 0.6 * level * rng.random()
    fraction = [(part, part), (part, 1.0), (1.0, part)][int(rng.integers(3))]
    size = (min(max(round(h * fraction[0]), 64), h), min(max(round(w * fraction[1]), 64), w))
    kept = degrade.truncate(kspace, (size[0] / h, size[1] / w))
    return _Degraded(scanner.combine(kept), method="interpolated", size=size)


def _interpolated(found: _Degraded, rng: np.random.Generator) -> _Degraded:
    """The same image on a finer grid, by an empty rim of k-space."""
    h, w = found.image.shape[2:]
    factor = rng.uniform(1.1, 1.8)
    rows, columns = [(factor, factor), (factor, 1.0), (1.0, factor)][int(rng.choice(3, p=(0.5, 0.25, 0.25)))]
    n, m = max(min(round(h * rows), 384), h), max(min(round(w * columns), 384), w)
    spectrum = torch.fft.fftshift(torch.fft.fft2(found.image), dim=(-2, -1))
    larger = torch.zeros(1, 1, n, m, dtype=spectrum.dtype)
    larger[..., n // 2 - h // 2 : n // 2 - h // 2 + h, m // 2 - w // 2 : m // 2 - w // 2 + w] = spectrum
    image = torch.fft.ifft2(torch.fft.ifftshift(larger, dim=(-2, -1))).real * (n * m / (h * w))
    size = found.size or (h, w)
    return _Degraded(image.abs(), found.acceleration, found.method, size)


def _labelled(found: _Degraded, target: Target, reference: Image, family: str, level: float) -> Example:
    """Image and truths at the image's own resolution, compared."""
    image, size = crop_to_support(found.image)
    truths = []
    for truth in (target.image, reference):
        if found.size is not None:  # no error: what was not measured
            truth = _limited(truth, found.size)
        truths.append(_resampled(truth, size) if tuple(truth.shape[2:]) != size else truth)
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
    # A target's own noise is no error that the total could know.
    if target.noise > 0.003 and nrmse < 4 * target.noise:
        total = torch.full_like(total, math.nan)
    return Example(image[0, 0], total, excess, nrmse, ssim, family, level, found.acceleration, found.method or family)


def cell_errors(squares: Float[Tensor, "1 1 h w"], inside: Bool[Tensor, "1 1 h w"]) -> Float[Tensor, "i j"]:
    """Local mean of squared errors over the object, of cells of 8×8 pixels; -1 where less than half is object.

    Local means are weighted by a Gaussian of 6 pixels and taken over pixels of the object alone.
    """
    kernel = _kernel()
    weight = _window(inside.float(), kernel)
    mean = _window(torch.where(inside, squares, 0), kernel) / weight.clamp_min(1e-6)
    h, w = squares.shape[2:]
    margin = (0, -w % CELL, 0, -h % CELL)
    share = avg_pool2d(pad(inside.float(), margin), CELL)
    value = avg_pool2d(pad(torch.where(inside, mean, 0), margin), CELL) / share.clamp_min(1e-6)
    return torch.where(share > 0.5, value, -1.0)[0, 0]


@functools.cache
def _kernel() -> Tensor:
    reach = int(3 * SIGMA)
    kernel = torch.exp(-0.5 * (torch.arange(-reach, reach + 1) / SIGMA) ** 2)
    return kernel / kernel.sum()


def _window(x: Tensor, kernel: Tensor) -> Tensor:
    reach = len(kernel) // 2
    rows = torch.nn.functional.conv2d(pad(x, (0, 0, reach, reach)), kernel.reshape(1, 1, -1, 1))
    return torch.nn.functional.conv2d(pad(rows, (reach, reach, 0, 0)), kernel.reshape(1, 1, 1, -1))


def _limited(image: Image, size: tuple[int, int]) -> Image:
    """The image with the centre of its k-space alone, at its own size."""
    fractions = tuple(min(n / m, 1.0) for n, m in zip(size, image.shape[2:], strict=True))
    return recon.ifft2c(degrade.truncate(recon.fft2c(image.to(torch.complex64)), (fractions[0], fractions[1]))).abs()


def _resampled(image: Image, size: tuple[int, int]) -> Image:
    """The image on another grid of the same field of view, by cutting or padding its k-space."""
    h, w = image.shape[2:]
    spectrum = torch.fft.fftshift(torch.fft.fft2(image), dim=(-2, -1))
    spectrum = pad(spectrum, (max(size[1] - w, 0), max(size[1] - w, 0), max(size[0] - h, 0), max(size[0] - h, 0)))
    a, b = spectrum.shape[2] // 2 - size[0] // 2, spectrum.shape[3] // 2 - size[1] // 2
    part = torch.fft.ifftshift(spectrum[..., a : a + size[0], b : b + size[1]], dim=(-2, -1))
    return (torch.fft.ifft2(part).real * (size[0] * size[1] / (h * w))).clamp_min(0)


def _geometric(level: float, low: float, high: float) -> float:
    """From `low` at level 0 to `high` at 1, evenly in the logarithm."""
    return low * (high / low) ** level


def _seed(rng: np.random.Generator) -> int:
    return int(rng.integers(2**31))
