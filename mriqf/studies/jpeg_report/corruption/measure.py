"""Scores of patches under corruptions of rising severity.

The score of a patch is the mean of the network's map and nothing else: no foreground, no search for a JPEG lattice.
"""

import functools
import hashlib
import io
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float32
from PIL import Image

from mriqf.io import Volume
from mriqf.jpeg import compress_pixels
from mriqf.metrics.foreground import foreground_mask
from mriqf.predictors.base import Predictor, load_predictor
from mriqf.predictors.inference import predict_map
from mriqf.scoring.scale import normalise, volume_scale
from mriqf.scoring.scorer import check_channels
from mriqf.studies._frame.inputs import Inputs, Subject
from mriqf.studies._frame.table import Task, Value
from mriqf.training.manifest import content_hash
from mriqf.weights import config_dict, find

KEY = ("dataset", "subject", "slice", "patch", "weights", "corruption", "level")
COLUMNS = ("value", "score", "psnr")

# Severities, mildest first; level 0 is the untouched patch. In even steps, but for the ratios.
LEVELS: dict[str, tuple[float, ...]] = {
    "blur": (0.4, 0.8, 1.2, 1.6, 2.0, 2.4, 2.8, 3.2),
    "salt-and-pepper": (0.01, 0.02, 0.03, 0.04, 0.05, 0.06, 0.07, 0.08),
    "noise": (0.01, 0.02, 0.03, 0.04, 0.05, 0.06, 0.07, 0.08),
    "rician": (0.01, 0.02, 0.03, 0.04, 0.05, 0.06, 0.07, 0.08),
    "jpeg": (90, 80, 70, 60, 50, 40, 30, 20),
    "jpeg2000": (4, 6, 8, 12, 16, 24, 32, 48),
}
UNITS = {
    "blur": "Gaussian blur: sigma, pixels",
    "salt-and-pepper": "salt and pepper: share of pixels",
    "noise": "Gaussian noise: sd, of the range",
    "rician": "Rician noise: sd, of the range",
    "jpeg": "JPEG: quality",
    "jpeg2000": "JPEG 2000: compression ratio",
}
N_LEVELS = 9

IN_OBJECT = 0.5
"""Minimum fraction of a patch inside the object."""


@dataclass(frozen=True)
class CorruptionConfig:
    """Patches, corruptions and weights of the study."""

    gray_weights: tuple[str, ...] = ("qf-gray",)
    """Names or paths of predictors for grey images, and for the luma of RGB images."""
    rgb_weights: tuple[str, ...] = ("qf-rgb",)
    """Names or paths of predictors for RGB images."""
    side: int = 128
    """Side of a patch, pixels."""
    patches: int = 2
    """Patches of each image, at random positions, the same for every corruption."""
    slices: int = 4
    """Slices of each volume, evenly spaced."""
    most: int | None = None
    """Subjects of a data set, evenly spaced; all if not given."""
    seed: int = 0
    """Seed of positions and noise."""


def metadata(inputs: Inputs, config: CorruptionConfig) -> dict[str, Any]:
    """Metadata that identify a table of this study."""
    names = (*config.gray_weights, *config.rgb_weights)
    weights = {name: content_hash(find(name)) for name in names}
    return {"study": "corruption", "config": config_dict(config), "data": inputs.hashes, "weights": weights}


def tasks(inputs: Inputs, config: CorruptionConfig) -> list[Task]:
    """Task for each image: its patches under all corruptions at all levels.

    Raises
    ------
    ValueError
        If an image is smaller than the patches, or weights take another number of channels.
    """
    gray = {Path(name).stem: load_predictor(name) for name in config.gray_weights}
    rgb = {Path(name).stem: load_predictor(name) for name in config.rgb_weights}
    for models, channels in ((gray, 1), (rgb, 3)):
        for model in models.values():
            check_channels(channels, model)
    pending = []
    for subject in inputs.subjects:
        volume, side = subject.data, config.side
        if not isinstance(volume, Volume):
            raise ValueError(f"{subject.name} is raw data: reconstruct it first")
        if min(volume.shape) < side:
            raise ValueError(f"{subject.name} is {volume.shape[0]}×{volume.shape[1]}: choose a --side below {side}")
        views = [("rgb", rgb), ("luma", gray)] if volume.channels == 3 else [("grey", gray)]
        for index in subject.slices(config.slices):
            keys = tuple(
                (subject.dataset, subject.name, index, patch, name, corruption, level)
                for patch in range(config.patches)
                for view, models in views
                for name in models
                for corruption in _corruptions(view)
                for level in range(N_LEVELS)
            )
            pending.append(Task(keys, functools.partial(_measure, subject, volume, index, config, dict(views))))
    return pending


def _corruptions(view: str) -> list[str]:
    """Rician noise is that of magnitude images: photographs have none."""
    return [name for name in LEVELS if name != "rician" or view == "grey"]


