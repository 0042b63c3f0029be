"""Images of the claims: degraded images with their errors, changed clean images, local degradations."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Bool, Float, Float32

import recon
from mriqf import metrics
from mriqf.io import KSpace
from mriqf.scoring.resolution import crop_to_support, resolve, support
from mriqf.studies._frame.inputs import Subject
from mriqf.studies.jpeg_report.acceleration import AccelerationConfig
from mriqf.studies.jpeg_report.acceleration.measure import FULL, Solved, undersample
from mriqf.training.degraded import draw
from mriqf.training.degraded.draw import local_error
from mriqf.training.groups.targets import noise_level
from recon.scale import image_scale
from recon.simulate import measure as simulated

Image = Float32[np.ndarray, "h w"]
Other = Float32[np.ndarray, "p q"]
"""An image of another size."""

TRAPS = (0.05, 0.2)
"""Penalties of L1-wavelet that smooth too much: 10 and 40 times the default."""
QUADRANTS = 4
BLUR = 2.0  # sigma of the local blur, pixels
ALIASING = 3  # R of the local aliasing
EDGE = 3.0  # sigma of the edge of what is pasted, pixels
LESION = 0.5  # brightness of a lesion, of the image's scale
RADII = (6, 10)  # of lesions, pixels


@dataclass(frozen=True)
class Case:
    """Degraded image and its errors."""

    image: Image
    """Magnitude, any unit."""
    error: Float32[np.ndarray, "h w"]
    """`local_error` in the object, -1 outside."""
    inside: Bool[np.ndarray, "h w"]
    """The object of the target."""
    nrmse: float
    ssim: float
    pixels: Float[np.ndarray, "h w"] | None = None
    """Magnitude of the error of each pixel, after the best scaling."""
    as_is: "Case | None" = None
    """Image before it was cropped to the support of its k-space; None if it fills the whole k-space."""


def magnitude(subject: Subject, index: int) -> Image:
    """Fully sampled magnitude image of a slice, of raw data with ESPIRiT's maps."""
    if isinstance(subject.data, KSpace):
        return undersample(subject, index, FULL, 1, 0, AccelerationConfig())[2][0, 0].numpy()
    return np.array(subject.data.read_slice(index)[0])


def degraded(target: Image, family: str, level: int | float, seed: int) -> Case:
    """Degrade a whole slice by one of the families, without rotation, cropping or a second degradation.

    Image and target are compared at the resolution that the image was acquired at.
    """
    example = draw(target, family, level, seed, vary=False, side=max(target.shape))
    as_is = Case(example.image, example.error, example.foreground, example.nrmse, example.ssim)
    return at_own_resolution(as_is, target)


def own_resolution(image: Image) -> Other:
    """Crop an image to the support of its k-space."""
    return crop_to_support(torch.from_numpy(np.ascontiguousarray(image, np.float32))[None, None])[0][0, 0].numpy()


def at_own_resolution(case: Case, target: Image) -> Case:
    """Crop image and target of a case to the support of the image's k-space, and compare them again."""
    image = torch.from_numpy(np.ascontiguousarray(case.image, np.float32))[None, None]
    size = support(image)
    if size == tuple(image.shape[2:]):
        return case
    small = [resolve(x, size)[0, 0].numpy() for x in (image, torch.from_numpy(target.astype(np.float32))[None, None])]
    if not (small[0].any() and small[1].any()):
        return case
    return replace(compare(*small), as_is=case)


def reconstructed(solved: Solved) -> dict[str, Case]:
    """Reconstructions of one measurement, by method."""
    return {
        name: at_own_resolution(compare(image, solved.target), solved.target) for name, image in solved.images.items()
    }


