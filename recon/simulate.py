"""Training problems from magnitude images: random phase, coils, noise and masks, with the truth beside them."""

import functools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Complex, Float, Num
from torch import Tensor
from torch.nn.functional import avg_pool2d

from recon import coils, masks
from recon.coils import espirit
from recon.fourier import fft2c
from recon.operator import Sense
from recon.scale import image_scale


@dataclass(frozen=True)
class SimulationConfig:
    """Distribution of the problems drawn from images; ranges are uniform unless said otherwise."""

    families: tuple[str, ...] = ("random", "random", "equispaced", "equispaced", "gaussian", "poisson")
    """Families of masks, drawn with equal probability; repeat one to draw it more often."""
    acceleration: tuple[float, float] = (1.0, 10.0)
    """Nominal acceleration, its logarithm uniform; whole numbers for equispaced masks."""
    center: tuple[float, float] = (0.2, 0.45)
    """Product of acceleration and center_fraction: which part of the samples forms the centre."""
    partial_fourier: float = 0.1
    """Probability that the last columns, up to a quarter of them, are missing as well."""
    n_coils: tuple[int, int] = (1, 16)
    """Receiver coils."""
    single_coil: float = 0.15
    """Probability of a single coil, whatever the range."""
    birdcage: float = 0.25
    """Probability of a birdcage instead of surface coils."""
    noise_std: tuple[float, float] = (0.001, 0.05)
    """Noise of k-space, in units of the image's scale; log-uniform."""
    phase_std: float = 1.0
    """Standard deviation of the smooth phase of the image, radians."""
    support: float = 0.25
    """Probability that coil maps end at the object's border, as estimated ones do."""
    estimated: float = 0.5
    """Probability that the maps are estimated from the noisy centre by ESPIRiT, with all its errors."""
    inexact: float = 0.1
    """Probability of the true maps with smooth errors of a few per cent."""


KNOWN_MAPS = SimulationConfig(
    families=("random", "random", "equispaced", "gaussian", "poisson"), acceleration=(2.0, 8.0), partial_fourier=0.0,
    n_coils=(5, 12), single_coil=0.0, noise_std=(0.003, 0.03), support=0.5, estimated=0.0, inexact=0.0,
)  # fmt: skip
"""Several coils, whose maps are known exactly."""


@dataclass(frozen=True)
class Problem:
    """A batch of simulated measurements and their images."""

    kspace: Complex[Tensor, "b c h w"]
    sense: Sense
    target: Complex[Tensor, "b 1 h w"]
    """Truth, with a scale of 1 over its whole slice."""


