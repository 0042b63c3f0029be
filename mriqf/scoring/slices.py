"""Slices to scores, a batch at a time: normalisation, foreground, network, pooling, calibration."""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Bool, Float32

from mriqf.calibration import Calibration
from mriqf.calibration.domain import describe
from mriqf.jpeg.lattice import Lattice
from mriqf.metrics.foreground import foreground_mask
from mriqf.predictors.base import ErrorModel, Predictor
from mriqf.predictors.inference import batches, predict_map, read_errors
from mriqf.predictors.unit import score_of_error
from mriqf.scoring.compression import WITHIN
from mriqf.scoring.foreground import content
from mriqf.scoring.pooling import cell_weight, choose_pool, pool_map, upsample_map
from mriqf.scoring.result import SliceScore
from mriqf.scoring.scale import Scale, normalise

SMALLEST = 32
"""Pixels that an image must have each way; what a predictor lacks is reflected at the borders."""
TOGETHER = 2**22  # values of slices that go through a predictor at once, which takes up to 0.2 kB for each


def score_slices(
    read_slice: Callable[[int], Float32[np.ndarray, "ch h w"]],
    indices: Sequence[int],
    model: Predictor,
    *,
    pool: str = "auto",
    scale: Scale,
    mask: Callable[[int], Bool[np.ndarray, "h w"]] | None = None,
    lattice: Lattice | None = None,
    calibration: Calibration | None = None,
    unresolved: Callable[[int], float] | None = None,
    compressed: Callable[[int, Bool[np.ndarray, "h w"]], float] | None = None,
    flips: bool = False,
    batch_size: int = 8,
    together: bool | None = None,
) -> Iterator[SliceScore]:
    """Score slices one batch at a time, holding no more than a batch in memory.

    On a GPU, slices of a batch that are equally large go through the predictor together, and their scores move by
    rounding with the batch. On a processor they go one at a time: no score depends on the batch.

    Parameters
    ----------
    read_slice
        Gives one slice in raw units.
    indices
        Slices to score, in this order.
    model
        A predictor with as many channels as the slices.
    pool
        See `choose_pool`.
    scale
        Scale of the whole volume: `volume_scale`.
    mask
        The user's own foreground of a slice, instead of the automatic one.
    lattice
        Lattice of an earlier JPEG compression, where there is one (`jpeg_trace`): cells are laid on its grid.
    calibration
        Calibration of the predictor and pool: `mriqf.calibration.file.attached`.
    unresolved
        Error of a slice that comes on top, of predictors of errors: `mriqf.scoring.resolution.unresolved_error`.
    compressed
        Error of a slice's object by an earlier JPEG compression, relative to its root mean square; predictors of errors
        tell no less.
    flips
        Average the readings of predictors of errors over all eight orientations of a slice.
    batch_size
        Slices in memory at a time, and through the predictor at once.
    together
        False scores one slice at a time whatever the batch; if not given, as suits the device
        (`mriqf.predictors.inference.batches`).

    Raises
    ------
    ValueError
        If a slice has less than 32 pixels each way.
    """
    pool = choose_pool(pool, model)
    scale = own_scale(scale, model)
    if not (batches(model.device) if together is None else together):
        batch_size = 1
    for start in range(0, len(indices), batch_size):
        seen = [
            _see(index, read_slice(index), mask(index) if mask else None, model, scale, lattice)
            for index in indices[start : start + batch_size]
        ]
        for group in _alike(seen):
            yield from _judge(group, model, pool, calibration, unresolved, compressed, flips)


@dataclass(frozen=True)
class _Seen:
    """A slice as the predictor sees it: its content, normalised."""

    index: int
    whole: Float32[np.ndarray, "ch h w"]
    """The normalised slice with what is empty around it."""
    box: tuple[slice, slice]
    image: Float32[np.ndarray, "ch m n"]
    """The content, continued by reflection where it is smaller than the predictor sees."""
    inside: Bool[np.ndarray, "m n"]
    """The foreground of that."""
    frame: tuple[slice, slice]
    """Place of the content in it."""
    foreground: Bool[np.ndarray, "i j"]
    """Foreground of the content."""
    given: Bool[np.ndarray, "h w"] | None
    """The user's own foreground of the whole slice."""
    grid_offset: tuple[int, int]
    """Pixels by which cells begin before the content: those of the JPEG block that holds its first pixel."""


def _see(
    index: int,
    raw: Float32[np.ndarray, "ch h w"],
    given: Bool[np.ndarray, "h w"] | None,
    model: Predictor,
    scale: Scale,
    lattice: Lattice | None,
) -> _Seen:
    box = content(raw, model.receptive_field)
    whole = normalise(raw, scale)
    part = np.ascontiguousarray(whole[:, box[0], box[1]])
    foreground = foreground_mask(part, scale.threshold) if given is None else given[box]
    image, inside, frame = enlarge(part, foreground, model)
    return _Seen(index, whole, box, image, inside, frame, foreground, given, grid_offset(box, lattice))