def compare(image: Image, target: Image) -> Case:
    """Compare an image with its target in the object, after the best scaling."""
    reference = torch.from_numpy(target)[None, None]
    region = metrics.object_mask(reference)
    matched = metrics.match_scale(torch.from_numpy(image)[None, None], reference, region)
    inside = region[0, 0].numpy()
    return Case(
        image,
        local_error(matched[0, 0].numpy(), target, inside),
        inside,
        metrics.nrmse(matched, reference, region).item(),
        metrics.ssim(matched, reference, region).item(),
        (matched - reference).abs()[0, 0].numpy(),
    )


def noise_share(target: Image) -> float:
    """NRMSE that a fully sampled image has by its own noise: noise level over the object's root mean square.

    An error against this image is an error against the object only beyond that.

    References
    ----------
    Wang, An and Haldar, The hidden-noise problem in MR image reconstruction, Magn Reson Med 2024,
    doi:10.1002/mrm.30100.
    """
    inside = metrics.object_mask(torch.from_numpy(target)[None, None])[0, 0].numpy()
    rms = float(np.sqrt(np.mean(target[inside].astype(float) ** 2)))
    return own_noise(target) / rms if rms > 0 else 0.0


def own_noise(image: Image) -> float:
    """Standard deviation of the noise of an image, in its unit."""
    return noise_level(torch.from_numpy(np.ascontiguousarray(image, np.float32))[None, None])


def over_smoothed(
    subject: Subject, index: int, acceleration: int, lam: float, config: AccelerationConfig
) -> tuple[Case, float]:
    """L1-wavelet reconstructions with too strong penalties, of the first family and seed, and the effective R."""
    kspace, sense, reference, crop = undersample(subject, index, config.families[0], acceleration, 0, config)
    image, target = (x[0, 0].numpy() for x in (crop(recon.l1_wavelet(kspace, sense, lam)).abs(), reference))
    return at_own_resolution(compare(image, target), target), recon.effective_acceleration(sense.mask)