def simulate(
    slices: Sequence[Num[np.ndarray, "h w"]], rng: np.random.Generator, n: int, pixels: int, config: SimulationConfig
) -> Problem:
    """Draw a batch of problems from slices of one size.

    A batch has one family of masks and one set of coils; its images, phases and masks differ. Under masks of
    columns the rows are independent problems, so each sample is a slab of whole rows; under 2-D masks it is a square
    part of the image.

    Parameters
    ----------
    slices
        Images, any unit, all of one size; complex ones keep their phase beside the one that is drawn.
    rng
        Source of every random choice.
    n
        Samples of the batch.
    pixels
        Approximate number of pixels of a sample; at most the whole slice.
    """
    family = config.families[rng.integers(len(config.families))]
    images = [slices[i] for i in rng.integers(len(slices), size=n)]
    full = torch.from_numpy(np.stack(images))[:, None]
    full = full.to(torch.complex64 if full.is_complex() else torch.float32)
    turn, flip_h, flip_w = rng.integers(2, size=3)
    full = full.transpose(2, 3) if turn else full
    full = full.flip([axis for axis, flip in ((2, flip_h), (3, flip_w)) if flip])
    h, w = full.shape[2:]
    side = min(int(pixels**0.5), h, w)
    shape = (side, side) if family == "poisson" else (min(max(pixels // w, 1), h), w)
    phase = torch.cat([
        coils.smooth_phase((h, w), _seed(rng), config.phase_std, int(rng.integers(2, 6))) for _ in range(n)
    ])  # fmt: skip
    target = full * phase / image_scale(full)
    csm = _maps((h, w), rng, config)
    noise_std = float(np.exp(rng.uniform(*np.log(config.noise_std))))
    mask = torch.stack([_mask(family, shape, rng, config) for _ in range(n)])
    chance = rng.random() if csm.shape[1] > 1 else 1.0  # one coil's map is known
    known = csm
    if chance < config.estimated:
        n_calib = int(rng.integers(7, 25))
        known = _estimated(csm * target, n_calib, noise_std, rng)
    elif chance < config.estimated + config.inexact:
        known = _inexact(csm, rng)
    if chance >= config.estimated and rng.random() < config.support:
        object_ = avg_pool2d(target.abs(), 9, stride=1, padding=4) > 0.1
        csm, known, target = csm * object_, known * object_, target * object_
    corners = [_corner(image, shape, rng) for image in known.abs().amax(1) * target.abs()[:, 0]]
    target, csm, known = (_crop(x.expand(n, -1, -1, -1), corners, shape) for x in (target, csm, known))
    kspace = coils.simulate_kspace(target, csm, noise_std, _seed(rng))
    # Noiseless coil images combined with the known maps: the image itself, where these are the true maps.
    target = (known.conj() * csm * target).sum(1, keepdim=True)
    return Problem(kspace, Sense(mask.reshape(n, 1, -1, shape[1]), known), target)


def measure(
    image: Float[np.ndarray, "h w"],
    family: str,
    acceleration: int | float,
    seed: int,
    *,
    center_fraction: float | None = None,
    n_coils: int = 8,
    noise_std: float = 0.01,
    estimated: bool = False,
) -> Problem:
    """Measure one whole image by a standard set-up, for validation and benchmarks.

    Parameters
    ----------
    image
        Magnitude image, any unit; the truth of the result has a scale of 1.
    family, acceleration, center_fraction
        Parameters of the mask; the centre is 0.32 / acceleration of the columns if not given, as in fastMRI, and for
        2-D masks a square of a twelfth of each side.
    n_coils
        Loops around the object.
    noise_std
        Standard deviation of the noise of k-space, in units of the image's scale.
    estimated
        Give the operator the maps that ESPIRiT finds in the sampled centre, instead of the true ones; then only
        the magnitude of the truth is to be had.
    """
    magnitude = torch.from_numpy(image.astype(np.float32))[None, None]
    h, w = image.shape
    target = magnitude * coils.smooth_phase((h, w), seed) / image_scale(magnitude)
    csm = coils.surface_coils(n_coils, (h, w), seed)
    if center_fraction is None:
        center_fraction = 1 / 12 if family == "poisson" else 0.32 / acceleration
    mask = masks.draw(family, (h, w), acceleration, center_fraction, seed)
    kspace = coils.simulate_kspace(target, csm, noise_std, seed)
    return Problem(kspace, Sense(mask, espirit(mask * kspace) if estimated else csm), target)


def _maps(shape: tuple[int, int], rng: np.random.Generator, config: SimulationConfig) -> Complex[Tensor, "1 c h w"]:
    n_coils = int(rng.integers(config.n_coils[0], config.n_coils[1] + 1))
    if n_coils == 1 or rng.random() < config.single_coil:
        return torch.ones(1, 1, *shape, dtype=torch.complex64)
    return (
        coils.birdcage(n_coils, shape)
        if rng.random() < config.birdcage
        else coils.surface_coils(n_coils, shape, _seed(rng))
    )


def _estimated(
    coil_images: Complex[Tensor, "b c h w"], n_calib: int, noise_std: float, rng: np.random.Generator
) -> Complex[Tensor, "b c h w"]:
    """Coil maps by ESPIRiT from 24 rows and a number of columns of noisy k-space."""
    kspace = fft2c(coil_images)
    sides = (min(24, kspace.shape[2]), min(n_calib, kspace.shape[3]))
    measured = torch.zeros_like(kspace)
    centre = coils.central(kspace, sides)
    coils.central(measured, sides).copy_(centre + coils.white_noise(centre.shape, noise_std, _seed(rng)))
    return espirit(measured, sides)


def _inexact(csm: Complex[Tensor, "b c h w"], rng: np.random.Generator) -> Complex[Tensor, "b c h w"]:
    """Coil maps with smooth errors of magnitude and phase, normalised again."""
    shape, std = (csm.shape[2], csm.shape[3]), rng.uniform(0.02, 0.12)
    errors = [coils.smooth_phase(shape, _seed(rng), std, int(rng.integers(3, 7))) - 1 for _ in range(2 * csm.shape[1])]
    error = torch.cat(errors, 1).unflatten(1, (2, -1))  # of phase and, after a quarter turn, of magnitude
    wrong = csm * (1 + error[:, 0] + 1j * error[:, 1])
    return wrong / coils.rss(wrong)


def _mask(family: str, shape: tuple[int, int], rng: np.random.Generator, config: SimulationConfig) -> Tensor:
    acceleration = float(np.exp(rng.uniform(*np.log(config.acceleration))))
    if family == "poisson":
        return varied_disc(shape, acceleration, rng)
    if family == "equispaced":
        acceleration = max(round(acceleration), 1)
    center_fraction = float(rng.uniform(*config.center)) / acceleration
    mask = masks.draw(family, shape, acceleration, center_fraction, _seed(rng))
    if rng.random() < config.partial_fourier:
        mask[round(shape[1] * rng.uniform(0.75, 1)) :] = False
    return mask


DISCS = (1.5, 2.0, 3.0, 4.0, 5.0, 6.0, 8.0, 10.0)


def varied_disc(shape: tuple[int, int], acceleration: float, rng: np.random.Generator) -> Bool[Tensor, "h w"]:
    """One of few Poisson discs, which are slow to draw, flipped and turned at random."""
    nearest = min(DISCS, key=lambda r: abs(np.log(r / acceleration)))
    mask = _disc(shape, nearest, int(rng.integers(2)))
    for axis in range(2):
        if rng.random() < 0.5:  # even sides have their zero frequency right of the middle
            mask = mask.flip(axis).roll(1 - shape[axis] % 2, axis)
    return mask.T.contiguous() if shape[0] == shape[1] and rng.random() < 0.5 else mask


@functools.cache
def _disc(shape: tuple[int, int], acceleration: float, seed: int) -> Bool[Tensor, "h w"]:
    center = float(np.random.default_rng(seed).uniform(0.2, 0.45)) / acceleration
    return masks.poisson(shape, acceleration, center**0.5 / 2, seed)


def _corner(image: Float[Tensor, "h w"], shape: tuple[int, int], rng: np.random.Generator) -> tuple[int, int]:
    """Corner of a part of an image that holds a random pixel of the object."""
    bright = (image > 0.1).nonzero()
    pixel = bright[rng.integers(len(bright))].tolist()
    y, x = (
        int(np.clip(p - rng.integers(n), 0, size - n)) for p, n, size in zip(pixel, shape, image.shape, strict=True)
    )
    return y, x


def _crop(x: Tensor, corners: list[tuple[int, int]], shape: tuple[int, int]) -> Tensor:
    return torch.stack([
        image[:, y : y + shape[0], x0 : x0 + shape[1]] for image, (y, x0) in zip(x, corners, strict=True)
    ])  # fmt: skip


def _seed(rng: np.random.Generator) -> int:
    return int(rng.integers(2**31))
