"""Training problems from magnitude images: random phase, coils, noise and masks, with the truth beside them."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Complex, Float
from torch import Tensor
from torch.nn.functional import avg_pool2d, interpolate

from recon import coils, masks
from recon.espirit import espirit
from recon.fourier import fft2c
from recon.operator import Sense
from recon.scale import image_scale


@dataclass(frozen=True)
class SimulationConfig:
    """How problems are drawn from images; ranges are uniform unless said otherwise."""

    families: tuple[str, ...] = ("random", "random", "equispaced", "gaussian", "poisson")
    """Families of masks, each as likely as often it stands here."""
    acceleration: tuple[float, float] = (2.0, 8.0)
    """Nominal acceleration; whole numbers for equispaced masks."""
    center: tuple[float, float] = (0.2, 0.45)
    """Product of acceleration and center_fraction: which part of the samples forms the centre."""
    n_coils: tuple[int, int] = (5, 12)
    """Receiver coils."""
    birdcage: float = 0.25
    """How often they are a birdcage's, not surface loops."""
    noise_std: tuple[float, float] = (0.003, 0.03)
    """Noise of k-space, in units of the image's scale; log-uniform."""
    phase_std: float = 1.0
    """Of the smooth phase of the image, radians."""
    support: float = 0.5
    """How often coil maps end at the object's border, as estimated ones do."""
    estimated: float = 0.0
    """How often the maps are estimated from the noisy centre by ESPIRiT, with all its errors, and not the true ones."""
    n_calib: tuple[int, int] = (12, 24)
    """Lines that they are estimated from."""


@dataclass(frozen=True)
class Problem:
    """A batch of simulated measurements and the images that they are of."""

    kspace: Complex[Tensor, "b c h w"]
    sense: Sense
    target: Complex[Tensor, "b 1 h w"]
    """Truth, with a scale of 1 over its whole slice."""


def simulate(
    slices: Sequence[Float[np.ndarray, "h w"]], rng: np.random.Generator, n: int, pixels: int, config: SimulationConfig
) -> Problem:
    """Draw a batch of problems from slices of one size.

    A batch has one family of masks and one set of coils; its images, phases and masks of columns differ. Under masks of
    columns the rows are independent problems, so each sample is a slab of whole rows; under 2-D masks it is a square
    part of the image.

    Parameters
    ----------
    slices
        Magnitude images, any unit, all of one size.
    rng
        Where every random choice comes from.
    n
        Samples of the batch.
    pixels
        Of each sample, about; at most the whole slice.
    """
    family = config.families[rng.integers(len(config.families))]
    images = [slices[i] for i in rng.integers(len(slices), size=n)]
    turn, flip_h, flip_w = rng.integers(2, size=3)
    full = torch.from_numpy(np.stack(images).astype(np.float32))[:, None]
    full = full.transpose(2, 3) if turn else full
    full = full.flip([axis for axis, flip in ((2, flip_h), (3, flip_w)) if flip])
    h, w = full.shape[2:]
    side = min(int(pixels**0.5), h, w)
    shape = (side, side) if family == "poisson" else (min(max(pixels // w, 1), h), w)
    phase = torch.cat([
        coils.smooth_phase((h, w), _seed(rng), config.phase_std, int(rng.integers(2, 6))) for _ in range(n)
    ])  # fmt: skip
    target = full * phase / image_scale(full)
    n_coils = int(rng.integers(config.n_coils[0], config.n_coils[1] + 1))
    on_ring = rng.random() < config.birdcage
    csm = coils.birdcage(n_coils, (h, w)) if on_ring else coils.loops(n_coils, (h, w), _seed(rng))
    noise_std = float(np.exp(rng.uniform(*np.log(config.noise_std))))
    known = csm
    if rng.random() < config.estimated:
        known = _estimated(csm * target, int(rng.integers(config.n_calib[0], config.n_calib[1] + 1)), noise_std, rng)
    elif rng.random() < config.support:
        object_ = avg_pool2d(target.abs(), 9, stride=1, padding=4) > 0.1
        csm, target = csm * object_, target * object_
        known = csm
    corners = [_corner(image, shape, rng) for image in known.abs().amax(1) * target.abs()[:, 0]]
    target, csm, known = (_crop(x.expand(n, -1, -1, -1), corners, shape) for x in (target, csm, known))
    n_masks = 1 if family == "poisson" else n  # which are slow to draw
    mask = torch.stack([_mask(family, shape, rng, config) for _ in range(n_masks)])
    kspace = coils.simulate_kspace(target, csm, noise_std, _seed(rng))
    # What the known maps make of the coils' images without noise: the image itself, where they are the true ones.
    target = (known.conj() * csm * target).sum(1, keepdim=True)
    return Problem(kspace, Sense(mask.reshape(n_masks, 1, -1, shape[1]), known), target)


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
        Of the mask; the centre is 0.32 / acceleration of the columns if not given, as in fastMRI, and for 2-D masks
        a square of a twelfth of each side.
    seed
        Of the mask, the coils, the phase and the noise.
    n_coils
        Loops around the object.
    noise_std
        Of k-space, in units of the image's scale.
    estimated
        Whether the operator has the maps that ESPIRiT finds in the sampled centre, instead of the true ones; then only
        the magnitude of the truth is to be had.
    """
    magnitude = torch.from_numpy(image.astype(np.float32))[None, None]
    h, w = image.shape
    target = magnitude * coils.smooth_phase((h, w), seed) / image_scale(magnitude)
    csm = coils.loops(n_coils, (h, w), seed)
    if center_fraction is None:
        center_fraction = 1 / 12 if family == "poisson" else 0.32 / acceleration
    mask = masks.draw(family, (h, w), acceleration, center_fraction, seed)
    kspace = coils.simulate_kspace(target, csm, noise_std, seed)
    return Problem(kspace, Sense(mask, espirit(mask * kspace) if estimated else csm), target)


def _estimated(
    coil_images: Complex[Tensor, "b c h w"], n_calib: int, noise_std: float, rng: np.random.Generator
) -> Complex[Tensor, "b c h w"]:
    """Coil maps by ESPIRiT; at half the resolution, which takes a quarter of the time and loses little."""
    h, w = coil_images.shape[2:]
    kspace = fft2c(coil_images)[:, :, h // 2 - h // 4 : h // 2 + h // 4, w // 2 - w // 4 : w // 2 + w // 4]
    found = torch.view_as_real(espirit(kspace + coils.white_noise(kspace.shape, noise_std, _seed(rng)), n_calib))
    pairs = interpolate(found.movedim(-1, 1).flatten(0, 1), (h, w), mode="bilinear").unflatten(0, (-1, 2))
    csm = torch.view_as_complex(pairs.movedim(1, -1).contiguous())
    norm = coils.rss(csm)
    return torch.where(norm > 0.5, csm / norm, 0)


def _mask(family: str, shape: tuple[int, int], rng: np.random.Generator, config: SimulationConfig) -> Tensor:
    acceleration = float(rng.uniform(*config.acceleration))
    if family == "equispaced":
        acceleration = round(acceleration)
    center_fraction = float(rng.uniform(*config.center)) / acceleration
    if family == "poisson":
        center_fraction = center_fraction**0.5 / 2  # a fraction of each side, and a smaller part of the samples
    return masks.draw(family, shape, acceleration, center_fraction, _seed(rng))


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