def _padded(image: Image, rng: np.random.Generator) -> Other:  # noqa: ARG001 (one signature for all)
    return np.pad(image, [(n // 4, n // 4) for n in image.shape])


def _cropped(image: Image, rng: np.random.Generator) -> Other:  # noqa: ARG001
    return image[tuple(slice(round(0.1 * n), n - round(0.1 * n)) for n in image.shape)]


def _rounded(bits: int) -> Callable[[Image, np.random.Generator], Image]:
    def change(image: Image, rng: np.random.Generator) -> Image:  # noqa: ARG001
        levels = 2**bits - 1
        return np.round(image / image.max() * levels).astype(np.float32)

    return change


def _noisier(image: Image, rng: np.random.Generator) -> Image:
    added = 3**0.5 * own_noise(image) * rng.standard_normal((2, *image.shape))
    return np.hypot(image + added[0], added[1]).astype(np.float32)


def _quieter(image: Image, rng: np.random.Generator) -> Other:  # noqa: ARG001
    h, w = (n - n % 2 for n in image.shape)
    return image[:h, :w].reshape(h // 2, 2, w // 2, 2).mean((1, 3))


CHANGES: Mapping[str, Callable[[Image, np.random.Generator], Other]] = {
    "as is": lambda image, _: image,
    "scale × 0.1": lambda image, _: image * np.float32(0.1),
    "scale × 10": lambda image, _: image * np.float32(10),
    "padded × 1.5": _padded,
    "cropped to 80 %": _cropped,
    "8 bit": _rounded(8),
    "12 bit": _rounded(12),
    "16 bit": _rounded(16),
    "flipped up-down": lambda image, _: image[::-1],
    "flipped left-right": lambda image, _: image[:, ::-1],
    "transposed": lambda image, _: image.T,
    "noise × 0.5": _quieter,
    "noise × 2": _noisier,
}
"""Changes of a clean slice. Noise × 2 adds complex Gaussian noise of √3 times the slice's own. Noise × 0.5
cannot be had from one measurement at the same resolution: the slice is averaged over 2×2 pixels, which halves white
noise, and the matrix with it."""
UNCHANGED = ("scale × 0.1", "scale × 10", "padded × 1.5", "flipped up-down", "flipped left-right", "transposed")
"""Changes that must not change a score."""
NOISE: Mapping[str, float] = {"noise × 0.5": 0.5, "noise × 2": 2.0}
"""Factors by which changes scale the noise."""


def changed(image: Image, change: str, seed: int) -> Other:
    """Apply one of `CHANGES` to a clean slice."""
    return np.ascontiguousarray(CHANGES[change](image, np.random.default_rng(seed)), np.float32)


@dataclass(frozen=True)
class LocalDegradation:
    """Image with a local degradation in one quadrant of the object."""

    image: Image
    wrong: Bool[np.ndarray, "h w"]
    inside: Bool[np.ndarray, "h w"]


def degrade_locally(target: Image, kind: str, quadrant: int, seed: int) -> LocalDegradation:
    """Degrade one quadrant of an image.

    Parameters
    ----------
    target
        Clean slice.
    kind
        One of `FLAWS`. A missing lesion is in the target and not in the image, which shows nothing wrong: no map
        without a reference can find it, and none is expected to. An invented one is in the image alone.
    quadrant
        0 to 3: of the object's bounding box.
    seed
        Seed of coils, phase and noise, or of the lesion's place and size.
    """
    from scipy.ndimage import gaussian_filter

    inside = metrics.object_mask(torch.from_numpy(target)[None, None])[0, 0].numpy()
    part = object_quadrant(inside, quadrant)
    if kind in ("missing lesion", "invented lesion"):
        disc = random_disc(inside & part, np.random.default_rng(seed))
        scale = image_scale(torch.from_numpy(target)[None, None]).item()
        lesion = LESION * scale * gaussian_filter(disc.astype(np.float32), 1.0)
        return LocalDegradation(target if kind == "missing lesion" else target + lesion, disc & inside, inside)
    if kind == "blur":
        degraded = gaussian_filter(target, BLUR)
    else:
        simulation = simulated(target, "equispaced", ALIASING, seed)
        aliased = recon.zero_filled(simulation.kspace, simulation.sense).abs()
        reference = torch.from_numpy(target)[None, None]
        degraded = metrics.match_scale(aliased, reference, torch.from_numpy(inside)[None, None])[0, 0].numpy()
    share = gaussian_filter(part.astype(np.float32), EDGE)
    return LocalDegradation(((1 - share) * target + share * degraded).astype(np.float32), part & inside, inside)


FLAWS = ("blur", "aliasing", "missing lesion", "invented lesion")


def object_quadrant(inside: Bool[np.ndarray, "h w"], quadrant: int) -> Bool[np.ndarray, "h w"]:
    """Mask of a quadrant, 0 to 3, about the centre of the object's bounding box."""
    rows, columns = (np.flatnonzero(inside.any(axis)) for axis in (1, 0))
    down, across = int(rows[0] + rows[-1] + 1) // 2, int(columns[0] + columns[-1] + 1) // 2
    y, x = np.indices(inside.shape)
    return ((y >= down) == bool(quadrant // 2)) & ((x >= across) == bool(quadrant % 2))


def random_disc(where: Bool[np.ndarray, "h w"], rng: np.random.Generator) -> Bool[np.ndarray, "h w"]:
    """Mask of a disc with a random centre, within the region if it fits."""
    from scipy.ndimage import distance_transform_edt

    radius = int(rng.integers(RADII[0], RADII[1] + 1))
    depth = np.asarray(distance_transform_edt(np.pad(where, 1)))[1:-1, 1:-1]
    rows, columns = np.nonzero(depth >= min(radius, depth.max()))  # wholly in the quadrant, where it is large enough
    k = int(rng.integers(len(rows)))
    y, x = np.indices(where.shape)
    return (y - rows[k]) ** 2 + (x - columns[k]) ** 2 <= radius**2
