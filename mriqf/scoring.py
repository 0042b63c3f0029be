"""From raw slices to a score: normalisation, foreground, pooling.

All three are part of the score: the same predictor gives other numbers under another scale or mask, so what was used
is stored with every result.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, Float32
from torch import Tensor

from mriqf.io import Volume, from_array
from mriqf.jpeg import Lattice, as_8bit, estimate_quality
from mriqf.predictor import QFPredictor
from mriqf.weights import load

POOLS = ("foreground", "mean", "center", "minkowski:p")
_SAMPLED_SLICES = 32  # the scale of a volume comes from this many evenly spaced slices, so memory stays bounded
_SMOOTHING = 2.0  # pixels, Gaussian sigma of the foreground mask
_OTSU_SHARE = 0.25  # of Otsu's threshold: keeps dark tissue (cortical bone, fat-suppressed marrow) inside


@dataclass(frozen=True)
class Scale:
    """How raw units became [0, 1], and where the object begins."""

    low: float
    """Raw value mapped to 0: percentile 1 of the non-zero pixels (0 for photographs)."""
    high: float
    """Raw value mapped to 1: percentile 99.9 of the non-zero pixels (full range for photographs)."""
    threshold: float
    """Foreground threshold on the smoothed, normalised slice; 0 takes everything."""


@dataclass(frozen=True)
class SliceScore:
    """Quality of one slice."""

    index: int
    score: float
    """Quality factor, 0–100, higher is better; NaN where there is no foreground to score."""
    foreground_fraction: float
    """Share of the slice's pixels that the foreground holds, 0–1."""
    quality: Float32[np.ndarray, "h w"] = field(repr=False)
    """Quality map at the slice's own size, 0–100."""
    foreground: Bool[np.ndarray, "h w"] = field(repr=False)
    image: Float32[np.ndarray, "ch h w"] = field(repr=False)
    """The normalised slice, [0, 1]."""


@dataclass(frozen=True)
class Score:
    """Quality of a volume, with everything needed to get the same number again."""

    value: float
    """Mean over the scored slices, weighted by their foreground; quality factor, 0–100, higher is better."""
    slices: tuple[SliceScore, ...] = field(repr=False)
    pool: str
    weights: str
    scale: Scale

    @property
    def per_slice(self) -> Float[np.ndarray, "s"]:
        """Scores of the slices, NaN where a slice has no foreground."""
        return np.array([s.score for s in self.slices])


def percentile_scale(slices: Sequence[Float32[np.ndarray, "ch h w"]]) -> Scale:
    """Scale of a volume from some of its slices.

    Percentiles 1 and 99.9 and Otsu's threshold are taken over the pixels that are not exactly zero: a black canvas
    around the object, or a defaced region, carries no signal and changes nothing.

    Raises
    ------
    ValueError
        If all pixels are zero, or all have one value.
    """
    values = np.concatenate([s[s != 0] for s in slices])
    if values.size == 0:
        raise ValueError("image is empty (all zero): nothing to score")
    low, high = (float(v) for v in np.percentile(values.astype(np.float64), (1, 99.9)))
    if not high > low:  # one value, but for a few pixels: a mask, say
        low, high = float(min(s.min() for s in slices)), float(max(s.max() for s in slices))
        if not high > low:
            raise ValueError(f"image is constant ({high:g} everywhere): nothing to score")
    return Scale(low, high, _OTSU_SHARE * _otsu(np.clip((values - low) / (high - low), 0, 1)))


def full_range_scale(slices: Sequence[Float32[np.ndarray, "ch h w"]]) -> Scale:
    """Scale of photographs: the range of their file type (1, 255 or 65535), no foreground.

    Raises
    ------
    ValueError
        If a photograph is constant.
    """
    top = max(float(s.max()) for s in slices)
    if all(np.ptp(s) == 0 for s in slices):
        raise ValueError(f"image is constant ({top:g} everywhere): nothing to score")
    return Scale(0.0, 1.0 if top <= 1 else 255.0 if top <= 255 else 65535.0, 0.0)


