"""Predictions of the trained arms on test subjects: qualities of patches, and dependence on the 8×8 grid."""

import zlib
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, Float32, UInt8
from torch import Tensor

from mriqf.io import Volume
from mriqf.jpeg import compress_pixels
from mriqf.metrics.foreground import foreground_mask
from mriqf.predictors.qf import CLASS_QUALITIES, QFPredictor
from mriqf.scoring.scale import normalise, volume_scale
from mriqf.studies._frame.inputs import Inputs, Subject
from mriqf.studies._frame.table import Task, Value
from mriqf.studies.jpeg_report.sampling.arms import Arm, Config
from mriqf.training.qf import likely_class

Models = Mapping[tuple[Arm, int], QFPredictor]

KEY = ("arm", "seed", "dataset", "subject", "slice", "quality")
COLUMNS = ("row", "column", "score", "class")
GRID_KEY = ("arm", "seed", "dataset", "subject", "slice", "compression", "phase")
GRID_COLUMNS = ("score", "energy", "peak", "moved", "stayed")

GRID_QUALITIES = (10, 30, 50, 80)
NONE = "none"  # stands for a patch that is not compressed
WINDOW = 96  # pixels, side of the windows in which the grid is moved
RIM = 16  # pixels of a window whose features see its border, on each side
AT_ONCE = 8  # patches: they stay in the processor's cache
SHOWN = (10, 50, 90)  # qualities of the pictures of features
SHOWN_ARMS: tuple[Arm, ...] = ("uniform", "neglog", "fov13", "fov16")


def prediction_tasks(inputs: Inputs, models: Models, config: Config) -> list[Task]:
    """Task for each slice: a patch for each quality, the same patches for all arms."""
    qualities = np.unique(np.linspace(1, 100, config.qualities).round().astype(int))

    def task(subject: Subject, index: int) -> Task:
        def measure() -> Iterator[dict[str, Value]]:
            image, inside = read_image(subject, index, max(config.patch, WINDOW + 16))
            rng = generator(subject, index)
            corners = [draw_corner(inside, rng, config.patch) for _ in qualities]
            cuts = [image[y : y + config.patch, x : x + config.patch] for y, x in corners]
            patches = as_batch([compress_pixels(cut, int(q)) for cut, q in zip(cuts, qualities, strict=True)])
            for model in models.values():
                for (y, x), score, label in zip(corners, *read_patches(model, patches), strict=True):
                    yield {"row": y, "column": x, "score": score, "class": label}

        rest = (subject.dataset, subject.name, index)
        return Task(tuple((arm, seed, *rest, int(q)) for arm, seed in models for q in qualities), measure)

    return [task(subject, index) for subject in inputs.subjects for index in subject.slices(config.slices)]


def grid_tasks(inputs: Inputs, models: Models, config: Config) -> list[Task]:
    """Task for each slice: one window at all phases of the grid, the same for all arms."""
    settings = [*((str(q), phase) for q in GRID_QUALITIES for phase in range(8)), (NONE, 0)]

    def task(subject: Subject, index: int) -> Task:
        def measure() -> Iterator[dict[str, Value]]:
            image, corner = draw_window(subject, index)
            batch = as_batch([move_grid(image, corner, compression, phase) for compression, phase in settings])
            for model in models.values():
                features, scores = last_features(model, batch), read_patches(model, batch)[0]
                patterns = [pattern(f, model.stride) for f in features]
                for k, (_, phase) in enumerate(settings):
                    energy, peak = grid_energy(features[k], model.stride)
                    yield {
                        "score": scores[k],
                        "energy": energy,
                        "peak": peak,
                        **follow(patterns[k - phase], patterns[k], phase, model.stride),
                    }

        rest = (subject.dataset, subject.name, index)
        return Task(tuple((arm, seed, *rest, *setting) for arm, seed in models for setting in settings), measure)

    return [task(subject, index) for subject in inputs.subjects for index in subject.slices(config.slices)]


def activations(inputs: Inputs, models: Models) -> dict[str, np.ndarray]:
    """Features of one window at a few qualities and uncompressed, with its pixels, each named "arm quality"."""
    subject = inputs.subjects[0]
    image, corner = draw_window(subject, subject.slices(1)[0])
    images = {}
    for compression in (*map(str, SHOWN), NONE):
        batch = as_batch([move_grid(image, corner, compression, 0)])
        images[f"image {compression}"] = np.round(255 * batch[0, 0, RIM:-RIM, RIM:-RIM].numpy()).astype(np.uint8)
        for (arm, seed), model in models.items():
            if arm in SHOWN_ARMS and seed == min(s for _, s in models):
                images[f"{arm} {compression}"] = last_features(model, batch)[0].astype(np.float32)
    return images


def move_grid(
    image: UInt8[np.ndarray, "h w"], corner: tuple[int, int], compression: str, phase: int
) -> UInt8[np.ndarray, "n n"]:
    """Compress a window on a grid that begins `phase` pixels above and left of it; the content does not move."""
    if compression == NONE:
        phase = 0
    y, x = (c - phase for c in corner)
    pixels = image[y : y + WINDOW + 8, x : x + WINDOW + 8]
    if compression != NONE:
        pixels = compress_pixels(pixels, int(compression))
    return pixels[phase : phase + WINDOW, phase : phase + WINDOW]


