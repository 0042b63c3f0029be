"""Measurements for the claims on JPEG and on speed."""

import time
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from statistics import median

import numpy as np
import torch
from jaxtyping import Bool, Float32, UInt8

from mriqf.io import Volume, from_array
from mriqf.jpeg import compress_pixels
from mriqf.jpeg.lattice import estimate_quality
from mriqf.metrics.foreground import foreground_mask
from mriqf.predictors.base import Predictor
from mriqf.predictors.inference import predict_map
from mriqf.scoring.scale import normalise, percentile_scale, volume_scale
from mriqf.scoring.slices import score_slices
from mriqf.studies._frame.inputs import Subject
from mriqf.studies._frame.table import Task, Value
from mriqf.studies.benchmark.cases import magnitude
from mriqf.studies.benchmark.metrics import Metrics
from mriqf.studies.jpeg_report.corruption.measure import luma, place

PATCH = 64
RANGES = {"5-95": (5, 95), "80-98": (80, 98)}
GRIDS = ("aligned", "cropped")
SIDE = 320
ROUNDS = 20
WARM_UP = 3
BATCH = 4


def jpeg_tasks(slices: Sequence[tuple[Subject, int]], metrics: Metrics, split: str, qualities: int) -> Iterator[Task]:
    """A task for each image: patches at random qualities of each range, on the grid and cropped off it."""
    for subject, index in slices:
        key = ("jpeg", split, subject.dataset, subject.name, index)
        rng = np.random.default_rng(zlib.crc32("/".join(map(str, key)).encode()))
        draws = [
            (grid, int(rng.integers(low, high + 1)), number, name)
            for name, (low, high) in RANGES.items()
            for grid in GRIDS
            for number in range(qualities)
        ]
        seed = int(rng.integers(2**31))

        def measure(subject=subject, index=index, draws=draws, seed=seed) -> Iterator[Mapping[str, Value]]:
            pixels, inside = grey_levels(subject, index)
            rng = np.random.default_rng(seed)
            for grid, quality, _, _ in draws:
                patch = compressed_patch(pixels, inside, quality, grid, rng)
                image = torch.from_numpy(patch.astype(np.float32))[None, None] / 255
                lattice = estimate_quality(image[0, 0], unknown_phase=grid == "cropped", max_blocks=512)
                read = {f"score {n}": float(predict_map(m, image).mean()) for n, m in metrics.weights.items()}
                yield {"lattice": lattice.candidate, **read}

        yield Task(tuple((*key, *draw) for draw in draws), measure)


def grey_levels(subject: Subject, index: int) -> tuple[UInt8[np.ndarray, "h w"], Bool[np.ndarray, "h w"]]:
    """An image in 8 bit, photographs as luma, and its foreground."""
    if isinstance(subject.data, Volume) and subject.data.channels == 3:
        raw = subject.data.read_slice(index)
        top = 255 if raw.max() > 1 else 1
        levels = np.round(255 * luma(raw / np.float32(top))[0]).astype(np.uint8)
        return levels, np.ones(levels.shape, bool)
    image = magnitude(subject, index)[None]
    scale = percentile_scale([image])
    unit = normalise(image, scale)
    return np.round(255 * unit[0]).astype(np.uint8), foreground_mask(unit, scale.threshold)


def compressed_patch(
    pixels: UInt8[np.ndarray, "h w"], inside: Bool[np.ndarray, "h w"], quality: int, grid: str, rng: np.random.Generator
) -> UInt8[np.ndarray, "n n"]:
    """A random patch, at least half of it object, compressed alone, or with a rim that is cut off unevenly."""
    rim = 8 if grid == "cropped" else 0
    y, x = place(inside, PATCH + rim, rng)
    part = compress_pixels(np.ascontiguousarray(pixels[y : y + PATCH + rim, x : x + PATCH + rim]), quality)
    dy, dx = rng.integers(1, 8, size=2) if rim else (0, 0)
    return part[dy : dy + PATCH, dx : dx + PATCH]


def speed_tasks(metrics: Metrics, split: str) -> Iterator[Task]:
    """Milliseconds of the predictor and of the whole scoring by number of threads, and repeatability of scores."""
    key = ("speed", split, "phantom", "phantom", 0)
    for threads in (1, 2):
        keys = tuple((*key, what, threads, 0, name) for name in metrics.weights for what in ("predictor", "scoring"))
        yield Task(keys, lambda threads=threads: _timed(metrics.weights, threads))
    kinds = ("batch", "double precision", "threads")
    yield Task(
        tuple((*key, kind, 0, 0, name) for name in metrics.weights for kind in kinds),
        lambda: ({"value": moved(m)[kind]} for m in metrics.weights.values() for kind in kinds),
    )


def phantom(n: int) -> Float32[np.ndarray, "n h w"]:
    """Ellipses with texture on a noise floor."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[-1 : 1 : SIDE * 1j, -1 : 1 : SIDE * 1j]
    inside = (x / 0.7) ** 2 + (y / 0.85) ** 2 < 1
    images = np.stack([inside * (0.6 + 0.3 * np.sin(12 * x + k) * np.cos(9 * y)) for k in range(n)])
    return np.abs(1000 * (images + 0.02 * rng.standard_normal(images.shape))).astype(np.float32)


def moved(model: Predictor) -> dict[str, float]:
    """Largest change of a slice's score, in points: batch or alone, float64 or float32 pixels, one or two threads."""
    images = phantom(BATCH)
    volume = from_array(images)
    scale = volume_scale(volume)

    def scores(batch: int, read: Callable = volume.read_slice) -> np.ndarray:
        slices = score_slices(read, range(BATCH), model, scale=scale, batch_size=batch, together=True)
        return np.array([s.value for s in slices])

    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(2)
        two = scores(1)
        torch.set_num_threads(1)
        one = scores(1)
    finally:
        torch.set_num_threads(threads)
    double = from_array(images.astype(np.float64))
    again = score_slices(double.read_slice, range(BATCH), model, scale=volume_scale(double))
    return {
        "batch": float(np.abs(scores(BATCH) - scores(1)).max()),
        "double precision": float(np.abs(np.array([s.value for s in again]) - scores(1)).max()),
        "threads": float(np.abs(two - one).max()),
    }


def _timed(models: Mapping[str, Predictor], threads: int) -> Iterator[Mapping[str, Value]]:
    """Median times of all models, measured in turns so that a busy moment affects all."""
    image = phantom(1)
    unit = torch.from_numpy(image / image.max())[None]
    volume = from_array(image)

    def score(model: Predictor) -> object:
        return list(score_slices(volume.read_slice, [0], model, scale=volume_scale(volume)))

    jobs = [
        job
        for model in models.values()
        for job in (lambda model=model: predict_map(model, unit), lambda model=model: score(model))
    ]
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        times = [[_seconds(job) for job in jobs] for _ in range(ROUNDS + WARM_UP)][WARM_UP:]
    finally:
        torch.set_num_threads(before)
    for job in zip(*times, strict=True):
        yield {"value": 1000 * median(job)}


def _seconds(job: Callable[[], object]) -> float:
    start = time.perf_counter()
    job()
    return time.perf_counter() - start
