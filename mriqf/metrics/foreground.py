"""The object in an image: one definition, of scores and of errors alike."""

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Bool, Float, Float32
from torch import Tensor

_OTSU_SHARE = 0.25  # fraction of Otsu's threshold: keeps dark tissue (cortical bone, fat-suppressed marrow) inside
_SMOOTHING = 2.0  # pixels, Gaussian sigma of the mask


def object_mask(images: Float[Tensor, "b 1 h w"]) -> Bool[Tensor, "b 1 h w"]:
    """Mask of the object of each image, in any unit; the foreground that scoring finds in a volume of this one slice.

    An image of one value is all object, an empty one has none.
    """
    masks = []
    for image in images.detach().cpu().float().numpy():
        try:
            low, high, threshold = intensity_range([image])
        except ValueError:
            masks.append(image[0] != 0)
            continue
        low, high, threshold = from_zero(low, high, threshold)
        masks.append(foreground_mask(in_range(image, low, high), threshold))
    return torch.from_numpy(np.stack(masks))[:, None].to(images.device)


def foreground_mask(image: Float32[np.ndarray, "ch h w"], threshold: float) -> Bool[np.ndarray, "h w"]:
    """Object of a normalised slice: smoothed, thresholded, holes filled; the same for the same pixels, always."""
    from scipy.ndimage import binary_fill_holes, gaussian_filter

    if threshold <= 0:
        return np.ones(image.shape[1:], dtype=bool)
    smooth = gaussian_filter(image.mean(0, dtype=np.float64), _SMOOTHING)
    return np.asarray(binary_fill_holes(smooth > threshold), dtype=bool)


def in_range(raw: Float32[np.ndarray, "ch h w"], low: float, high: float) -> Float32[np.ndarray, "ch h w"]:
    """Raw units to [0, 1]; what lies outside is clipped."""
    return np.clip((raw.astype(np.float64) - low) / (high - low), 0, 1).astype(np.float32)


def from_zero(low: float, high: float, threshold: float) -> tuple[float, float, float]:
    """A range and its threshold with raw zero at 0; as they are where raw values lie below zero."""
    return (low, high, threshold) if low <= 0 else (0.0, high, (low + threshold * (high - low)) / high)


def intensity_range(slices: Sequence[Float32[np.ndarray, "ch h w"]]) -> tuple[float, float, float]:
    """Range of a volume's values, from some of its slices, and the threshold of its object in that range.

    Percentiles 1 and 99.9 and Otsu's threshold are taken over the pixels that are not exactly zero: a black canvas
    around the object, or a defaced region, carries no signal and changes nothing.

    Returns
    -------
    The values that become 0 and 1, and a quarter of Otsu's threshold between them, in [0, 1].

    Raises
    ------
    ValueError
        If all pixels are zero, or all have one value.
    """
    values = np.concatenate([s[s != 0] for s in slices])
    if values.size == 0:
        raise ValueError("image is empty (all zero): nothing to score")
    low, high = (float(v) for v in np.percentile(values.astype(np.float64), (1, 99.9), overwrite_input=True))
    if not high > low:  # one value, but for a few pixels: a mask, say
        low, high = float(min(s.min() for s in slices)), float(max(s.max() for s in slices))
        if not high > low:
            raise ValueError(f"image is constant ({high:g} everywhere): nothing to score")
    return low, high, _OTSU_SHARE * _otsu(np.clip((values - low) / (high - low), 0, 1))


def _otsu(values: np.ndarray, n_bins: int = 256) -> float:
    """Otsu's threshold of values in [0, 1], doi:10.1109/TSMC.1979.4310076; amid a gap that no value lies in."""
    count, edges = np.histogram(values, n_bins, (0, 1))
    centre = (edges[:-1] + edges[1:]) / 2
    below, above = np.cumsum(count), np.cumsum(count[::-1])[::-1]
    mean_below = np.cumsum(count * centre) / np.maximum(below, 1)
    mean_above = np.cumsum((count * centre)[::-1])[::-1] / np.maximum(above, 1)
    between = below[:-1] * above[1:] * (mean_below[:-1] - mean_above[1:]) ** 2
    best = np.flatnonzero(between == between.max())
    return float(edges[1 + (int(best[0]) + int(best[-1])) // 2])