def normalise(raw: Float32[np.ndarray, "ch h w"], scale: Scale) -> Float32[np.ndarray, "ch h w"]:
    """Raw units to [0, 1]; what lies outside is clipped."""
    return np.clip((raw.astype(np.float64) - scale.low) / (scale.high - scale.low), 0, 1).astype(np.float32)


def foreground_mask(image: Float32[np.ndarray, "ch h w"], threshold: float) -> Bool[np.ndarray, "h w"]:
    """Object of a normalised slice: smoothed, thresholded, holes filled; the same for the same pixels, always."""
    from scipy.ndimage import binary_fill_holes, gaussian_filter

    if threshold <= 0:
        return np.ones(image.shape[1:], dtype=bool)
    smooth = gaussian_filter(image.mean(0, dtype=np.float64), _SMOOTHING)
    return np.asarray(binary_fill_holes(smooth > threshold), dtype=bool)


def pool_map(quality: Float[Tensor, "i j"], weight: Float[Tensor, "i j"], pool: str = "foreground") -> float:
    """One number from a quality map; NaN if the weights are all zero.

    Parameters
    ----------
    quality
        Quality factor of each cell, 0–100.
    weight
        Share of each cell that is foreground, 0–1.
    pool
        `foreground`: mean weighted by `weight`. `mean`: all cells alike. `center`: all cells of the central quarter
        (half of each side), the report's central patch. `minkowski:p`: power mean of order p, weighted by `weight`;
        p below 1 lets the worst cells count more.

    Raises
    ------
    ValueError
        If `pool` is none of these.
    """
    quality, weight = quality.double(), weight.double()
    name, order = check_pool(pool)
    if name == "center":
        rows, columns = (slice(n // 4, n - n // 4) for n in quality.shape)
        return float(quality[rows, columns].mean())
    if name == "mean":
        return float(quality.mean())
    total = weight.sum()
    if total == 0:
        return math.nan
    if name == "foreground":
        return float((quality * weight).sum() / total)
    quality = quality.clamp_min(1e-3)
    if order == 0:  # the limit: geometric mean
        return float(((quality.log() * weight).sum() / total).exp())
    return float(((quality**order * weight).sum() / total) ** (1 / order))


def check_pool(pool: str) -> tuple[str, float]:
    """Name and order of a pool; ValueError, saying what there is, for an unknown one."""
    name, colon, order = pool.partition(":")
    if name == "minkowski" and colon:
        try:
            if math.isfinite(float(order)):
                return name, float(order)
        except ValueError:
            pass
    elif name in ("foreground", "mean", "center") and not colon:
        return name, 1.0
    raise ValueError(f"pool is {pool!r}: choose one of {', '.join(POOLS)}, for example minkowski:-2")


def score_slices(
    read_slice: Callable[[int], Float32[np.ndarray, "ch h w"]],
    indices: Sequence[int],
    model: QFPredictor,
    *,
    pool: str = "foreground",
    scale: Scale,
    mask: Callable[[int], Bool[np.ndarray, "h w"]] | None = None,
    batch_size: int = 8,
) -> Iterator[SliceScore]:
    """Score slices one batch at a time, holding no more than a batch in memory.

    Parameters
    ----------
    read_slice
        Gives one slice in raw units.
    indices
        Which slices, in this order.
    model
        A predictor with as many channels as the slices.
    pool
        See `pool_map`.
    scale
        Of the whole volume: `volume_scale`.
    mask
        The user's own foreground of a slice, instead of the automatic one.
    batch_size
        Slices that go through the predictor together; changes the time, not the score.

    Raises
    ------
    ValueError
        If a slice is smaller than the predictor's receptive field.
    """
    for start in range(0, len(indices), batch_size):
        batch = indices[start : start + batch_size]
        images = [normalise(read_slice(i), scale) for i in batch]
        masks = [mask(i) if mask else foreground_mask(im, scale.threshold) for i, im in zip(batch, images, strict=True)]
        quality = predict_map(model, torch.from_numpy(np.stack(images)))
        weight = cell_weight(torch.from_numpy(np.stack(masks)), model.stride)
        full = upsample_map(quality, images[0].shape[1:], model.stride)
        for k, index in enumerate(batch):
            yield SliceScore(
                index, pool_map(quality[k, 0], weight[k, 0], pool), float(masks[k].mean()), full[k], masks[k], images[k]
            )


def volume_scale(volume: Volume) -> Scale:
    """Scale of a volume, from at most 32 evenly spaced slices: percentiles for MR, full range for photographs (RGB).

    Raises
    ------
    ValueError
        If the volume is empty or constant.
    """
    slices = [volume.read_slice(i) for i in _spread(range(volume.n_slices), _SAMPLED_SLICES)]
    return percentile_scale(slices) if volume.channels == 1 else full_range_scale(slices)


def jpeg_trace(volume: Volume, indices: Sequence[int]) -> Lattice | None:
    """The JPEG lattice in a grey volume's pixels, looked for in at most three slices; None if there is none.

    Only images with at most 256 evenly spaced values can show one: any other has been processed since.
    """
    if volume.channels != 1:
        return None
    for index in _spread(indices, 3):
        levels = as_8bit(torch.from_numpy(volume.read_slice(index)[0]))
        if levels is not None and min(levels.shape) >= 16:
            lattice = estimate_quality(levels, unknown_phase=True, max_blocks=512)
            if lattice.quality is not None and lattice.quality < 100:
                return lattice
    return None


def mask_reader(mask: Volume, volume: Volume) -> Callable[[int], Bool[np.ndarray, "h w"]]:
    """Foreground of each slice from a volume of masks, not zero inside.

    Raises
    ------
    ValueError
        If the masks are not as many, or of another size.
    """
    if (mask.n_slices, mask.shape) != (volume.n_slices, volume.shape):
        raise ValueError(
            f"mask {mask.source} has {mask.n_slices} slices of {mask.shape[0]}×{mask.shape[1]}, the image "
            f"{volume.n_slices} of {volume.shape[0]}×{volume.shape[1]}: give a mask of the image's size"
        )
    return lambda index: (mask.read_slice(index) != 0).any(0)


def score(
    images: Any,
    weights: str | Path | QFPredictor = "qf-gray",
    *,
    pool: str = "foreground",
    mask: Any = None,
    slices: Sequence[int] | None = None,
) -> Score:
    """Quality of a reconstruction that has no reference.

    Parameters
    ----------
    images
        A `Volume` (see `mriqf.read`), or an array or tensor: `(h, w)` or `(s, h, w)` magnitude in any unit (complex
        values become magnitude), or `(s, 3, h, w)` RGB.
    weights
        Name or path of trained weights, or a loaded predictor.
    pool
        How the quality map becomes one number: see `mriqf.scoring.pool_map`.
    mask
        Foreground of each slice (not zero), as a `Volume` or an array, instead of the automatic one.
    slices
        Which slices to score; all if not given. The scale is always that of the whole volume.

    Raises
    ------
    ValueError
        If the image is empty, constant, not finite, of the wrong shape, smaller than the predictor's receptive field,
        or has another number of channels than the weights.

    Examples
    --------
    >>> import numpy as np, mriqf
    >>> result = mriqf.score(np.random.default_rng(0).random((2, 64, 64)))
    >>> result.per_slice.shape
    (2,)
    """
    volume = images if isinstance(images, Volume) else from_array(images)
    model = weights if isinstance(weights, QFPredictor) else load(weights)
    check_pool(pool)
    check_channels(volume.channels, model)
    masks = None if mask is None else mask if isinstance(mask, Volume) else from_array(mask, "mask")
    scale = volume_scale(volume)
    found = score_slices(
        volume.read_slice,
        range(volume.n_slices) if slices is None else slices,
        fast(model),
        pool=pool,
        scale=scale,
        mask=None if masks is None else mask_reader(masks, volume),
    )
    results = tuple(found)
    value = weighted_mean([(s.score, s.foreground_fraction) for s in results])
    return Score(value, results, pool, model.name, scale)


def weighted_mean(scores: Sequence[tuple[float, float]]) -> float:
    """Score of a volume from its slices' scores and foreground fractions; NaN if no slice has foreground."""
    kept = [(s, f) for s, f in scores if not math.isnan(s)]
    total = sum(f for _, f in kept)
    return sum(s * f for s, f in kept) / total if total else math.nan


def fast(model: QFPredictor) -> QFPredictor:
    """The predictor as scoring runs it."""
    return model


def check_channels(channels: int, model: QFPredictor) -> None:
    """Raise ValueError, saying which weights to take, if an image's channels are not the predictor's."""
    want = model.config.channels
    if channels != want:
        kind, other = ("RGB", "qf-rgb") if channels == 3 else ("grey", "qf-gray")
        raise ValueError(f"image is {kind} ({channels} channels), the weights take {want}: use --weights {other}")


@torch.inference_mode()
def predict_map(model: QFPredictor, images: Float[Tensor, "b ch h w"]) -> Float[Tensor, "b 1 i j"]:
    """Quality map, 0–100, of images in [0, 1]; sides are padded by their last pixels to whole cells.

    Raises
    ------
    ValueError
        If the images are smaller than the predictor's receptive field.
    """
    h, w = images.shape[2:]
    if min(h, w) < model.receptive_field:
        raise ValueError(
            f"image is {h}×{w}: the predictor sees {model.receptive_field}×{model.receptive_field} pixels at once, "
            "give it a larger image (do not enlarge it by interpolation)"
        )
    padded = torch.nn.functional.pad(images, (0, -w % model.stride, 0, -h % model.stride), mode="replicate")
    return model(padded.to(model.device)).float().cpu()


def cell_weight(masks: Bool[Tensor, "b h w"], stride: int) -> Float[Tensor, "b 1 i j"]:
    """Share of each cell of the quality map that lies in the foreground, 0–1."""
    h, w = masks.shape[1:]
    padded = torch.nn.functional.pad(masks[:, None].double(), (0, -w % stride, 0, -h % stride))
    return torch.nn.functional.avg_pool2d(padded, stride)


def upsample_map(quality: Float[Tensor, "b 1 i j"], shape: tuple[int, ...], stride: int) -> Float32[np.ndarray, "b h w"]:
    """The quality map at the image's size, bilinear between the centres of its cells."""
    full = torch.nn.functional.interpolate(quality, scale_factor=float(stride), mode="bilinear", align_corners=False)
    return full[:, 0, : shape[0], : shape[1]].numpy()


def _otsu(values: np.ndarray, n_bins: int = 256) -> float:
    """Otsu's threshold of values in [0, 1], doi:10.1109/TSMC.1979.4310076."""
    count, edges = np.histogram(values, n_bins, (0, 1))
    centre = (edges[:-1] + edges[1:]) / 2
    below, above = np.cumsum(count), np.cumsum(count[::-1])[::-1]
    mean_below = np.cumsum(count * centre) / np.maximum(below, 1)
    mean_above = np.cumsum((count * centre)[::-1])[::-1] / np.maximum(above, 1)
    between = below[:-1] * above[1:] * (mean_below[:-1] - mean_above[1:]) ** 2
    return float(edges[1 + int(between.argmax())])


def _spread(indices: Sequence[int], n: int) -> list[int]:
    """At most `n` of the indices, evenly spaced, always the same."""
    chosen = np.unique(np.linspace(0, len(indices) - 1, min(len(indices), n)).round().astype(int))
    return [indices[int(k)] for k in chosen]