def _alike(seen: Sequence[_Seen]) -> Iterator[list[_Seen]]:
    """Neighbours in groups that the predictor can see together: equally large, and no more than memory allows."""
    group: list[_Seen] = []
    for one in seen:
        unlike = group and (one.image.shape, one.grid_offset) != (group[0].image.shape, group[0].grid_offset)
        full = (len(group) + 1) * one.image.size > TOGETHER
        if group and (unlike or full):
            yield group
            group = []
        group.append(one)
    yield group


def _judge(
    group: Sequence[_Seen],
    model: Predictor,
    pool: str,
    calibration: Calibration | None,
    unresolved: Callable[[int], float] | None,
    compressed: Callable[[int, Bool[np.ndarray, "h w"]], float] | None,
    flips: bool,
) -> Iterator[SliceScore]:
    grid_offset = group[0].grid_offset
    images = torch.from_numpy(np.stack([one.image for one in group]))
    weights = cell_weight(torch.from_numpy(np.stack([one.inside for one in group])), model.stride, grid_offset)
    reading, least = None, [0.0] * len(group)
    if isinstance(model, ErrorModel):
        reading = read_errors(model, images, weights, grid_offset, together=True, flips=flips)
        if compressed is not None:
            least = [compressed(one.index, _whole_foreground(one)) for one in group]
            reading = reading.at_least(torch.tensor(least, dtype=torch.float64))
        if unresolved is not None:
            reading = reading.plus(torch.tensor([unresolved(one.index) for one in group], dtype=torch.float64))
        maps = score_of_error(10 ** reading.cells.float())
    else:
        maps = predict_map(model, images, grid_offset, together=True)
    for k, one in enumerate(group):
        quality, weight = maps[k : k + 1], weights[k, 0]
        error = total = width = ood_features = expected = None
        if reading is not None:
            error = 10 ** reading.whole[k].item()
            total = None if reading.total is None else 10 ** reading.total[k].item()
            width = None if reading.width is None else tuple((math.log(10) * reading.width[k]).tolist())
            part = one.whole[:, one.box[0], one.box[1]]
            ood_features = describe(reading.features[k], weight, part, one.foreground)
        if error is not None and pool == "rms":
            score, read = score_of_error(error), score_of_error(error, clamp=False)
        else:
            score = read = pool_map(quality[0, 0], weight, pool)
        if calibration and ood_features is not None:
            expected = calibration.expect(read, ood_features, width)
            if least[k] and expected.nrmse is not None and expected.nrmse_low is not None:
                low = min(max(expected.nrmse_low, least[k] / WITHIN), expected.nrmse)
                expected = replace(expected, nrmse_low=low)
        full = upsample_map(quality, one.image.shape[1:], model.stride, grid_offset)[0][one.frame]
        foreground = _whole_foreground(one)
        quality = np.pad(full, _around(one), mode="edge")
        yield SliceScore(
            one.index, score, float(foreground.mean()), quality, foreground, one.whole, error, total, width,
            ood_features, expected,
        )  # fmt: skip


def _around(one: _Seen) -> list[tuple[int, int]]:
    """Pixels that are empty before and after the content, in each axis."""
    return [(b.start, n - b.stop) for b, n in zip(one.box, one.whole.shape[1:], strict=True)]


def _whole_foreground(one: _Seen) -> Bool[np.ndarray, "h w"]:
    return np.pad(one.foreground, _around(one)) if one.given is None else one.given


def grid_offset(box: tuple[slice, slice], lattice: Lattice | None) -> tuple[int, int]:
    """Rows and columns by which cells begin before a box: those of the JPEG block that holds its first pixel."""
    if lattice is None:
        return 0, 0
    y, x = ((b.start - p) % 8 for b, p in zip(box, lattice.phase, strict=True))
    return y, x


def enlarge(
    image: Float32[np.ndarray, "ch h w"], foreground: Bool[np.ndarray, "h w"], model: Predictor
) -> tuple[Float32[np.ndarray, "ch m n"], Bool[np.ndarray, "m n"], tuple[slice, slice]]:
    """An image as large as a predictor sees at once, by reflection at its borders, which are no foreground.

    Returns
    -------
    Image and foreground, and where in them the image was; all of it for one that is large enough.

    Raises
    ------
    ValueError
        If it has less than 32 pixels either way.
    """
    h, w = image.shape[1:]
    if min(h, w) < min(SMALLEST, model.receptive_field):
        raise ValueError(
            f"image is {h}×{w}: smaller than {SMALLEST}×{SMALLEST} pixels there is nothing to judge, "
            "give it a larger image (do not enlarge it by interpolation)"
        )
    lacking = [max(model.receptive_field - n, 0) for n in (h, w)]
    before = [n // 2 // model.stride * model.stride for n in lacking]  # whole cells: they begin where the image does
    around = [(b, n - b) for b, n in zip(before, lacking, strict=True)]
    frame = slice(before[0], before[0] + h), slice(before[1], before[1] + w)
    if not any(lacking):
        return image, foreground, frame
    return np.pad(image, ((0, 0), *around), mode="reflect"), np.pad(foreground, around), frame


def own_scale(scale: Scale, model: Predictor) -> Scale:
    """The scale that a predictor was trained on: `Scale.from_zero` for those that are `zero_based`."""
    return scale.from_zero() if model.zero_based else scale
