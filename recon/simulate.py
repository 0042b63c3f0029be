"""Training problems from magnitude images: random phase, coils, noise and masks, with the truth beside them."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Complex, Float
from torch import Tensor
from torch.nn.functional import avg_pool2d

from recon import coils, masks
from recon.modl import image_scale
from recon.operator import Sense


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
    """How often coil maps end at the object's border, as maps estimated by ESPIRiT do."""


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
    if rng.random() < config.support:
        object_ = avg_pool2d(target.abs(), 9, stride=1, padding=4) > 0.1
        csm, target = csm * object_, target * object_
    corners = [(int(rng.integers(h - shape[0] + 1)), int(rng.integers(w - shape[1] + 1))) for _ in range(n)]
    target = _crop(target, corners, shape)
    csm = _crop(csm.expand(n, -1, -1, -1), corners, shape)
    n_masks = 1 if family == "poisson" else n  # which are slow to draw
    mask = torch.stack([_mask(family, shape, rng, config) for _ in range(n_masks)])
    noise_std = float(np.exp(rng.uniform(*np.log(config.noise_std))))
    kspace = coils.simulate_kspace(target, csm, noise_std, _seed(rng))
    return Problem(kspace, Sense(mask.reshape(n_masks, 1, -1, shape[1]), csm), target)


def measure(
    image: Float[np.ndarray, "h w"],
    family: str,
    acceleration: int | float,
    seed: int,
    *,
    center_fraction: float | None = None,
    n_coils: int = 8,
    noise_std: float = 0.01,
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
    """
    magnitude = torch.from_numpy(image.astype(np.float32))[None, None]
    h, w = image.shape
    target = magnitude * coils.smooth_phase((h, w), seed) / image_scale(magnitude)
    csm = coils.loops(n_coils, (h, w), seed)
    if center_fraction is None:
        center_fraction = 1 / 12 if family == "poisson" else 0.32 / acceleration
    mask = masks.draw(family, (h, w), acceleration, center_fraction, seed)
    return Problem(coils.simulate_kspace(target, csm, noise_std, seed), Sense(mask, csm), target)


def _mask(family: str, shape: tuple[int, int], rng: np.random.Generator, config: SimulationConfig) -> Tensor:
    acceleration = float(rng.uniform(*config.acceleration))
    if family == "equispaced":
        acceleration = round(acceleration)
    center_fraction = float(rng.uniform(*config.center)) / acceleration
    if family == "poisson":
        center_fraction = center_fraction**0.5 / 2  # a fraction of each side, and a smaller part of the samples
    return masks.draw(family, shape, acceleration, center_fraction, _seed(rng))


def _crop(x: Tensor, corners: list[tuple[int, int]], shape: tuple[int, int]) -> Tensor:
    return torch.stack([
        image[:, y : y + shape[0], x0 : x0 + shape[1]] for image, (y, x0) in zip(x, corners, strict=True)
    ])  # fmt: skip


def _seed(rng: np.random.Generator) -> int:
    return int(rng.integers(2**31))