def _measure(
    subject: Subject, volume: Volume, index: int, config: CorruptionConfig, views: Mapping[str, dict[str, Predictor]]
) -> Iterator[dict[str, Value]]:
    scale = volume_scale(volume)  # of the undamaged volume
    image = normalise(volume.read_slice(index), scale)
    foreground = foreground_mask(image, scale.threshold)
    for patch in range(config.patches):
        text = f"{config.seed}/{subject.dataset}/{subject.name}/{index}/{patch}"
        seed = int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big")
        y, x = place(foreground, config.side, np.random.default_rng(seed))
        cut = image[:, y : y + config.side, x : x + config.side]
        for view, models in views.items():
            clean = luma(cut) if view == "luma" else cut
            levels = [(name, level) for name in _corruptions(view) for level in range(N_LEVELS)]
            values = [LEVELS[name][level - 1] if level else float("nan") for name, level in levels]
            images = [
                corrupt(clean, name, value, seed) if level else clean
                for (name, level), value in zip(levels, values, strict=True)
            ]
            for model in models.values():
                scores = predict_map(model, torch.from_numpy(np.stack(images))).mean((1, 2, 3)).tolist()
                for value, score, corrupted in zip(values, scores, images, strict=True):
                    yield {"value": value, "score": score, "psnr": _psnr(corrupted, clean)}


def place(foreground: Bool[np.ndarray, "h w"], side: int, rng: np.random.Generator) -> tuple[int, int]:
    """First row and column of a random square with at least half its pixels in the object, else of the fullest one.

    Parameters
    ----------
    foreground
        The object.
    side
        Side of the square, pixels, at most that of the image.
    """
    total = np.pad(foreground.cumsum(0).cumsum(1), ((1, 0), (1, 0)))
    inside = total[side:, side:] - total[:-side, side:] - total[side:, :-side] + total[:-side, :-side]
    rows, columns = np.nonzero(inside >= min(IN_OBJECT * side**2, inside.max()))
    chosen = rng.integers(len(rows))
    return int(rows[chosen]), int(columns[chosen])


def luma(rgb: Float32[np.ndarray, "3 h w"]) -> Float32[np.ndarray, "1 h w"]:
    """Full-range luma of BT.601, as in JPEG."""
    return np.einsum("c, chw -> hw", np.array([0.299, 0.587, 0.114], np.float32), rgb)[None]


def corrupt(
    patch: Float32[np.ndarray, "ch h w"], name: str, value: int | float, seed: int
) -> Float32[np.ndarray, "ch h w"]:
    """Corrupt a patch in [0, 1]; at equal seed, levels differ in the strength of the noise only.

    Rounded to 8 bit for the JPEGs alone. Salt and pepper are white and black pixels in equal parts, in all channels.

    Parameters
    ----------
    name
        One of `LEVELS`.
    value
        Severity, in the unit of `UNITS`.
    seed
        Seed of the noise.

    Raises
    ------
    ValueError
        If there is no such corruption.
    """
    from scipy.ndimage import gaussian_filter

    rng = np.random.default_rng(seed)
    if name == "blur":
        return gaussian_filter(patch, (0, value, value))
    if name == "salt-and-pepper":
        chance = rng.random(patch.shape[1:])
        return np.where(chance < value / 2, np.float32(0), np.where(chance >= 1 - value / 2, np.float32(1), patch))
    if name in ("noise", "rician"):
        real, imaginary = value * rng.standard_normal((2, *patch.shape))
        noisy = patch + real if name == "noise" else np.hypot(patch + real, imaginary)
        return noisy.clip(0, 1).astype(np.float32)
    if name in ("jpeg", "jpeg2000"):
        pixels = np.round(255 * patch).astype(np.uint8)
        picture = pixels[0] if len(pixels) == 1 else np.moveaxis(pixels, 0, -1)
        decoded = compress_pixels(picture, int(value)) if name == "jpeg" else _jpeg2000(picture, value)
        return np.moveaxis(np.atleast_3d(decoded), -1, 0).astype(np.float32) / 255
    raise ValueError(f"corruption is {name!r}: choose one of {', '.join(LEVELS)}")


def _jpeg2000(picture: np.ndarray, ratio: int | float) -> np.ndarray:
    buffer = io.BytesIO()
    Image.fromarray(picture).save(
        buffer, "JPEG2000", irreversible=True, quality_mode="rates", quality_layers=[float(ratio)]
    )
    return np.asarray(Image.open(buffer))


def _psnr(corrupted: np.ndarray, clean: np.ndarray) -> float:
    """PSNR in decibels, peak 1; NaN if nothing changed."""
    error = float(np.square(corrupted - clean, dtype=np.float64).mean())
    return -10 * float(np.log10(error)) if error > 0 else float("nan")