@torch.inference_mode()
def last_features(model: QFPredictor, images: Float[Tensor, "b 1 n n"]) -> Float32[np.ndarray, "b i j"]:
    """Mean magnitude of the penultimate features, without the window's rim."""
    rim = RIM // model.stride
    features = torch.cat([model.body(model.stem(part)).abs().mean(1) for part in images.split(AT_ONCE)])
    return features[:, rim:-rim, rim:-rim].numpy()


def grid_energy(features: Float[np.ndarray, "n n"], stride: int) -> tuple[float, float]:
    """Spectral energy at multiples of 1/8 per pixel: fraction of the total, and ratio to neighbouring frequencies.

    The share also grows when features become rougher. Peaks are measured against the eight frequencies around each.
    The mean is left out of both.
    """
    n = len(features)
    power = np.abs(np.fft.fft2(features - features.mean(dtype=np.float64))) ** 2
    step = n * stride // 8
    near = np.mean([np.roll(power, (i, j), (0, 1)) for i in (-1, 0, 1) for j in (-1, 0, 1) if i or j], 0)
    grid, around = (p[::step, ::step].ravel()[1:].sum() for p in (power, near))
    least = 1e-12 * n**2
    return float(grid / max(power.sum(), least)), float((grid + least) / (around + least))


def pattern(features: Float[np.ndarray, "i j"], stride: int) -> Float[np.ndarray, "p p"]:
    """Mean over the blocks of 8×8 pixels: the part that repeats with the grid."""
    period = 8 // stride
    rows, columns = (n // period for n in features.shape)
    return features.reshape(rows, period, columns, period).mean((0, 2), dtype=np.float64)


def follow(
    still: Float[np.ndarray, "p p"], moved: Float[np.ndarray, "p p"], phase: int, stride: int
) -> dict[str, float]:
    """Correlation of the repeating patterns under a moved grid and the first one, with and without shifting the latter.

    NaN unless the grid was moved by whole cells.
    """
    if phase == 0 or phase % stride:
        return {"moved": float("nan"), "stayed": float("nan")}
    along = np.roll(still, (-phase // stride, -phase // stride), (0, 1))
    return {"moved": correlation(along, moved), "stayed": correlation(still, moved)}


def correlation(a: Float[np.ndarray, "p p"], b: Float[np.ndarray, "p p"]) -> float:
    """Linear correlation; 0 where either side is constant."""
    if a.std() < 1e-9 or b.std() < 1e-9:
        return 0.0
    return float(np.corrcoef(a.ravel(), b.ravel())[0, 1])


@torch.inference_mode()
def read_patches(model: QFPredictor, patches: Float[Tensor, "b 1 n n"]) -> tuple[list[float], list[float]]:
    """Score of each patch, the mean of its map, and its likeliest class; NaN without classes."""
    parts = patches.split(AT_ONCE)
    scores = [s for part in parts for s in model(part).mean((1, 2, 3)).tolist()]
    if model.config.head == "regression":
        return scores, [float("nan")] * len(scores)
    return scores, [float(CLASS_QUALITIES[k]) for part in parts for k in likely_class(model, part).tolist()]


def read_image(subject: Subject, index: int, least: int) -> tuple[UInt8[np.ndarray, "h w"], Bool[np.ndarray, "h w"]]:
    """A slice in grey levels, on the scale of its volume, and its foreground.

    Raises
    ------
    ValueError
        If it is not a magnitude image of at least `least`² pixels.
    """
    volume: Any = subject.data
    if not isinstance(volume, Volume) or volume.channels != 1:
        raise ValueError(f"{subject.name}: is no grey image: the study takes magnitude images")
    if min(volume.shape) < least:
        raise ValueError(
            f"{subject.name}: slices are {volume.shape[0]}×{volume.shape[1]}: give {least}×{least} or more"
        )
    scale = volume_scale(volume)
    image = normalise(volume.read_slice(index), scale)
    return np.round(255 * image[0]).astype(np.uint8), foreground_mask(image, scale.threshold)


def draw_window(subject: Subject, index: int) -> tuple[UInt8[np.ndarray, "h w"], tuple[int, int]]:
    """A slice, and the corner of a window in its foreground around which the grid has room to move."""
    image, inside = read_image(subject, index, WINDOW + 16)
    y, x = draw_corner(inside, generator(subject, index), WINDOW + 16)
    return image, (y + 8, x + 8)


def draw_corner(inside: Bool[np.ndarray, "h w"], rng: np.random.Generator, size: int) -> tuple[int, int]:
    """Corner of a square that lies at least half in the foreground: of 200 tries the first, or else the last."""
    y = x = 0
    for _ in range(200):
        y, x = (int(rng.integers(n - size + 1)) for n in inside.shape)
        if inside[y : y + size, x : x + size].mean() >= 0.5:
            break
    return y, x


def generator(subject: Subject, index: int) -> np.random.Generator:
    """Random numbers of one slice, the same for all arms and in every run."""
    return np.random.default_rng((zlib.crc32(f"{subject.dataset}/{subject.name}".encode()), index))


def as_batch(patches: list[UInt8[np.ndarray, "n n"]]) -> Float[Tensor, "b 1 n n"]:
    """Grey levels to images in [0, 1]."""
    return torch.from_numpy(np.stack(patches)).float()[:, None] / 255
